#include "store/database.h"

#include <sqlite3.h>

#include <cerrno>
#include <cstring>
#include <tuple>

#include "base/assert.h"
#include "base/failpoint.h"
#include "store/hash.h"
#include "store/statement.h"

namespace limpet::store {
namespace {

std::string bytes_of(int64_t value) { return {reinterpret_cast<const char*>(&value), sizeof value}; }

constexpr const char* kInsertRow =
    "INSERT INTO rows(id, key, created, previous, idx, time, state, sum, value) VALUES(?,?,?,?,?,?,?,?,?)";
constexpr const char* kInsertVersion = "INSERT INTO versions(key, id, created, size) VALUES(?,?,?,?)";
#define LIMPET_ROW_COLUMNS "id, key, created, previous, idx, time, state, sum, value"
constexpr const char* kReadRow = "SELECT " LIMPET_ROW_COLUMNS " FROM rows WHERE id = ?";
constexpr const char* kNewest = "SELECT " LIMPET_ROW_COLUMNS " FROM rows ORDER BY id DESC LIMIT 1";
constexpr const char* kHistory =
    "SELECT " LIMPET_ROW_COLUMNS " FROM rows WHERE id > ? AND id <= ? ORDER BY id";
constexpr const char* kListAt =
    "SELECT key, max(id), size FROM versions WHERE key > ?1 AND (?2 IS NULL OR key < ?2) AND id <= ?3 "
    "GROUP BY key HAVING size >= 0 LIMIT ?4";
constexpr const char* kListAtInclusive =
    "SELECT key, max(id), size FROM versions WHERE key >= ?1 AND (?2 IS NULL OR key < ?2) AND id <= ?3 "
    "GROUP BY key HAVING size >= 0 LIMIT ?4";

}  // namespace

std::unexpected<Error> Database::error(int rc, const char* doing, int hint) {
  const int extended = db_ ? sqlite3_extended_errcode(db_) : rc;
  const int kept = db_ ? sqlite3_system_errno(db_) : 0;
  const int err = kept ? kept : hint;
  Errc code = Errc::io;
  const char* remedy = "";
  switch (rc & 0xff) {
    case SQLITE_FULL:
      code = Errc::exhausted;
      break;
    case SQLITE_NOMEM:
      code = Errc::exhausted;
      break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      code = Errc::corrupt;
      remedy = "; the file is damaged: keep a copy, restore a backup, check the storage device";
      break;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      code = Errc::conflict;
      remedy = "; another program has the file open: close it";
      break;
    case SQLITE_READONLY:
    case SQLITE_PERM:
      code = Errc::permission_denied;
      break;
    case SQLITE_IOERR:
      remedy = "; the storage device fails, or its file system was made read-only: see the kernel's log";
      break;
    default:
      break;
  }
  std::string text = strf("%s: %s: %s (SQLite %d", path_.c_str(), doing,
                          db_ ? sqlite3_errmsg(db_) : sqlite3_errstr(rc), extended);
  if (err) text += strf(", %s", strerrordesc_np(err) ? strerrordesc_np(err) : "unknown errno");
  return std::unexpected(Error{code, text + ")" + remedy, err});
}

std::unexpected<Error> Database::damaged(const std::string& what) const {
  return fail(Errc::corrupt,
              strf("%s: %s; the file is damaged: keep a copy, restore a backup, check the storage device",
                   path_.c_str(), what.c_str()));
}

Result<sqlite3_stmt*> Database::statement(const char* sql) {
  for (const auto& [text, s] : statements_) {
    if (text == sql) return s;
  }
  sqlite3_stmt* s = nullptr;
  const int rc = sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &s, nullptr);
  if (rc != SQLITE_OK) return error(rc, "prepare");
  statements_.emplace_back(sql, s);
  return s;
}

Result<> Database::exec(const char* sql) {
  const int rc = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
  if (rc != SQLITE_OK) return error(rc, sql);
  return {};
}

