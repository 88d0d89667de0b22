// SHA-256 (FIPS 180-4), in one go or fed in pieces: blob digests, token and certificate fingerprints.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace limpet {

using Sha256Digest = std::array<uint8_t, 32>;

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void update(std::string_view bytes);
  // The digest of everything fed so far; starts over afterwards.
  Sha256Digest finish();
  std::string finish_hex();  // 64 lower-case characters
  // Another one that was fed the same, so that a digest can be had on the way.
  Sha256 copy() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Sha256Digest sha256(std::string_view bytes);
std::string sha256_hex(std::string_view bytes);
std::string sha256_raw(std::string_view bytes);  // 32 bytes in a string

}  // namespace limpet
