// Sealing of a long run of bytes piece by piece, with little memory on either side: AES-256-GCM in the STREAM
// construction (Hoang, Reyhanitabar, Rogaway, Vizár: Online Authenticated-Encryption and its Nonce-Reuse
// Misuse-Resistance, CRYPTO 2015, section 7).
//
// The plain bytes are cut into chunks of 64 KiB; each is sealed by itself with 16 bytes of tag. The nonce is
// the chunk's number, 11 bytes, big-endian, and a byte that is 1 in the last chunk and 0 in others. So chunks
// that were left out, doubled, put elsewhere or cut off at the end do not open, and nothing is given away
// before it was authenticated. The last chunk alone may be shorter; it is empty only when there is nothing at
// all, so that the same bytes are never sealed in two shapes.
//
// The key must be new for each run: with two runs of one key the nonces would come again.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "pki/seal.h"

namespace limpet::pki {

constexpr size_t stream_chunk = 64u << 10;
constexpr size_t stream_tag = 16;
// Sealed bytes of so many plain ones.
constexpr uint64_t stream_sealed_size(uint64_t plain) {
  const uint64_t chunks = plain == 0 ? 1 : (plain + stream_chunk - 1) / stream_chunk;
  return plain + chunks * stream_tag;
}

class StreamSealer {
 public:
  static Result<StreamSealer> make(const SealKey& key);
  ~StreamSealer();
  StreamSealer(StreamSealer&&) noexcept;
  StreamSealer& operator=(StreamSealer&&) noexcept;

  // Appends to `out` what is sealed by now.
  Result<> update(std::string_view plain, std::string& out);
  Result<> finish(std::string& out);

 private:
  struct State;
  explicit StreamSealer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

class StreamOpener {
 public:
  static Result<StreamOpener> make(const SealKey& key);
  ~StreamOpener();
  StreamOpener(StreamOpener&&) noexcept;
  StreamOpener& operator=(StreamOpener&&) noexcept;

  // Appends to `out` what is proven genuine by now. `corrupt`: altered, or of another key; no call after it.
  Result<> update(std::string_view sealed, std::string& out);
  // `corrupt`: the end is missing.
  Result<> finish(std::string& out);

 private:
  struct State;
  explicit StreamOpener(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace limpet::pki
