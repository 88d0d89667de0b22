#include "http/spdy_frames.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"

namespace limpet::http {
namespace {

constexpr unsigned version = 3;
constexpr size_t max_length = 0xffffff;

bool known(unsigned type) { return (type >= 1 && type <= 4) || (type >= 6 && type <= 9); }

void append_number(std::string* out, uint32_t n) {
  for (int shift = 24; shift >= 0; shift -= 8) out->push_back(static_cast<char>(n >> shift));
}

}  // namespace

uint32_t spdy_number(std::string_view bytes, size_t at) {
  LIMPET_ASSERT(at + 4 <= bytes.size());
  uint32_t n = 0;
  for (size_t i = at; i < at + 4; ++i) n = n << 8 | static_cast<unsigned char>(bytes[i]);
  return n;
}

SpdyReader::Step SpdyReader::fail(const char* why) {
  state_ = State::failed;
  out_ = why;
  return Step::error;
}

// Gathers the 8 bytes that every frame begins with. True when complete.
bool SpdyReader::read_header(std::string_view& input) {
  const size_t n = std::min(sizeof header_ - header_have_, input.size());
  memcpy(header_ + header_have_, input.data(), n);
  header_have_ += n;
  input.remove_prefix(n);
  return header_have_ == sizeof header_;
}

SpdyReader::Step SpdyReader::begin_frame() {
  header_have_ = 0;
  const std::string_view header(reinterpret_cast<const char*>(header_), sizeof header_);
  const uint32_t first = spdy_number(header, 0);
  flags_ = header_[4];
  left_ = spdy_number(header, 4) & max_length;
  if ((first & 0x80000000) == 0) {
    stream_ = first;
    state_ = State::data;
    return Step::need_more;
  }
  if ((first >> 16 & 0x7fff) != version) return fail("a frame of another version of SPDY");
  const unsigned type = first & 0xffff;
  state_ = known(type) ? State::control : State::unknown;
  if (state_ == State::control && left_ > max_spdy_control_frame)
    return fail("a control frame that is too large");
  type_ = static_cast<SpdyType>(type);
  control_.clear();
  return Step::need_more;
}

SpdyReader::Step SpdyReader::next(std::string_view& input) {
  while (state_ != State::failed) {
    if (state_ == State::header) {
      if (!read_header(input)) return Step::need_more;
      if (begin_frame() == Step::error) return Step::error;
    } else if (left_ > 0 && input.empty()) {
      return Step::need_more;
    }
    const std::string_view piece = input.substr(0, left_);
    if (state_ == State::data && piece.empty() && left_ > 0) continue;
    left_ -= piece.size();
    input.remove_prefix(piece.size());
    if (state_ == State::data) {
      if (left_ == 0) state_ = State::header;
      out_ = piece;
      return Step::data;
    }
    if (state_ == State::control) control_.append(piece);
    if (left_ > 0) continue;
    const bool whole = state_ == State::control;
    state_ = State::header;
    out_ = control_;
    if (whole) return Step::control;
  }
  return Step::error;
}

void append_spdy_control(std::string* out, SpdyType type, uint8_t flags, std::string_view payload) {
  LIMPET_ASSERT(payload.size() <= max_length);
  append_number(out, 0x80000000 | version << 16 | static_cast<uint32_t>(type));
  append_number(out, static_cast<uint32_t>(flags) << 24 | static_cast<uint32_t>(payload.size()));
  out->append(payload);
}

void append_spdy_data(std::string* out, uint32_t stream, std::string_view bytes, bool fin) {
  LIMPET_ASSERT(bytes.size() <= max_length);
  append_number(out, stream & 0x7fffffff);
  append_number(out, (fin ? 0x01000000u : 0u) | static_cast<uint32_t>(bytes.size()));
  out->append(bytes);
}

std::string spdy_numbers(uint32_t a) {
  std::string out;
  append_number(&out, a);
  return out;
}

std::string spdy_numbers(uint32_t a, uint32_t b) {
  std::string out = spdy_numbers(a);
  append_number(&out, b);
  return out;
}

}  // namespace limpet::http