// Runs body between BEGIN and COMMIT. An error of body rolls back and is returned. When COMMIT itself fails
// for anything but a full disk, nobody knows whether the bytes are on the disk: no write follows.
Result<> Database::in_transaction(const char* commit_point, const std::function<Result<>()>& body) {
  if (broken_) return fail(Errc::io, path_ + ": an earlier write failed");
  CHECK_OK(exec("BEGIN IMMEDIATE"));
  Result<> done;
  for (auto it = unwritten_.begin(); done && it != unwritten_.end(); ++it)
    done = set_blob(it->first, it->second);
  if (done) done = body();
  if (done) {
    if (commit_point && LIMPET_FAILPOINT(commit_point)) {
      done = fail(Errc::io, strf("failpoint %s", commit_point));
    } else {
      errno = 0;
      const int rc = sqlite3_exec(db_, "COMMIT", nullptr, nullptr, nullptr);
      const int err = rc == SQLITE_OK ? 0 : errno;
      ++syncs_;
      if (rc == SQLITE_OK) {
        unwritten_.clear();
        return {};
      }
      done = error(rc, "commit", err);
      if (rc != SQLITE_FULL) done.error().code = (rc & 0xff) == SQLITE_CORRUPT ? Errc::corrupt : Errc::io;
    }
  }
  // What was found wrong with the bytes that were to be written says nothing of the disk.
  if (done.error().code != Errc::exhausted && done.error().code != Errc::invalid_argument) broken_ = true;
  if (!sqlite3_get_autocommit(db_)) sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
  if (!sqlite3_get_autocommit(db_)) broken_ = true;
  return done;
}

Result<> Database::insert(const Change& c) {
  if (LIMPET_FAILPOINT("store.apply.row")) return fail(Errc::io, "failpoint store.apply.row");
  TRY(sqlite3_stmt * raw, statement(kInsertRow));
  {
    Statement s(raw);
    const uint64_t sum = row_sum(c.id, c.key, c.created, c.previous_id, static_cast<int64_t>(c.index), c.time,
                                 c.state, c.stored);
    s.number(1, c.id).bytes(2, c.key).number(3, c.created).number(4, c.previous_id);
    s.number(5, static_cast<int64_t>(c.index)).number(6, c.time).number(7, static_cast<int64_t>(c.state));
    s.number(8, static_cast<int64_t>(sum));
    if (!c.deleted) s.bytes(9, c.stored);
    if (const int rc = s.step(); rc != SQLITE_DONE) return error(rc, "write a row");
  }
  TRY(sqlite3_stmt * version, statement(kInsertVersion));
  Statement s(version);
  s.bytes(1, c.key).number(2, c.id).number(3, c.created);
  s.number(4, c.deleted ? -1 : static_cast<int64_t>(c.value->size()));
  if (const int rc = s.step(); rc != SQLITE_DONE) return error(rc, "write a version");
  return {};
}

Result<> Database::write(const Transaction& t, const std::vector<Change>& changes,
                         std::vector<SharedBytes>& previous) {
  if (LIMPET_FAILPOINT("store.commit.before")) return fail(Errc::io, "failpoint store.commit.before");
  previous.assign(changes.size(), nullptr);
  const auto before = std::tuple(group_, log_empty_, log_bytes_);
  const auto done = in_transaction("store.commit.write", [&]() -> Result<> {
    if (t.unstage) CHECK_OK(unstage());
    if (t.stage) CHECK_OK(stage(*t.stage));
    if (t.install) CHECK_OK(install(*t.install));
    CHECK_OK(write_log(t));
    CHECK_OK(write_group(t));
    for (size_t i = 0; i < changes.size(); ++i) {
      const Change& c = changes[i];
      if (c.previous_id && !c.previous) {
        TRY(Row row, read(c.previous_id, c.key));
        previous[i] = share(std::move(row.value));
      }
      CHECK_OK(insert(c));
    }
    return {};
  });
  if (!done) {
    std::tie(group_, log_empty_, log_bytes_) = before;
    return done;
  }
  if (LIMPET_FAILPOINT("store.commit.after")) {
    broken_ = true;
    return fail(Errc::io, "failpoint store.commit.after");
  }
  return {};
}

