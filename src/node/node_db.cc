#include "node/node_db.h"

#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <set>

#include "base/failpoint.h"
#include "base/json.h"
#include "base/log.h"
#include "base/sha256.h"

namespace limpet::node {

namespace {

constexpr int kSchemaVersion = 1;
constexpr int kApplicationId = 0x6c6d6e64;  // "lmnd"
constexpr int kKeptAside = 3;
constexpr int64_t kRetryMs = 5'000;

Errc code_of(int rc) {
  switch (rc & 0xff) {
    case SQLITE_FULL:
    case SQLITE_NOMEM:
      return Errc::exhausted;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN:
    case SQLITE_AUTH:
      return Errc::permission_denied;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Errc::unavailable;
    case SQLITE_IOERR:
      return Errc::io;
    default:
      return Errc::corrupt;  // among them an error of SQL: the tables are not those that this program makes
  }
}

std::unexpected<Error> error_of(sqlite3* db) {
  return fail(code_of(sqlite3_errcode(db)), sqlite3_errmsg(db));
}

Result<> run(sqlite3* db, const char* sql) {
  if (sqlite3_exec(db, sql, nullptr, nullptr, nullptr) == SQLITE_OK) return {};
  return error_of(db);
}

Result<int64_t> number_of(sqlite3* db, const char* sql) {
  sqlite3_stmt* s = nullptr;
  if (sqlite3_prepare_v2(db, sql, -1, &s, nullptr) != SQLITE_OK) return error_of(db);
  const bool row = sqlite3_step(s) == SQLITE_ROW;
  const int64_t value = row ? sqlite3_column_int64(s, 0) : 0;
  sqlite3_finalize(s);
  if (!row) return error_of(db);
  return value;
}

// The file, opened and made sure of when it is first needed: where that fails for want of room, the next
// write tries again.
class Connection {
 public:
  explicit Connection(std::string path) : path_(std::move(path)) {}
  ~Connection() { sqlite3_close(db_); }
  Connection(const Connection&) = delete;

  Result<sqlite3*> get() {
    if (ready_) return db_;
    sqlite3_close(std::exchange(db_, nullptr));
    CHECK_OK(prepare());
    ready_ = true;
    return db_;
  }

 private:
  Result<> prepare();

