// Snapshots from and into the file. One that comes is put together in tables of its own, which take the place
// of the others in one transaction when it is whole.
#include <sqlite3.h>

#include <algorithm>

#include "base/failpoint.h"
#include "base/varint.h"
#include "store/database.h"
#include "store/hash.h"
#include "store/statement.h"

namespace limpet::store {
namespace {

constexpr const char* kStaged = "staged";
constexpr size_t kPartRows = 200;
constexpr size_t kMaxStaged = 64u << 10;
constexpr const char* kInsertStagedRow =
    "INSERT OR REPLACE INTO staged_rows(id, key, created, previous, idx, time, state, sum, value) "
    "VALUES(?,?,?,0,?,?,?,?,?)";
constexpr const char* kInsertStagedVersion =
    "INSERT OR REPLACE INTO staged_versions(key, id, created, size) VALUES(?,?,?,?)";

std::string encode(const raft::Staged& staged) {
  std::string out(1, static_cast<char>(staged.complete ? 2 : 1));
  put_varint(out, staged.meta.point.index);
  put_varint(out, staged.meta.point.term);
  put_bytes(out, raft::encode(staged.meta.membership));
  put_bytes(out, staged.cursor);
  return out;
}

Result<raft::Staged> decode_staged(std::string_view bytes) {
  ByteReader in(bytes);
  raft::Staged out;
  const uint8_t how = in.byte();
  out.complete = how == 2;
  out.meta.point.index = in.varint();
  out.meta.point.term = in.varint();
  const std::string_view membership = in.bytes(kMaxStaged);
  out.cursor = in.bytes(kMaxStaged);
  if (!in.ok() || !in.at_end() || how < 1 || how > 2)
    return fail(Errc::corrupt, "the record of a staged snapshot is damaged");
  TRY(out.meta.membership, raft::decode_membership(membership));
  return out;
}

}  // namespace

// ---- from the file ----

Result<SnapshotPart> Database::read_part(SnapshotCursor& cursor) {
  if (LIMPET_FAILPOINT("store.snapshot.read")) return fail(Errc::io, "failpoint store.snapshot.read");
  std::vector<std::pair<std::string, RowId>> found;
  {
    TRY(sqlite3_stmt * raw, statement("SELECT key, max(id), size FROM versions WHERE key > ?1 AND id <= ?2 "
                                      "GROUP BY key HAVING size >= 0 LIMIT ?3"));
    Statement s(raw);
    s.bytes(1, cursor.after).number(2, row_id(cursor.revision, (1 << kRowBits) - 1)).number(3, kPartRows + 1);
    int rc;
    while ((rc = s.step()) == SQLITE_ROW) found.emplace_back(std::string(s.bytes(0)), s.number(1));
    if (rc != SQLITE_DONE) return error(rc, "read a snapshot");
  }
  SnapshotPart part;
  size_t bytes = 0;
  for (auto& [key, id] : found) {
    if (part.rows.size() == kPartRows || bytes > kChunkBytes) return part;
    TRY(Row row, read(id, key));
    bytes += row.key.size() + row.value.size();
    cursor.after = row.key;
    part.rows.push_back({std::move(row.key), id, row.created, to_stored(row.value)});
  }
  TRY(part.end, snapshot_end(cursor.revision));
  return part;
}

Result<std::optional<SnapshotEnd>> Database::snapshot_end(Revision revision) {
  TRY(sqlite3_stmt * raw,
      statement("SELECT id, key, created, previous, idx, time, state, sum, value FROM rows "
                "WHERE id <= ? ORDER BY id DESC LIMIT 1"));
  Statement s(raw);
  const int rc = s.number(1, row_id(revision, (1 << kRowBits) - 1)).step();
  if (rc == SQLITE_DONE) return std::optional<SnapshotEnd>();
  if (rc != SQLITE_ROW) return error(rc, "read the end of a snapshot");
  TRY(const Row row, row_of(raw));
  return SnapshotEnd{{row.key, row.id, row.created, row.deleted ? "" : to_stored(row.value)},
                     static_cast<uint64_t>(s.number(4)),
                     s.number(5),
                     static_cast<uint64_t>(s.number(6))};
}

// ---- into the file ----

Result<> Database::unstage() {
  if (LIMPET_FAILPOINT("store.stage.drop")) return fail(Errc::io, "failpoint store.stage.drop");
  CHECK_OK(exec("DROP TABLE IF EXISTS staged_rows; DROP TABLE IF EXISTS staged_versions"));
  return remove_blob(kStaged);
}

Result<std::optional<raft::Staged>> Database::staged() {
  TRY(const auto bytes, get_blob(kStaged));
  if (!bytes) return std::optional<raft::Staged>();
  auto out = decode_staged(*bytes);
  if (!out) return std::unexpected(std::move(out).error().with(path_));
  return std::optional(std::move(*out));
}

// Of the same shape as the table whose place it takes, whatever migrations have made of that.
Result<> Database::make_staged(const std::string& table) {
  std::string shape;
  {
    TRY(sqlite3_stmt * raw, statement("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?"));
    Statement s(raw);
    if (const int rc = s.text(1, table).step(); rc != SQLITE_ROW) return error(rc, "read the schema");
    shape = s.bytes(0);
  }
  return exec(
      ("CREATE TABLE staged_" + table + shape.substr(std::min(shape.find('('), shape.size()))).c_str());
}

// The rows are those of the file but for what is before them: `previous` is nothing, index and state count in
// the newest alone.
Result<> Database::stage(const raft::SnapshotChunk& chunk) {
  auto part = decode_part(*chunk.bytes);
  if (!part) return fail(Errc::invalid_argument, "a part of a snapshot: " + part.error().message);
  if (chunk.cursor.empty()) {
    if (LIMPET_FAILPOINT("store.stage.begin")) return fail(Errc::io, "failpoint store.stage.begin");
    CHECK_OK(unstage());
    CHECK_OK(make_staged("rows"));
    CHECK_OK(make_staged("versions"));
  }
  for (const SnapshotRow& row : part->rows) CHECK_OK(stage_row(row, {}));
  if (LIMPET_FAILPOINT("store.stage.rows")) return fail(Errc::io, "failpoint store.stage.rows");
  if (chunk.last) CHECK_OK(check_staged(*part, chunk.meta.point.index));
  if (LIMPET_FAILPOINT("store.stage.checked")) return fail(Errc::io, "failpoint store.stage.checked");
  return set_blob(kStaged, encode(raft::Staged{chunk.meta, chunk.next, chunk.last}));
}

Result<> Database::stage_row(const SnapshotRow& row, const SnapshotEnd& end) {
  const int64_t index = static_cast<int64_t>(end.index), state = static_cast<int64_t>(end.state);
  {
    TRY(sqlite3_stmt * raw, statement(kInsertStagedRow));
    Statement s(raw);
    s.number(1, row.id).bytes(2, row.key).number(3, row.created).number(4, index).number(5, end.time);
    s.number(6, state);
    s.number(7, static_cast<int64_t>(
                    row_sum(row.id, row.key, row.created, 0, index, end.time, end.state, row.stored)));
    if (!row.stored.empty()) s.bytes(8, row.stored);
    if (const int rc = s.step(); rc != SQLITE_DONE) return error(rc, "stage a row");
  }
  TRY(sqlite3_stmt * raw, statement(kInsertStagedVersion));
  Statement s(raw);
  s.bytes(1, row.key).number(2, row.id).number(3, row.created);
  s.number(4, row.stored.empty() ? -1 : static_cast<int64_t>(row.stored.size()) - 1);
  if (const int rc = s.step(); rc != SQLITE_DONE) return error(rc, "stage a version");
  return {};
}

// What is whole must be the state that its newest row says, or it would be found at the next opening, too
// late.
Result<> Database::check_staged(const SnapshotPart& last, raft::Index point) {
  if (last.end && last.end->index > point)
    return fail(Errc::invalid_argument, "a snapshot that says more than it is of");
  if (last.end) CHECK_OK(stage_row(last.end->newest, *last.end));
  TRY(sqlite3_stmt * raw, statement("SELECT key, id, created, size FROM staged_versions"));
  Statement s(raw);
  uint64_t state = 0;
  RowId newest = 0;
  int rc;
  while ((rc = s.step()) == SQLITE_ROW) {
    newest = std::max<RowId>(newest, s.number(1));
    if (s.number(3) >= 0)
      state ^= state_term(s.bytes(0), s.number(1), s.number(2), static_cast<uint32_t>(s.number(3)));
  }
  if (rc != SQLITE_DONE) return error(rc, "check a snapshot");
  if (newest == (last.end ? last.end->newest.id : 0) && state == (last.end ? last.end->state : 0)) return {};
  return fail(Errc::invalid_argument, "a snapshot whose objects are not those that it ends with");
}

Result<> Database::install_staged() {
  TRY(const auto ready, staged());
  if (!ready) return {};
  TRY(const auto now, group());
  if (!now) return unstage();
  const raft::SnapshotMeta& meta = ready->meta;
  TRY(const raft::Term held, log_term(meta.point.index));
  if (!ready->complete || meta.point.index <= now->applied.index || held == meta.point.term) return unstage();
  CHECK_OK(install(meta));
  Group g = *now;
  g.applied = meta.point;
  g.membership = meta.membership;
  g.membership_index = meta.point.index;
  g.hard_state.term = std::max(g.hard_state.term, meta.point.term);
  group_ = g;
  return set_blob("group", encode(g));
}

Result<> Database::install(const raft::SnapshotMeta& meta) {
  TRY(const auto ready, staged());
  if (!ready || !ready->complete || ready->meta != meta)
    return fail(Errc::corrupt, path_ + ": the snapshot that was staged is not there");
  if (LIMPET_FAILPOINT("store.snapshot.swap")) return fail(Errc::io, "failpoint store.snapshot.swap");
  CHECK_OK(
      exec("DROP TABLE rows; DROP TABLE versions; ALTER TABLE staged_rows RENAME TO rows; "
           "ALTER TABLE staged_versions RENAME TO versions"));
  TRY(const Newest last, newest());
  CHECK_OK(set_number("compacted", revision_of(last.id)));
  CHECK_OK(begin_log(meta.point));
  if (LIMPET_FAILPOINT("store.snapshot.install")) return fail(Errc::io, "failpoint store.snapshot.install");
  return remove_blob(kStaged);
}

}  // namespace limpet::store
