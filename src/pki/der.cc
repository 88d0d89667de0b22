#include "pki/der.h"

#include "base/clock.h"

#include "base/result.h"

namespace limpet::pki::der {

std::string tlv(uint8_t tag, std::string_view content) {
  std::string out(1, static_cast<char>(tag));
  size_t n = content.size();
  if (n < 0x80) {
    out.push_back(static_cast<char>(n));
  } else {
    std::string length;
    for (size_t rest = n; rest != 0; rest >>= 8)
      length.insert(length.begin(), static_cast<char>(rest & 0xff));
    out.push_back(static_cast<char>(0x80 | length.size()));
    out += length;
  }
  out += content;
  return out;
}

std::string unsigned_integer(std::string_view big_endian) {
  while (big_endian.size() > 1 && big_endian[0] == 0) big_endian.remove_prefix(1);
  if (big_endian.empty()) return tlv(integer, std::string_view("\0", 1));
  std::string content;
  if ((static_cast<uint8_t>(big_endian[0]) & 0x80) != 0) content.push_back(0);
  content += big_endian;
  return tlv(integer, content);
}

std::string whole_bytes(std::string_view bits) { return of(bit_string, std::string_view("\0", 1), bits); }

std::string time(int64_t seconds) {
  std::string digits;  // of YYYY-MM-DDTHH:MM:SSZ
  for (char c : rfc3339({seconds, 0})) {
    if (c >= '0' && c <= '9') digits.push_back(c);
  }
  digits.push_back('Z');
  // RFC 5280, 4.1.2.5
  if (digits >= "1950" && digits < "2050") return tlv(utc_time, digits.substr(2));
  return tlv(generalized_time, digits);
}

std::optional<Element> Reader::next() {
  if (rest_.size() < 2) return std::nullopt;
  auto byte = [this](size_t i) { return static_cast<uint8_t>(rest_[i]); };
  Element e;
  e.tag = byte(0);
  if ((e.tag & 0x1f) == 0x1f) return std::nullopt;
  size_t length = byte(1);
  size_t header = 2;
  if (length >= 0x80) {
    size_t octets = length & 0x7f;
    if (octets == 0 || octets > 3 || rest_.size() < 2 + octets) return std::nullopt;
    length = 0;
    for (size_t i = 0; i < octets; i++) length = length << 8 | byte(2 + i);
    header += octets;
  }
  if (rest_.size() - header < length) return std::nullopt;
  e.whole = rest_.substr(0, header + length);
  e.content = e.whole.substr(header);
  rest_.remove_prefix(e.whole.size());
  return e;
}

std::optional<Element> Reader::next(uint8_t tag) {
  if (peek_tag() != tag) return std::nullopt;
  return next();
}

std::optional<std::string> signature_to_raw(std::string_view bytes) {
  Reader outer(bytes);
  auto pair = outer.next(sequence);
  if (!pair || !outer.at_end()) return std::nullopt;
  Reader inner(pair->content);
  std::string raw;
  for (int i = 0; i < 2; i++) {
    auto number = inner.next(integer);
    if (!number) return std::nullopt;
    std::string_view n = number->content;
    while (!n.empty() && n[0] == 0) n.remove_prefix(1);
    if (n.empty() || n.size() > 32) return std::nullopt;
    raw.append(32 - n.size(), '\0');
    raw += n;
  }
  if (!inner.at_end()) return std::nullopt;
  return raw;
}

std::string signature_from_raw(std::string_view raw) {
  return of(sequence, unsigned_integer(raw.substr(0, 32)), unsigned_integer(raw.substr(32)));
}

}  // namespace limpet::pki::der
