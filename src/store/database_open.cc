// Opening, identity, migration, checkpoint and closing of the database file.
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "base/failpoint.h"
#include "base/unique_fd.h"
#include "store/database.h"
#include "store/wal_check.h"

namespace limpet::store {
namespace {

constexpr int kApplicationId = 0x6c6d7074;  // "lmpt"
constexpr const char* kMigrations[] = {
    "CREATE TABLE meta(name BLOB PRIMARY KEY, sum INTEGER NOT NULL, value BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE rows(id INTEGER PRIMARY KEY, key BLOB NOT NULL, created INTEGER NOT NULL, previous INTEGER "
    "NOT NULL,"
    " idx INTEGER NOT NULL, time INTEGER NOT NULL, state INTEGER NOT NULL, sum INTEGER NOT NULL, value BLOB);"
    "CREATE TABLE versions(key BLOB NOT NULL, id INTEGER NOT NULL, created INTEGER NOT NULL, size INTEGER "
    "NOT NULL,"
    " PRIMARY KEY(key, id)) WITHOUT ROWID;"
    "CREATE TABLE log(position INTEGER PRIMARY KEY, term INTEGER NOT NULL, sum INTEGER NOT NULL, entry BLOB "
    "NOT NULL);",
};

uint64_t size_of(const std::string& path) {
  struct stat st;
  return stat(path.c_str(), &st) == 0 ? static_cast<uint64_t>(st.st_size) : 0;
}

Result<> sync_directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string dir = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  UniqueFd fd(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "open " + dir);
  if (LIMPET_FAILPOINT("store.directory.sync")) return fail(Errc::io, "failpoint store.directory.sync");
  if (fsync(fd.get()) != 0) return fail_errno(errno, "sync " + dir);
  return {};
}

}  // namespace

const Database::Steps Database::kSteps = kMigrations;

void Database::give_back_memory() {
  if (db_) sqlite3_db_release_memory(db_);
}

Result<std::unique_ptr<Database>> Database::open(const std::string& path, size_t checkpoint_bytes, Disk disk,
                                                 Steps steps) {
  std::unique_ptr<Database> db(new Database(path, steps));
  db->checkpoint_bytes_ = checkpoint_bytes;
  const bool existed = size_of(path) > 0;
  const uint64_t wal_size = size_of(path + "-wal");
  db->unclean_ = wal_size > 0;
  if (!existed && wal_size > 0) {
    return db->damaged("its write-ahead log " + path + "-wal is there, but the database is missing or empty");
  }
  // Before SQLite touches anything: its recovery would quietly drop what lies behind a damaged frame.
  if (auto wal = check_wal_file(path + "-wal"); !wal) {
    return wal.error().code == Errc::corrupt ? db->damaged(wal.error().message)
                                             : std::unexpected(wal.error());
  }
  CHECK_OK(db->open_file());
  CHECK_OK(db->check_identity());
  CHECK_OK(db->configure());
  if (db->unclean_) CHECK_OK(db->check_after_crash(disk));
  CHECK_OK(db->migrate());
  if (!existed) CHECK_OK(sync_directory_of(path));
  if (LIMPET_FAILPOINT("store.open")) return fail(Errc::io, "failpoint store.open");
  return db;
}

