// DER (X.690) in the few shapes that certificates, requests and signatures need: a writer that builds strings
// from the inside out, and a reader that never looks beyond its bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace limpet::pki::der {

enum Tag : uint8_t {
  boolean = 0x01,
  integer = 0x02,
  bit_string = 0x03,
  octet_string = 0x04,
  oid = 0x06,
  utf8_string = 0x0c,
  utc_time = 0x17,
  generalized_time = 0x18,
  sequence = 0x30,
  set = 0x31,
};
constexpr uint8_t context(uint8_t n) { return static_cast<uint8_t>(0x80 | n); }
constexpr uint8_t context_constructed(uint8_t n) { return static_cast<uint8_t>(0xa0 | n); }

std::string tlv(uint8_t tag, std::string_view content);
// Several parts one after the other inside one tag.
template <class... Parts>
std::string of(uint8_t tag, const Parts&... parts) {
  std::string content;
  (content.append(parts), ...);
  return tlv(tag, content);
}
std::string unsigned_integer(
    std::string_view big_endian);                // minimal, with a zero byte where the top bit is set
std::string whole_bytes(std::string_view bits);  // BIT STRING without unused bits
std::string time(int64_t seconds);               // UTCTime until 2049, GeneralizedTime after

struct Element {
  uint8_t tag = 0;
  std::string_view content;
  std::string_view whole;  // with tag and length
};

// Definite lengths below 2^24, single-byte tags.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}
  bool at_end() const { return rest_.empty(); }
  uint8_t peek_tag() const { return rest_.empty() ? 0 : static_cast<uint8_t>(rest_[0]); }
  std::optional<Element> next();             // nullopt on malformed bytes and at the end
  std::optional<Element> next(uint8_t tag);  // nullopt also when the next one has another tag

 private:
  std::string_view rest_;
};

// ECDSA-Sig-Value (RFC 3279) to r || s of 64 bytes, and back.
std::optional<std::string> signature_to_raw(std::string_view der);
std::string signature_from_raw(std::string_view raw);

}  // namespace limpet::pki::der
