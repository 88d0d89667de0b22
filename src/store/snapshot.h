// A snapshot of the state as it travels to another member: the current objects in key order at one revision,
// in chunks that can be made again by any member that still has that revision.
//
// No history goes with it: whoever installs it has compacted everything before its revision.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "raft/types.h"
#include "store/index.h"

namespace limpet::store {

constexpr size_t kChunkBytes = 64u << 10;  // of rows, but at least one row

// Where the next chunk begins. The members are part of it, so that a leader that goes on with another's
// snapshot says the same of them.
struct SnapshotCursor {
  Revision revision = 0;
  raft::Membership membership;
  std::string after;  // the last key of the chunk before
  bool operator==(const SnapshotCursor&) const = default;
};

struct SnapshotRow {
  std::string key;
  RowId id = 0;
  Revision created = 0;
  std::string stored;  // format byte first; empty: a deletion, which only the newest row may be
  bool operator==(const SnapshotRow&) const = default;
};

// What the newest row says beside itself. It may be a deletion, and is none of the objects then.
struct SnapshotEnd {
  SnapshotRow newest;
  uint64_t index = 0;  // of the entry that it came from
  int64_t time = 0;
  uint64_t state = 0;
  bool operator==(const SnapshotEnd&) const = default;
};

struct SnapshotPart {
  std::vector<SnapshotRow> rows;
  std::optional<SnapshotEnd> end;  // in the last chunk; none when nothing was ever written
  bool operator==(const SnapshotPart&) const = default;
};

// Shapes (version 1 of both): cursor: version byte, varint revision, varint length and
// raft::encode(membership), varint length and key. part: version byte, varint number of rows, the rows, one
// byte whether an end follows, the end. row: varint length and key, varint id, varint created, varint length
// and stored bytes. end: row, varints index, time, state. Errors: `unsupported` of a newer version, `corrupt`
// of anything else that encode() would not have made: keys that do not rise, a row that is no object.
std::string encode(const SnapshotCursor& cursor);
Result<SnapshotCursor> decode_cursor(std::string_view bytes);
std::string encode(const SnapshotPart& part);
Result<SnapshotPart> decode_part(std::string_view bytes);

}  // namespace limpet::store
