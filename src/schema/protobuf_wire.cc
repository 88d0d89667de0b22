#include "schema/protobuf_wire.h"

namespace limpet::schema::wire {

namespace {

std::unexpected<Error> broken(const char* what) {
  return fail(Errc::invalid_argument, std::string("protobuf: ") + what);
}

uint64_t little_endian(std::string_view bytes) {
  uint64_t v = 0;
  for (size_t i = bytes.size(); i-- > 0;) v = v << 8 | static_cast<uint8_t>(bytes[i]);
  return v;
}

// The length of the UTF-8 sequence at s[i], 0 when it is none (overlong forms, surrogates, beyond U+10FFFF).
size_t sequence_length(std::string_view s, size_t i) {
  const auto at = [&](size_t k) -> unsigned { return k < s.size() ? static_cast<uint8_t>(s[k]) : 0; };
  const auto tail = [&](size_t k) { return (at(k) & 0xc0) == 0x80; };
  const unsigned a = at(i), b = at(i + 1);
  if (a < 0x80) return 1;
  if (a < 0xc2 || a > 0xf4 || !tail(i + 1)) return 0;
  if (a < 0xe0) return 2;
  if ((a == 0xe0 && b < 0xa0) || (a == 0xed && b > 0x9f) || !tail(i + 2)) return 0;
  if (a < 0xf0) return 3;
  if ((a == 0xf0 && b < 0x90) || (a == 0xf4 && b > 0x8f) || !tail(i + 3)) return 0;
  return 4;
}

}  // namespace

Result<uint64_t> Reader::number() {
  uint64_t v = 0;
  for (int shift = 0; shift < 70; shift += 7) {
    if (pos_ >= data_.size()) return broken("a number is cut off");
    const auto byte = static_cast<uint8_t>(data_[pos_++]);
    if (shift == 63 && byte > 1) break;
    v |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return v;
  }
  return broken("a number is longer than 64 bits");
}

Result<Item> Reader::next() {
  TRY(const uint64_t tag, number());
  Item item;
  if (tag >> 3 == 0 || tag >> 3 > 0x1fffffff) return broken("illegal field number");
  item.number = static_cast<uint32_t>(tag >> 3);
  size_t length = 0;
  switch (tag & 7) {
    case varint: {
      TRY(item.value, number());
      return item;
    }
    case fixed64:
      length = 8;
      break;
    case fixed32:
      length = 4;
      break;
    case bytes: {
      TRY(const uint64_t given, number());
      if (given > data_.size() - pos_) return broken("a length reaches beyond the message");
      length = static_cast<size_t>(given);
      break;
    }
    default:
      return broken("unknown wire type");  // groups are long gone
  }
  if (length > data_.size() - pos_) return broken("a value is cut off");
  item.kind = static_cast<Kind>(tag & 7);
  item.data = data_.substr(pos_, length);
  pos_ += length;
  if (item.kind != bytes) item.value = little_endian(item.data);
  return item;
}

void put_varint(std::string& out, uint64_t value) {
  while (value >= 0x80) {
    out += static_cast<char>(value | 0x80);
    value >>= 7;
  }
  out += static_cast<char>(value);
}

void put_number(std::string& out, uint32_t field, uint64_t value) {
  put_varint(out, static_cast<uint64_t>(field) << 3 | varint);
  put_varint(out, value);
}

void put_fixed64(std::string& out, uint32_t field, uint64_t value) {
  put_varint(out, static_cast<uint64_t>(field) << 3 | fixed64);
  for (int i = 0; i < 8; i++) out += static_cast<char>(value >> (8 * i));
}

void put_bytes(std::string& out, uint32_t field, std::string_view data) {
  put_varint(out, static_cast<uint64_t>(field) << 3 | bytes);
  put_varint(out, data.size());
  out += data;
}

void wrap(std::string& out, size_t mark, uint32_t field) {
  std::string head;
  put_varint(head, static_cast<uint64_t>(field) << 3 | bytes);
  put_varint(head, out.size() - mark);
  out.insert(mark, head);
}

bool is_text(std::string_view s) {
  for (size_t i = 0; i < s.size();) {
    const size_t n = sequence_length(s, i);
    if (n == 0 || s[i] == 0) return false;
    i += n;
  }
  return true;
}

}  // namespace limpet::schema::wire
