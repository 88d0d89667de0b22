// The bytes of one layer, decompressed, hashed and counted.
//
// Reads a compressed file piece by piece (gzip RFC 1952, zstd RFC 8878, or no compression, told by the first
// bytes) and yields blocks of the tar archive inside. The limits on size and ratio are checked before a block
// is given out, so that a bomb costs at most one block more than it may.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/sha256.h"

namespace limpet::unpack {

struct InputLimits {
  uint64_t max_bytes = 16ull << 30;   // uncompressed
  uint64_t max_ratio = 1100;          // uncompressed by compressed, beyond the first free_bytes
  uint64_t free_bytes = 64ull << 20;  // no ratio is looked at below this
  // zstd: memory the decoder may take, as a power of two. 27 is what zstd itself takes without --long, and
  // what its highest level writes; levels up to 19 need 8 MiB.
  int max_window_log = 27;
};

// Turns compressed bytes into plain ones. Owned by the Input.
class Decoder {
 public:
  virtual ~Decoder() = default;
  // Consumes from the front of `in`, fills at most `size` bytes of `out`, returns how many. 0 with `in` used
  // up: more input is wanted.
  virtual Result<size_t> decode(std::string_view& in, char* out, size_t size) = 0;
  // Whether the compressed stream may end here.
  virtual bool at_end() const = 0;
};
Result<std::unique_ptr<Decoder>> make_gzip_decoder();
Result<std::unique_ptr<Decoder>> make_zstd_decoder(int max_window_log);

class Input {
 public:
  // The descriptor stays the caller's.
  Input(int fd, InputLimits limits);
  ~Input();
  Input(const Input&) = delete;

  // The next block, valid until the next call; empty at the end. After an error every call gives it again.
  Result<std::string_view> next();
  // Reads what is left, so that the digest covers the whole stream.
  Result<> drain();
  // "sha256:..." of everything given out. Once, at the end.
  std::string digest();
  uint64_t bytes_out() const { return bytes_out_; }

 private:
  Result<> refill();
  Result<> choose_decoder();
  Result<size_t> decode();
  Result<> check_limits() const;

  int fd_;
  InputLimits limits_;
  Sha256 hash_;
  std::unique_ptr<Decoder> decoder_;  // null: not compressed
  bool begun_ = false;
  bool eof_ = false;
  std::unique_ptr<char[]> in_buffer_, out_buffer_;
  std::string_view in_;
  uint64_t bytes_in_ = 0, bytes_out_ = 0;
};

}  // namespace limpet::unpack
