#include "http/websocket_frames.h"

#include <algorithm>
#include <cstring>

#include "http/utf8.h"

namespace limpet::http {
namespace {

constexpr size_t max_control_payload = 125;
constexpr size_t keep_capacity = 16 * 1024;  // larger buffers are given back after use

void apply_mask(char* bytes, size_t size, const unsigned char* mask, size_t at) {
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(bytes[i] ^ mask[(at + i) & 3]);
}

}  // namespace

bool valid_close_code(int code) {
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

FrameReader::Step FrameReader::fail(int code, const char* why) {
  failed_ = true;
  code_ = code;
  out_ = why;
  return Step::error;
}

// Gathers the 2 to 14 bytes of a frame header. True when complete.
bool FrameReader::read_header(std::string_view& input) {
  for (;;) {
    size_t need = 2;
    if (header_have_ >= 2) {
      const unsigned length = header_[1] & 0x7f;
      need += length == 126 ? 2 : length == 127 ? 8 : 0;
      if ((header_[1] & 0x80) != 0) need += 4;
    }
    if (header_have_ >= 2 && header_have_ == need) return true;
    if (input.empty()) return false;
    const size_t n = std::min(need - header_have_, input.size());
    memcpy(header_ + header_have_, input.data(), n);
    header_have_ += n;
    input.remove_prefix(n);
  }
}

FrameReader::Step FrameReader::check_header() {
  fin_ = (header_[0] & 0x80) != 0;
  const unsigned opcode = header_[0] & 0x0f;
  const bool control = (opcode & 8) != 0;
  if ((header_[0] & 0x70) != 0) return fail(1002, "reserved bits are set");
  if (opcode > 10 || (opcode > 2 && opcode < 8)) return fail(1002, "unknown opcode");
  opcode_ = static_cast<Opcode>(opcode);
  if (((header_[1] & 0x80) != 0) != masked_)
    return fail(1002, masked_ ? "frame without mask" : "masked frame");
  const unsigned short_length = header_[1] & 0x7f;
  const size_t extended = short_length == 126 ? 2 : short_length == 127 ? 8 : 0;
  left_ = extended == 0 ? short_length : 0;
  for (size_t i = 0; i < extended; ++i) left_ = left_ << 8 | header_[2 + i];
  if ((extended == 2 && left_ < 126) || (extended == 8 && (left_ < 65536 || left_ >> 63 != 0))) {
    return fail(1002, "malformed frame length");
  }
  if (masked_) memcpy(mask_, header_ + 2 + extended, 4);
  mask_at_ = 0;
  if (control) {
    if (!fin_ || left_ > max_control_payload) return fail(1002, "malformed control frame");
    control_.clear();
  } else {
    if ((opcode_ == Opcode::continuation) != fragmented_) return fail(1002, "fragment out of order");
    if (left_ > limit_ - message_.size()) return fail(1009, "message too large");
    if (!fragmented_) binary_ = opcode_ == Opcode::binary;
    fragmented_ = true;
  }
  in_payload_ = true;
  return Step::need_more;
}

FrameReader::Step FrameReader::next(std::string_view& input) {
  if (failed_) return Step::error;
  if (delivered_) {
    delivered_ = false;
    message_.clear();
    if (message_.capacity() > keep_capacity) message_ = std::string();
  }
  for (;;) {
    if (!in_payload_) {
      if (!read_header(input)) return Step::need_more;
      if (check_header() == Step::error) return Step::error;
    }
    std::string& target = static_cast<unsigned>(opcode_) >= 8 ? control_ : message_;
    const size_t n = static_cast<size_t>(std::min<uint64_t>(left_, input.size()));
    if (n > 0) {
      const size_t from = target.size();
      target.append(input.substr(0, n));
      if (masked_) apply_mask(target.data() + from, n, mask_, mask_at_);
      mask_at_ = (mask_at_ + n) & 3;
      left_ -= n;
      input.remove_prefix(n);
    }
    if (left_ > 0) return Step::need_more;
    in_payload_ = false;
    header_have_ = 0;
    const Step step = frame_done();
    if (step != Step::need_more) return step;
  }
}

FrameReader::Step FrameReader::frame_done() {
  switch (opcode_) {
    case Opcode::close:
      return read_close();
    case Opcode::ping:
      out_ = control_;
      return Step::ping;
    case Opcode::pong:
      out_ = control_;
      return Step::pong;
    default:
      break;
  }
  if (!fin_) return Step::need_more;
  fragmented_ = false;
  if (!binary_ && !valid_utf8(message_)) return fail(1007, "text that is not UTF-8");
  out_ = message_;
  delivered_ = true;
  return Step::message;
}

FrameReader::Step FrameReader::read_close() {
  code_ = 1005;
  out_ = {};
  if (control_.empty()) return Step::close;
  if (control_.size() == 1) return fail(1002, "malformed close frame");
  const int code = static_cast<unsigned char>(control_[0]) << 8 | static_cast<unsigned char>(control_[1]);
  if (!valid_close_code(code)) return fail(1002, "forbidden close code");
  out_ = std::string_view(control_).substr(2);
  if (!valid_utf8(out_)) return fail(1007, "close reason that is not UTF-8");
  code_ = code;
  return Step::close;
}

void append_frame(std::string* out, Opcode opcode, std::string_view payload, const unsigned char* mask) {
  const unsigned char mask_bit = mask != nullptr ? 0x80 : 0;
  out->reserve(out->size() + payload.size() + 14);
  out->push_back(static_cast<char>(0x80 | static_cast<unsigned>(opcode)));
  const uint64_t size = payload.size();
  const int extended = size < 126 ? 0 : size < 65536 ? 2 : 8;
  out->push_back(static_cast<char>(mask_bit | (extended == 0 ? size : extended == 2 ? 126 : 127)));
  for (int i = extended - 1; i >= 0; --i) out->push_back(static_cast<char>(size >> (8 * i)));
  if (mask != nullptr) out->append(reinterpret_cast<const char*>(mask), 4);
  const size_t from = out->size();
  out->append(payload);
  if (mask != nullptr) apply_mask(out->data() + from, payload.size(), mask, 0);
}

std::string close_payload(int code, std::string_view reason) {
  std::string out;
  if (!valid_close_code(code)) return out;
  reason = reason.substr(0, max_control_payload - 2);
  // Cutting must not leave half a character.
  while (!reason.empty() && !valid_utf8(reason)) reason.remove_suffix(1);
  out.push_back(static_cast<char>(code >> 8));
  out.push_back(static_cast<char>(code & 0xff));
  return out.append(reason);
}

}  // namespace limpet::http
