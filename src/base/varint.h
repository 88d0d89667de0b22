// The two ways in which limpet's own formats (log entries, messages between devices) write a number or a run
// of bytes: unsigned LEB128 of at most ten bytes in their shortest form, and a varint length before the
// bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace limpet {

inline void put_varint(std::string& out, uint64_t v) {
  for (; v >= 0x80; v >>= 7) out.push_back(static_cast<char>(v | 0x80));
  out.push_back(static_cast<char>(v));
}

inline void put_bytes(std::string& out, std::string_view bytes) {
  put_varint(out, bytes.size());
  out.append(bytes);
}

// Reads from untrusted bytes; once something was wrong every later read gives nothing.
class ByteReader {
 public:
  explicit ByteReader(std::string_view in) : in_(in) {}
  bool ok() const { return ok_; }
  bool at_end() const { return in_.empty(); }
  size_t left() const { return in_.size(); }

  uint8_t byte() {
    if (in_.empty()) return bad();
    const auto b = static_cast<uint8_t>(in_[0]);
    in_.remove_prefix(1);
    return b;
  }
  uint64_t varint() {
    uint64_t v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const uint8_t b = byte();
      if (!ok_) return 0;
      if (shift == 63 && b > 1) return bad();
      v |= static_cast<uint64_t>(b & 0x7f) << shift;
      if (!(b & 0x80)) return b == 0 && shift > 0 ? bad() : v;
    }
    return bad();
  }
  std::string_view bytes(size_t limit) {
    const uint64_t n = varint();
    if (!ok_ || n > limit || n > in_.size()) {
      bad();
      return {};
    }
    const std::string_view out = in_.substr(0, n);
    in_.remove_prefix(n);
    return out;
  }
  uint8_t bad() {
    ok_ = false;
    return 0;
  }

 private:
  std::string_view in_;
  bool ok_ = true;
};

}  // namespace limpet
