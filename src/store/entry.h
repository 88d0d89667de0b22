// The bytes of one log entry: a transaction whose every byte was decided by its proposer, with its
// preconditions.
//
// Shape (version 1): version byte, varint seconds of wall time, varint number of operations, then for each
//   type byte (0 put, 1 remove), expectation byte (0 anything, 1 a revision follows as varint), varint length
//   + key, and for a put varint length + stored value (format byte first).
// Varints are unsigned LEB128 of at most ten bytes in their shortest form.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "store/store.h"

namespace limpet::store {

constexpr size_t kMaxOps = 4096;
constexpr size_t kMaxKey = 1024;
constexpr size_t kMaxValue = 8u << 20;  // far above the API's own limit
constexpr size_t kMaxEntry = 24u << 20;

// How a stored value is encoded: its first byte. The store adds and strips it.
enum class Format : uint8_t { plain = 1, compressed = 2, encrypted = 3 };

std::string to_stored(std::string_view value);
// `unsupported` names a format this version cannot read; `corrupt` an unknown one.
Result<std::string_view> from_stored(std::string_view stored);

struct EntryOp {
  Op::Type type = Op::Type::put;
  std::optional<Revision> expect;
  std::string_view key;     // into the entry's bytes
  std::string_view stored;  // put only, format byte first
};

struct Entry {
  int64_t time = 0;  // wall seconds, given by the proposer
  std::vector<EntryOp> ops;
};

// `invalid_argument`: no operation, too many, a key twice, empty or too long, a value too large.
Result<std::string> encode_entry(const Txn& txn, int64_t time);
// `unsupported`: a newer version. `corrupt`: anything else that encode_entry would not have made.
Result<Entry> decode_entry(std::string_view bytes);

}  // namespace limpet::store