Result<Row> Database::row_of(sqlite3_stmt* raw) {
  Row row;
  row.id = sqlite3_column_int64(raw, 0);
  const auto blob = [raw](int at) {
    const void* p = sqlite3_column_blob(raw, at);
    return std::string_view(static_cast<const char*>(p),
                            p ? static_cast<size_t>(sqlite3_column_bytes(raw, at)) : 0);
  };
  const auto number = [raw](int at) { return sqlite3_column_int64(raw, at); };
  row.deleted = sqlite3_column_type(raw, 8) == SQLITE_NULL;
  row.created = number(2);
  row.previous_id = number(3);
  row.key = blob(1);
  const std::string_view stored = blob(8);
  const auto sum = static_cast<uint64_t>(number(7));
  if (row_sum(row.id, row.key, row.created, row.previous_id, number(4), number(5),
              static_cast<uint64_t>(number(6)), stored) != sum) {
    return damaged(strf("the row of %s at revision %lld fails its checksum", row.key.c_str(),
                        static_cast<long long>(revision_of(row.id))));
  }
  if (!row.deleted) {
    const auto value = from_stored(stored);
    if (!value) return std::unexpected(Error(value.error()).with(path_ + ": " + row.key));
    row.value = *value;
  }
  return row;
}

Result<Row> Database::read(RowId id, std::string_view key) {
  TRY(sqlite3_stmt * raw, statement(kReadRow));
  Statement s(raw);
  s.number(1, id);
  const int rc = s.step();
  if (rc == SQLITE_DONE) {
    return damaged(strf("the row of %s at revision %lld is missing", std::string(key).c_str(),
                        static_cast<long long>(revision_of(id))));
  }
  if (rc != SQLITE_ROW) return error(rc, "read a row");
  TRY(Row row, row_of(raw));
  if (row.key != key) {
    return damaged(strf("the row of %s at revision %lld holds another key", std::string(key).c_str(),
                        static_cast<long long>(revision_of(id))));
  }
  return row;
}

Result<std::vector<Row>> Database::list_at(std::string_view from, bool inclusive, std::string_view end,
                                           Revision revision, size_t limit) {
  std::vector<std::pair<std::string, RowId>> found;
  {
    TRY(sqlite3_stmt * raw, statement(inclusive ? kListAtInclusive : kListAt));
    Statement s(raw);
    s.bytes(1, from).number(3, row_id(revision, (1 << kRowBits) - 1)).number(4, static_cast<int64_t>(limit));
    if (!end.empty()) s.bytes(2, end);
    int rc;
    while ((rc = s.step()) == SQLITE_ROW) found.emplace_back(std::string(s.bytes(0)), s.number(1));
    if (rc != SQLITE_DONE) return error(rc, "list");
  }
  std::vector<Row> rows;
  rows.reserve(found.size());
  for (const auto& [key, id] : found) {
    TRY(Row row, read(id, key));
    rows.push_back(std::move(row));
  }
  return rows;
}

Result<Database::History> Database::history(Revision after, Revision upto, std::string_view prefix,
                                            size_t limit) {
  TRY(sqlite3_stmt * raw, statement(kHistory));
  Statement s(raw);
  s.number(1, row_id(after, (1 << kRowBits) - 1)).number(2, row_id(upto, (1 << kRowBits) - 1));
  History out;
  out.upto = upto;
  size_t seen = 0;
  Revision last = after;
  int rc;
  while ((rc = s.step()) == SQLITE_ROW) {
    const Revision revision = revision_of(s.number(0));
    if (seen >= limit && revision != last) {  // the page ends between two transactions
      out.upto = last;
      return out;
    }
    ++seen;
    last = revision;
    if (!s.bytes(1).starts_with(prefix)) continue;
    TRY(Row row, row_of(raw));
    out.rows.push_back(std::move(row));
  }
  if (rc != SQLITE_DONE) return error(rc, "read the history");
  return out;
}

