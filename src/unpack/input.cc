#include "unpack/input.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace limpet::unpack {
namespace {

constexpr size_t buffer_size = 64 * 1024;

bool is_zstd(std::string_view b) {
  if (b.size() < 4) return false;
  const auto* p = reinterpret_cast<const unsigned char*>(b.data());
  const bool skippable = (p[0] & 0xf0) == 0x50 && p[1] == 0x2a && p[2] == 0x4d && p[3] == 0x18;
  return skippable || (p[0] == 0x28 && p[1] == 0xb5 && p[2] == 0x2f && p[3] == 0xfd);
}

bool is_gzip(std::string_view b) { return b.size() >= 2 && b[0] == '\x1f' && b[1] == '\x8b'; }

}  // namespace

Input::Input(int fd, InputLimits limits)
    : fd_(fd),
      limits_(limits),
      in_buffer_(std::make_unique<char[]>(buffer_size)),
      out_buffer_(std::make_unique<char[]>(buffer_size)) {}

Input::~Input() = default;

Result<> Input::refill() {
  while (in_.empty() && !eof_) {
    const ssize_t n = read(fd_, in_buffer_.get(), buffer_size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "read the layer");
    if (n == 0) {
      eof_ = true;
    } else {
      in_ = {in_buffer_.get(), static_cast<size_t>(n)};
      bytes_in_ += static_cast<size_t>(n);
    }
  }
  return {};
}

Result<> Input::choose_decoder() {
  CHECK_OK(refill());
  // A pipe may give fewer than the four bytes that tell.
  while (!eof_ && in_.size() < 4) {
    const ssize_t n = read(fd_, in_buffer_.get() + in_.size(), buffer_size - in_.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "read the layer");
    if (n == 0) break;
    in_ = {in_buffer_.get(), in_.size() + static_cast<size_t>(n)};
    bytes_in_ += static_cast<size_t>(n);
  }
  begun_ = true;
  if (is_gzip(in_)) {
    TRY(decoder_, make_gzip_decoder());
  } else if (is_zstd(in_)) {
    TRY(decoder_, make_zstd_decoder(limits_.max_window_log));
  }
  return {};
}

Result<size_t> Input::decode() {
  while (true) {
    CHECK_OK(refill());
    if (in_.empty() && decoder_->at_end()) return 0;
    const bool had_input = !in_.empty();
    TRY(const size_t n, decoder_->decode(in_, out_buffer_.get(), buffer_size));
    if (n > 0) return n;
    if (!had_input && eof_) return fail(Errc::corrupt, "the compressed data ends early");
  }
}

Result<> Input::check_limits() const {
  if (bytes_out_ > limits_.max_bytes) {
    return fail(Errc::too_large, strf("the layer unpacks to more than %llu bytes",
                                      static_cast<unsigned long long>(limits_.max_bytes)));
  }
  if (bytes_out_ > limits_.free_bytes && bytes_out_ / limits_.max_ratio > bytes_in_) {
    return fail(Errc::too_large, strf("the layer unpacks to more than %llu times its size",
                                      static_cast<unsigned long long>(limits_.max_ratio)));
  }
  return {};
}

Result<std::string_view> Input::next() {
  if (!begun_) CHECK_OK(choose_decoder());
  std::string_view block;
  if (decoder_ != nullptr) {
    TRY(const size_t n, decode());
    block = {out_buffer_.get(), n};
  } else {
    CHECK_OK(refill());
    block = std::exchange(in_, {});
  }
  bytes_out_ += block.size();
  CHECK_OK(check_limits());
  hash_.update(block);
  return block;
}

Result<> Input::drain() {
  while (true) {
    TRY(const std::string_view block, next());
    if (block.empty()) return {};
  }
}

std::string Input::digest() { return "sha256:" + hash_.finish_hex(); }

}  // namespace limpet::unpack