  std::string path_;
  sqlite3* db_ = nullptr;
  bool ready_ = false;
};

Result<> Connection::prepare() {
  const int rc = sqlite3_open_v2(path_.c_str(), &db_,
                                 SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  if (rc != SQLITE_OK) return fail(code_of(rc), db_ ? sqlite3_errmsg(db_) : "out of memory");
  chmod(path_.c_str(), 0600);  // before the log is made, which takes the mode of the file
  CHECK_OK(run(db_, "PRAGMA locking_mode=EXCLUSIVE"));
  // Whose file is it, before anything is written to it?
  TRY(const int64_t id, number_of(db_, "PRAGMA application_id"));
  TRY(const int64_t tables, number_of(db_, "SELECT count(*) FROM sqlite_master"));
  TRY(const int64_t version, number_of(db_, "PRAGMA user_version"));
  if (id != kApplicationId && (id != 0 || tables != 0))
    return fail(Errc::corrupt, "it is the database of another program");
  if (version > kSchemaVersion) {
    return fail(Errc::unsupported, strf("made by a newer limpet (schema %lld, this one knows %d)",
                                        static_cast<long long>(version), kSchemaVersion));
  }
  CHECK_OK(run(db_,
               "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-256; "
               "PRAGMA wal_autocheckpoint=200; PRAGMA trusted_schema=OFF"));
  if (version == kSchemaVersion) return {};
  CHECK_OK(run(
      db_,
      "BEGIN; CREATE TABLE IF NOT EXISTS record(kind TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, "
      "sum TEXT NOT NULL, PRIMARY KEY(kind,key)) WITHOUT ROWID"));
  return run(db_,
             strf("PRAGMA user_version=%d; PRAGMA application_id=%d; COMMIT", kSchemaVersion, kApplicationId)
                 .c_str());
}

// One row to write (or delete): everything in node.db is a named value with its checksum.
struct Write {
  std::string kind, key;
  SharedBytes value;  // null: delete
};

std::string checksum(const std::string& kind, const std::string& key, std::string_view value) {
  return sha256_hex(kind + "\n" + key + "\n" + std::string(value)).substr(0, 16);
}

Result<> write_batch(Connection& connection, const std::vector<Write>& batch) {
  if (LIMPET_FAILPOINT("node.db.commit")) return fail(Errc::io, "failpoint node.db.commit");
  TRY(sqlite3* const db, connection.get());
  CHECK_OK(run(db, "BEGIN IMMEDIATE"));
  sqlite3_stmt *put = nullptr, *del = nullptr;
  const bool ready =
      sqlite3_prepare_v2(db, "INSERT OR REPLACE INTO record(kind,key,value,sum) VALUES(?,?,?,?)", -1, &put,
                         nullptr) == SQLITE_OK &&
      sqlite3_prepare_v2(db, "DELETE FROM record WHERE kind=? AND key=?", -1, &del, nullptr) == SQLITE_OK;
  bool ok = ready;
  for (const Write& w : batch) {
    if (!ok) break;
    sqlite3_stmt* s = w.value ? put : del;
    sqlite3_reset(s);
    sqlite3_bind_text(s, 1, w.kind.data(), static_cast<int>(w.kind.size()), SQLITE_STATIC);
    sqlite3_bind_text(s, 2, w.key.data(), static_cast<int>(w.key.size()), SQLITE_STATIC);
    const std::string sum = w.value ? checksum(w.kind, w.key, *w.value) : "";
    if (w.value) {
      sqlite3_bind_blob64(s, 3, w.value->data(), w.value->size(), SQLITE_STATIC);
      sqlite3_bind_text(s, 4, sum.data(), static_cast<int>(sum.size()), SQLITE_STATIC);
    }
    ok = sqlite3_step(s) == SQLITE_DONE;
  }
  Result<> outcome;
  if (!ok) outcome = error_of(db);
  sqlite3_finalize(put);
  sqlite3_finalize(del);
  if (outcome) outcome = run(db, "COMMIT");
  if (!outcome && !sqlite3_get_autocommit(db)) (void)run(db, "ROLLBACK").has_value();
  sqlite3_db_release_memory(db);  // written seldom, and read at the start only
  return outcome;
}

class SqliteNodeDb final : public NodeDb {
 public:
  SqliteNodeDb(loop::Loop& loop, std::string path, Sealer sealer)
      : loop_(loop),
        path_(std::move(path)),
        sealer_(std::move(sealer)),
        connection_(std::make_shared<Connection>(path_)),
        retry_(loop, "node.db") {}

  Result<> load();

  std::vector<SharedBytes> pods() const override {
    std::vector<SharedBytes> out;
    for (const auto& [uid, pod] : pods_) out.push_back(pod);
    return out;
  }
  void put_pod(const std::string& uid, SharedBytes pod) override {
    const auto it = pods_.find(uid);
    if (it != pods_.end() && same_but_status(*it->second, *pod)) return;
    pods_[uid] = pod;
    queue({"pod", uid, std::move(pod)});
  }
  void remove_pod(const std::string& uid) override {
    if (pods_.erase(uid) > 0) queue({"pod", uid, nullptr});
    if (restarts_.erase(uid) > 0) queue({"restarts", uid, nullptr});
    if (asked_.erase(uid) > 0) queue({"asked", uid, nullptr});
  }
  std::map<std::string, int> restart_counts(const std::string& uid) const override {
    const auto it = restarts_.find(uid);
    return it == restarts_.end() ? std::map<std::string, int>() : it->second;
  }
  void put_restart_count(const std::string& uid, const std::string& container, int count) override;
  std::map<std::string, std::string> restarts_asked(const std::string& uid) const override {
    const auto it = asked_.find(uid);
    return it == asked_.end() ? std::map<std::string, std::string>() : it->second;
  }
  void put_restart_asked(const std::string& uid, const std::string& container,
                         const std::string& run) override;
  SharedBytes object(const std::string& key) const override {
    const auto it = objects_.find(key);
    return it == objects_.end() ? SharedBytes() : it->second;
  }
  void put_object(const std::string& key, SharedBytes bytes) override;
  void retain_objects(const std::vector<std::string>& keys) override;
  void close(std::function<void()> done) override {
    closing_ = std::move(done);
    failing_ = false;  // one more attempt
    flush();
  }

 private:
  static bool is_secret(const std::string& key) { return key.find("/secrets/") != std::string::npos; }
  // Status and resourceVersion change all the time; the record is of what must run.
  static bool same_but_status(const std::string& a, const std::string& b);
  Result<> load_row(const std::string& kind, const std::string& key, std::string value);
  void queue(Write w);
  void flush();
  void flushed(const std::vector<Write>& batch, const Result<>& outcome);

  loop::Loop& loop_;
  std::string path_;
  Sealer sealer_;
  std::shared_ptr<Connection> connection_;  // touched by the running job only, after load()
  std::map<std::string, SharedBytes> pods_, objects_;
  std::map<std::string, std::map<std::string, int>> restarts_;
  std::map<std::string, std::map<std::string, std::string>> asked_;  // restarts; no empty maps
  std::deque<Write> pending_;
  loop::Work work_;
  loop::Timer retry_;
  bool failing_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::function<void()> closing_;
};

bool SqliteNodeDb::same_but_status(const std::string& a, const std::string& b) {
  const json::Cursor x(a), y(b);
  if (x["spec"].raw() != y["spec"].raw()) return false;
  const json::Cursor m = x["metadata"], n = y["metadata"];
  for (const char* key :
       {"uid", "labels", "annotations", "deletionTimestamp", "deletionGracePeriodSeconds"}) {
    if (m[key].raw() != n[key].raw()) return false;
  }
  // Readiness comes and goes; that a pod ended for good must be known after a power cut.
  return x["status"]["phase"].raw() == y["status"]["phase"].raw();
}

Result<> SqliteNodeDb::load() {
  TRY(sqlite3* const db, connection_->get());
  sqlite3_stmt* s = nullptr;
  if (sqlite3_prepare_v2(db, "SELECT kind,key,value,sum FROM record", -1, &s, nullptr) != SQLITE_OK)
    return error_of(db);
  Result<> outcome;
  int step = SQLITE_ROW;
  const auto text = [&](int column) {
    const auto* p = static_cast<const char*>(sqlite3_column_blob(s, column));
    return std::string(p ? p : "", static_cast<size_t>(sqlite3_column_bytes(s, column)));
  };
  while (outcome && (step = sqlite3_step(s)) == SQLITE_ROW) {
    const std::string kind = text(0), key = text(1);
    std::string value = text(2);
    outcome = checksum(kind, key, value) == text(3)
                  ? load_row(kind, key, std::move(value))
                  : fail(Errc::corrupt, "the row " + kind + " " + key + " is damaged");
  }
  if (outcome && step != SQLITE_DONE) outcome = error_of(db);
  sqlite3_finalize(s);
  return outcome;
}

Result<> SqliteNodeDb::load_row(const std::string& kind, const std::string& key, std::string value) {
  if (kind == "pod") pods_[key] = share(std::move(value));
  if (kind == "restarts") {
    json::Cursor(value).each([&](std::string_view name, json::Cursor n) {
      restarts_[key][std::string(name)] = static_cast<int>(n.integer());
      return true;
    });
  }
  if (kind == "asked") {
    json::Cursor(value).each([&](std::string_view name, json::Cursor run) {
      asked_[key][std::string(name)] = run.str();
      return true;
    });
  }
  if (kind != "object") return {};
  if (is_secret(key)) {
    auto plain = sealer_.open(value);
    // Sealed with a key that is gone: the API will bring it again.
    if (!plain) return {};
    value = std::move(*plain);
  }
  objects_[key] = share(std::move(value));
  return {};
}

void SqliteNodeDb::put_restart_count(const std::string& uid, const std::string& container, int count) {
  int& known = restarts_[uid][container];
  if (known == count) return;
  known = count;
  json::Writer w;
  w.begin_object();
  for (const auto& [name, n] : restarts_[uid]) w.field(name, n);
  w.end_object();
  queue({"restarts", uid, share(w.take())});
}

void SqliteNodeDb::put_restart_asked(const std::string& uid, const std::string& container,
                                     const std::string& run) {
  auto runs = restarts_asked(uid);
  const auto known = runs.find(container);
  if (known == runs.end() ? run.empty() : known->second == run) return;
  if (run.empty()) {
    runs.erase(known);
  } else {
    runs[container] = run;
  }
  if (runs.empty()) {
    asked_.erase(uid);
    return queue({"asked", uid, nullptr});
  }
  json::Writer w;
  w.begin_object();
  for (const auto& [name, id] : runs) w.field(name, id);
  w.end_object();
  asked_[uid] = std::move(runs);
  queue({"asked", uid, share(w.take())});
}

void SqliteNodeDb::put_object(const std::string& key, SharedBytes bytes) {
  const auto it = objects_.find(key);
  // A watch and a get may write one version in two ways.
  const auto same_version = [&] {
    const json::Cursor a = json::Cursor(*it->second)["metadata"], b = json::Cursor(*bytes)["metadata"];
    return a["resourceVersion"] && a["resourceVersion"].raw() == b["resourceVersion"].raw() &&
           a["uid"].raw() == b["uid"].raw();
  };
  if (it != objects_.end() && (*it->second == *bytes || same_version())) return;
  objects_[key] = bytes;
  if (!is_secret(key)) return queue({"object", key, std::move(bytes)});
  auto sealed = sealer_.seal(*bytes);
  if (!sealed) {
    log::warning("a secret is not kept for offline use", {{"error", sealed.error()}});
    return;
  }
  queue({"object", key, share(std::move(*sealed))});
}

void SqliteNodeDb::retain_objects(const std::vector<std::string>& keys) {
  const std::set<std::string> keep(keys.begin(), keys.end());
  for (auto it = objects_.begin(); it != objects_.end();) {
    if (keep.contains(it->first)) {
      ++it;
      continue;
    }
    queue({"object", it->first, nullptr});
    it = objects_.erase(it);
  }
}

// A newer write of a row takes the place of one that still waits, so that the queue is bounded by the rows
// there are.
void SqliteNodeDb::queue(Write w) {
  const auto same = std::find_if(pending_.begin(), pending_.end(),
                                 [&](const Write& p) { return p.kind == w.kind && p.key == w.key; });
  if (same != pending_.end()) {
    same->value = std::move(w.value);
  } else {
    pending_.push_back(std::move(w));
  }
  loop_.defer([this, alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired()) flush();
  });
}

void SqliteNodeDb::flush() {
  if (work_.busy()) return;
  if (pending_.empty()) {
    if (closing_) std::exchange(closing_, nullptr)();
    return;
  }
  auto batch = std::make_shared<std::vector<Write>>(pending_.begin(), pending_.end());
  pending_.clear();
  auto outcome = std::make_shared<Result<>>();
  work_.start(
      loop_, [batch, outcome, connection = connection_] { *outcome = write_batch(*connection, *batch); },
      [this, batch, outcome] { flushed(*batch, *outcome); });
}

// What found no room is written when there is room, unless something newer took its place. Said once, not
// with every write.
void SqliteNodeDb::flushed(const std::vector<Write>& batch, const Result<>& outcome) {
  if (outcome) {
    if (failing_) log::notice("node.db is written again", {{"file", path_}});
    failing_ = false;
    return flush();
  }
  if (!failing_) log::warning("node.db cannot be written", {{"file", path_}, {"error", outcome.error()}});
  failing_ = true;
  if (closing_) return std::exchange(closing_, nullptr)();
  for (const Write& w : batch) {
    const bool newer = std::any_of(pending_.begin(), pending_.end(),
                                   [&](const Write& p) { return p.kind == w.kind && p.key == w.key; });
    if (!newer) pending_.push_back(w);
  }
  retry_.start(kRetryMs, [this] { flush(); });
}

// A file that is damaged, or another program's, gives way. What was set aside first is the best evidence, and
// copies must not fill the disk: the last of a few places is used again.
Result<> set_aside(const std::string& path, const Error& why) {
  std::string aside;
  for (int n = 1; n <= kKeptAside; n++) {
    aside = path + ".damaged-" + std::to_string(n);
    if (access(aside.c_str(), F_OK) != 0) break;
  }
  log::error("node.db is damaged and set aside; it is rebuilt from the API",
             {{"file", path}, {"kept_as", aside}, {"error", why}});
  if (rename(path.c_str(), aside.c_str()) != 0 && errno != ENOENT)
    return fail_errno(errno, "set aside " + path);
  unlink((path + "-wal").c_str());
  unlink((path + "-shm").c_str());
  return {};
}

}  // namespace

Result<std::unique_ptr<NodeDb>> NodeDb::open(loop::Loop& loop, const std::string& path, Sealer sealer) {
  auto db = std::make_unique<SqliteNodeDb>(loop, path, sealer);
  auto loaded = db->load();
  if (loaded) return std::unique_ptr<NodeDb>(std::move(db));
  Error error = std::move(loaded).error();
  if (error.code == Errc::unsupported) return std::unexpected(std::move(error).with(path));
  const bool damaged = error.code == Errc::corrupt || error.code == Errc::io;
  db.reset();
  if (damaged) {
    CHECK_OK(set_aside(path, error));
    db = std::make_unique<SqliteNodeDb>(loop, path, sealer);
    auto again = db->load();
    if (again) return std::unique_ptr<NodeDb>(std::move(db));
    error = std::move(again).error();
    db.reset();
  }
  // A device starts also when its disk is full: what the API says is in memory, and written when there is
  // room.
  log::warning("node.db cannot be used now, going on without what it says",
               {{"file", path}, {"error", error}});
  return std::unique_ptr<NodeDb>(std::make_unique<SqliteNodeDb>(loop, path, std::move(sealer)));
}

}  // namespace limpet::node