Result<> Database::open_file() {
  // Nobody else may read what may hold secrets; SQLite gives its side files the mode of the database.
  const mode_t mask = umask(0077);
  const int rc = sqlite3_open_v2(path_.c_str(), &db_,
                                 SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                                     SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE,
                                 nullptr);
  umask(mask);
  if (rc != SQLITE_OK) return error(rc, "open");
  sqlite3_db_config(db_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(db_, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_db_config(db_, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
  sqlite3_db_config(db_, SQLITE_DBCONFIG_ENABLE_VIEW, 0, nullptr);
  // A checkpoint is ours to make, with its errors seen.
  sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  sqlite3_wal_hook(
      db_,
      [](void* self, sqlite3*, const char*, int pages) {
        static_cast<Database*>(self)->wal_pages_ = pages;
        return SQLITE_OK;
      },
      this);
  return {};
}

Result<int64_t> Database::number_of(const char* sql) {
  sqlite3_stmt* s = nullptr;
  int rc = sqlite3_prepare_v2(db_, sql, -1, &s, nullptr);
  if (rc != SQLITE_OK) return error(rc, sql);
  rc = sqlite3_step(s);
  const int64_t v = rc == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
  if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
    auto e = error(rc, sql);
    sqlite3_finalize(s);
    return e;
  }
  sqlite3_finalize(s);
  return v;
}

// Whose file is it, and of which version? Before anything is written to it.
Result<> Database::check_identity() {
  CHECK_OK(exec("PRAGMA locking_mode = EXCLUSIVE"));
  const auto id = number_of("PRAGMA application_id");
  if (!id && sqlite3_errcode(db_) == SQLITE_NOTADB) {
    return fail(Errc::invalid_argument,
                path_ +
                    " is not a limpet database, or its first page is damaged: move it away, "
                    "or restore a backup");
  }
  if (!id) return std::unexpected(id.error());
  TRY(const int64_t tables, number_of("SELECT count(*) FROM sqlite_master"));
  if (*id != kApplicationId && (*id != 0 || tables != 0)) {
    return fail(Errc::invalid_argument,
                path_ + " is not a limpet database: name another dataDir, or move the file away");
  }
  TRY(const int64_t version, number_of("PRAGMA user_version"));
  if (version > schema()) {
    return fail(Errc::unsupported,
                strf("%s has schema version %lld, this limpet knows up to %lld: it was written by a newer "
                     "limpet; install that version again, or restore a backup of before the upgrade",
                     path_.c_str(), static_cast<long long>(version), static_cast<long long>(schema())));
  }
  if (version < 0 || (version == 0) != (tables == 0))
    return damaged("its schema version does not fit its tables");
  return {};
}

Result<> Database::configure() {
  if (number_of("SELECT count(*) FROM sqlite_master").value_or(1) == 0)
    CHECK_OK(exec("PRAGMA page_size = 2048"));
  CHECK_OK(
      exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;"
           "PRAGMA journal_size_limit = -1; PRAGMA cache_size = -512; PRAGMA temp_store = MEMORY;"
           "PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON; PRAGMA secure_delete = OFF"));
  // The power-cut rig of tests/vm must lose writes with this, or it could not find a lost one.
  if (LIMPET_FAILPOINT("store.synchronous")) CHECK_OK(exec("PRAGMA synchronous = NORMAL"));
  // The autocheckpoint pragma puts its own hook in place of ours.
  sqlite3_wal_hook(
      db_,
      [](void* self, sqlite3*, const char*, int pages) {
        static_cast<Database*>(self)->wal_pages_ = pages;
        return SQLITE_OK;
      },
      this);
  TRY(const int64_t page, number_of("PRAGMA page_size"));
  page_size_ = static_cast<int>(page);
  return {};
}

// A log that was left over is put into the database and the whole is checked. The checkpoint comes first, for
// a failed sync that ended the last run may have left frames that the kernel shows but the disk does not
// hold: from here on nothing rests on them. With no room for it a device that starts is worth more than one
// that does not: such a sync and a full disk together are rare.
Result<> Database::check_after_crash(Disk disk) {
  const auto moved = checkpoint();
  if (!moved && (disk == Disk::has_room || moved.error().code != Errc::exhausted)) return moved;
  if (LIMPET_FAILPOINT("store.check")) return fail(Errc::io, "failpoint store.check");
  return quick_check();
}

Result<> Database::quick_check() {
  sqlite3_stmt* s = nullptr;
  int rc = sqlite3_prepare_v2(db_, "PRAGMA quick_check(1)", -1, &s, nullptr);
  if (rc != SQLITE_OK) return error(rc, "check");
  rc = sqlite3_step(s);
  const auto* text = rc == SQLITE_ROW ? reinterpret_cast<const char*>(sqlite3_column_text(s, 0)) : nullptr;
  const std::string verdict = text ? text : sqlite3_errmsg(db_);
  sqlite3_finalize(s);
  if (verdict == "ok") return {};
  if (rc != SQLITE_ROW && (rc & 0xff) != SQLITE_CORRUPT) return error(rc, "check");
  return damaged("the check of the whole file says: " + verdict);
}

Result<> Database::migrate() {
  TRY(const int64_t from, number_of("PRAGMA user_version"));
  if (from == schema()) return {};
  return in_transaction("store.migrate.commit", [&]() -> Result<> {
    for (const char* step : steps_.subspan(static_cast<size_t>(from))) {
      if (LIMPET_FAILPOINT("store.migrate.step")) return fail(Errc::io, "failpoint store.migrate.step");
      CHECK_OK(exec(step));
    }
    CHECK_OK(exec(strf("PRAGMA application_id = %d", kApplicationId).c_str()));
    return exec(strf("PRAGMA user_version = %lld", static_cast<long long>(schema())).c_str());
  });
}

bool Database::checkpoint_due() const {
  return static_cast<size_t>(wal_pages_) * static_cast<size_t>(page_size_) >= checkpoint_bytes_;
}

Result<> Database::checkpoint() {
  if (LIMPET_FAILPOINT("store.checkpoint")) return fail(Errc::io, "failpoint store.checkpoint");
  if (broken_) return fail(Errc::io, path_ + ": an earlier write failed");
  const int rc = sqlite3_wal_checkpoint_v2(db_, nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  syncs_ += 2;
  if (rc == SQLITE_OK) {
    wal_pages_ = 0;
    if (LIMPET_FAILPOINT("store.checkpoint.done")) return fail(Errc::io, "failpoint store.checkpoint.done");
    return {};
  }
  auto e = error(rc, "checkpoint");
  if (e.error().code != Errc::exhausted) broken_ = true;
  return e;
}

Result<> Database::close() {
  if (LIMPET_FAILPOINT("store.close")) return fail(Errc::io, "failpoint store.close");
  Result<> done = broken_ ? Result<>() : checkpoint();
  for (const auto& [text, s] : statements_) sqlite3_finalize(s);
  statements_.clear();
  // Everything is in the database file now: SQLite's own checkpoint finds nothing to do and removes the log,
  // which is how the next start knows that this stop was clean.
  if (done && !broken_) sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr);
  const int rc = sqlite3_close(db_);
  if (rc == SQLITE_OK) db_ = nullptr;
  if (done && rc != SQLITE_OK) return error(rc, "close");
  return done;
}

Database::~Database() {
  for (const auto& [text, s] : statements_) sqlite3_finalize(s);
  if (db_) sqlite3_close(db_);
}

uint64_t Database::wal_bytes() const { return size_of(path_ + "-wal"); }

uint64_t Database::file_bytes() {
  return static_cast<uint64_t>(number_of("PRAGMA page_count").value_or(0)) *
         static_cast<uint64_t>(page_size_);
}

}  // namespace limpet::store
