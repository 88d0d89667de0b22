#include "store/snapshot.h"

#include "base/varint.h"
#include "store/entry.h"

namespace limpet::store {
namespace {

constexpr uint8_t kVersion = 1;
constexpr size_t kMaxMembership = 16u << 10;
constexpr size_t kMaxRows = 10000;

std::unexpected<Error> corrupt(const char* what) { return fail(Errc::corrupt, strf("a damaged %s", what)); }

Result<> check_version(std::string_view bytes, const char* what) {
  if (bytes.empty() || bytes[0] == 0) return corrupt(what);
  if (static_cast<uint8_t>(bytes[0]) == kVersion) return {};
  return fail(Errc::unsupported, strf("a %s of version %d, this limpet knows %d", what,
                                      static_cast<uint8_t>(bytes[0]), kVersion));
}

void put_row(std::string& out, const SnapshotRow& row) {
  put_bytes(out, row.key);
  put_varint(out, static_cast<uint64_t>(row.id));
  put_varint(out, static_cast<uint64_t>(row.created));
  put_bytes(out, row.stored);
}

bool read_row(ByteReader& in, SnapshotRow& row) {
  row.key = in.bytes(kMaxKey);
  const uint64_t id = in.varint(), created = in.varint();
  row.stored = in.bytes(kMaxValue + 1);
  row.id = static_cast<RowId>(id);
  row.created = static_cast<Revision>(created);
  return in.ok() && !row.key.empty() && id <= INT64_MAX && created > 0 && created <= INT64_MAX &&
         row.created <= revision_of(row.id);
}

}  // namespace

std::string encode(const SnapshotCursor& cursor) {
  std::string out(1, static_cast<char>(kVersion));
  put_varint(out, static_cast<uint64_t>(cursor.revision));
  put_bytes(out, raft::encode(cursor.membership));
  put_bytes(out, cursor.after);
  return out;
}

Result<SnapshotCursor> decode_cursor(std::string_view bytes) {
  CHECK_OK(check_version(bytes, "snapshot cursor"));
  ByteReader in(bytes.substr(1));
  SnapshotCursor out;
  const uint64_t revision = in.varint();
  const std::string_view membership = in.bytes(kMaxMembership);
  out.after = in.bytes(kMaxKey);
  if (!in.ok() || !in.at_end() || revision > INT64_MAX) return corrupt("snapshot cursor");
  out.revision = static_cast<Revision>(revision);
  TRY(out.membership, raft::decode_membership(membership));
  return out;
}

std::string encode(const SnapshotPart& part) {
  std::string out(1, static_cast<char>(kVersion));
  put_varint(out, part.rows.size());
  for (const SnapshotRow& row : part.rows) put_row(out, row);
  out.push_back(part.end ? 1 : 0);
  if (!part.end) return out;
  put_row(out, part.end->newest);
  for (const uint64_t v : {part.end->index, static_cast<uint64_t>(part.end->time), part.end->state})
    put_varint(out, v);
  return out;
}

Result<SnapshotPart> decode_part(std::string_view bytes) {
  CHECK_OK(check_version(bytes, "part of a snapshot"));
  ByteReader in(bytes.substr(1));
  SnapshotPart out;
  const uint64_t count = in.varint();
  if (!in.ok() || count > kMaxRows) return corrupt("part of a snapshot");
  std::string last;
  for (uint64_t i = 0; i < count; ++i) {
    SnapshotRow row;
    if (!read_row(in, row) || row.stored.empty() || row.key <= last) return corrupt("part of a snapshot");
    last = row.key;
    out.rows.push_back(std::move(row));
  }
  const uint8_t ends = in.byte();
  if (ends == 1) {
    SnapshotEnd end;
    const bool whole = read_row(in, end.newest);
    end.index = in.varint();
    const uint64_t time = in.varint();
    end.state = in.varint();
    if (!whole || time > INT64_MAX) return corrupt("part of a snapshot");
    end.time = static_cast<int64_t>(time);
    out.end = std::move(end);
  }
  if (!in.ok() || !in.at_end() || ends > 1) return corrupt("part of a snapshot");
  return out;
}

}  // namespace limpet::store