Result<> Database::compact(const std::vector<RowId>& ids, Revision compacted) {
  if (LIMPET_FAILPOINT("store.compact.delete")) return fail(Errc::io, "failpoint store.compact.delete");
  return in_transaction("store.compact.commit", [&]() -> Result<> {
    CHECK_OK(set_number("compacted", compacted));
    for (const RowId id : ids) {
      std::string key;
      {
        TRY(sqlite3_stmt * raw, statement("SELECT key FROM rows WHERE id = ?"));
        Statement s(raw);
        s.number(1, id);
        const int rc = s.step();
        if (rc == SQLITE_DONE) return damaged(strf("row %lld is missing", static_cast<long long>(id)));
        if (rc != SQLITE_ROW) return error(rc, "read a row");
        key = s.bytes(0);
      }
      TRY(sqlite3_stmt * version, statement("DELETE FROM versions WHERE key = ? AND id = ?"));
      if (const int rc = Statement(version).bytes(1, key).number(2, id).step(); rc != SQLITE_DONE) {
        return error(rc, "delete a version");
      }
      TRY(sqlite3_stmt * row, statement("DELETE FROM rows WHERE id = ?"));
      if (const int rc = Statement(row).number(1, id).step(); rc != SQLITE_DONE)
        return error(rc, "delete a row");
    }
    return {};
  });
}

// ---- start-up and meta
// ------------------------------------------------------------------------------------------

Result<Newest> Database::newest() {
  TRY(sqlite3_stmt * raw, statement(kNewest));
  Statement s(raw);
  const int rc = s.step();
  if (rc == SQLITE_DONE) return Newest{};
  if (rc != SQLITE_ROW) return error(rc, "read the newest row");
  CHECK_OK(row_of(raw));
  return Newest{s.number(0), static_cast<uint64_t>(s.number(4)), s.number(5),
                static_cast<uint64_t>(s.number(6))};
}

Result<> Database::each_version(const std::function<Result<>(const Version&)>& f) {
  TRY(sqlite3_stmt * raw, statement("SELECT key, id, created, size FROM versions ORDER BY key, id"));
  Statement s(raw);
  int rc;
  while ((rc = s.step()) == SQLITE_ROW) CHECK_OK(f({s.bytes(0), s.number(1), s.number(2), s.number(3)}));
  if (rc != SQLITE_DONE) return error(rc, "read the keys");
  return {};
}

Result<int64_t> Database::get_number(const char* name) {
  TRY(const auto text, get_blob(name));
  if (!text) return 0;
  int64_t v = 0;
  if (text->size() != sizeof v) return damaged(strf("the entry %s has %zu bytes", name, text->size()));
  memcpy(&v, text->data(), sizeof v);
  return v;
}

Result<> Database::set_number(const char* name, int64_t value) { return set_blob(name, bytes_of(value)); }

Result<std::optional<std::string>> Database::get_blob(const std::string& name) {
  TRY(sqlite3_stmt * raw, statement("SELECT sum, value FROM meta WHERE name = ?"));
  Statement s(raw);
  const int rc = s.bytes(1, name).step();
  if (rc == SQLITE_DONE) return std::optional<std::string>();
  if (rc != SQLITE_ROW) return error(rc, "read meta");
  const std::string_view value = s.bytes(1);
  if (hash64(value, hash64(name)) != static_cast<uint64_t>(s.number(0))) {
    return damaged("the entry " + name + " fails its checksum");
  }
  return std::optional<std::string>(value);
}

Result<> Database::set_blob(const std::string& name, std::string_view bytes) {
  TRY(sqlite3_stmt * raw, statement("INSERT INTO meta(name, sum, value) VALUES(?1, ?2, ?3) "
                                    "ON CONFLICT(name) DO UPDATE SET sum = ?2, value = ?3"));
  Statement s(raw);
  s.bytes(1, name).number(2, static_cast<int64_t>(hash64(bytes, hash64(name)))).bytes(3, bytes);
  if (const int rc = s.step(); rc != SQLITE_DONE) return error(rc, "write meta");
  return {};
}

Result<> Database::remove_blob(const std::string& name) {
  TRY(sqlite3_stmt * raw, statement("DELETE FROM meta WHERE name = ?"));
  if (const int rc = Statement(raw).bytes(1, name).step(); rc != SQLITE_DONE) return error(rc, "write meta");
  return {};
}

Result<> Database::save_blob(const std::string& name, std::string_view bytes) {
  return in_transaction("store.blob.commit", [&] { return set_blob(name, bytes); });
}

}  // namespace limpet::store
