// The protobuf wire format: tags, varints, lengths. Room-internal.
// Source: https://protobuf.dev/programming-guides/encoding/
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace limpet::schema::wire {

enum Kind : uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

struct Item {
  uint32_t number = 0;
  Kind kind = varint;
  uint64_t value = 0;     // of varint, fixed64 and fixed32
  std::string_view data;  // of bytes
};

// Reads one field after another out of a message.
class Reader {
 public:
  explicit Reader(std::string_view message) : data_(message) {}
  bool done() const { return pos_ >= data_.size(); }
  Result<Item> next();
  // A bare varint, as in packed lists.
  Result<uint64_t> number();

 private:
  std::string_view data_;
  size_t pos_ = 0;
};

void put_varint(std::string& out, uint64_t value);
void put_number(std::string& out, uint32_t field, uint64_t value);
void put_fixed64(std::string& out, uint32_t field, uint64_t value);
void put_bytes(std::string& out, uint32_t field, std::string_view data);
// Turns what stands behind `mark` into a field of that number.
void wrap(std::string& out, size_t mark, uint32_t field);

// Valid UTF-8 without NUL.
bool is_text(std::string_view s);

}  // namespace limpet::schema::wire
