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

struct Connection {
  sqlite3* db = nullptr;
  ~Connection() { sqlite3_close(db); }
};

Result<> run(sqlite3* db, const char* sql) {
  char* text = nullptr;
  if (sqlite3_exec(db, sql, nullptr, nullptr, &text) == SQLITE_OK) return {};
  std::string message = text ? text : sqlite3_errmsg(db);
  sqlite3_free(text);
  return fail(Errc::io, std::move(message));
}

Result<int64_t> pragma(sqlite3* db, const char* sql) {
  sqlite3_stmt* s = nullptr;
  if (sqlite3_prepare_v2(db, sql, -1, &s, nullptr) != SQLITE_OK)
    return fail(Errc::corrupt, sqlite3_errmsg(db));
  const bool row = sqlite3_step(s) == SQLITE_ROW;
  const int64_t value = row ? sqlite3_column_int64(s, 0) : 0;
  sqlite3_finalize(s);
  if (!row) return fail(Errc::corrupt, sqlite3_errmsg(db));
  return value;
}

// One row to write (or delete): everything in node.db is a named value with its checksum.
struct Write {
  std::string kind, key;
  SharedBytes value;  // null: delete
};

std::string checksum(const std::string& kind, const std::string& key, std::string_view value) {
  return sha256_hex(kind + "\n" + key + "\n" + std::string(value)).substr(0, 16);
}

Result<> write_batch(sqlite3* db, const std::vector<Write>& batch) {
  if (LIMPET_FAILPOINT("node.db.commit")) return fail(Errc::io, "failpoint node.db.commit");
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
  const std::string message = sqlite3_errmsg(db);
  sqlite3_finalize(put);
  sqlite3_finalize(del);
  if (ok) return run(db, "COMMIT");
  (void)run(db, "ROLLBACK").has_value();
  return fail(Errc::io, message);
}

class SqliteNodeDb final : public NodeDb {
 public:
  SqliteNodeDb(loop::Loop& loop, std::string path, Sealer sealer)
      : loop_(loop),
        path_(std::move(path)),
        sealer_(std::move(sealer)),
        connection_(std::make_shared<Connection>()) {}

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
  }
  std::map<std::string, int> restart_counts(const std::string& uid) const override {
    const auto it = restarts_.find(uid);
    return it == restarts_.end() ? std::map<std::string, int>() : it->second;
  }
  void put_restart_count(const std::string& uid, const std::string& container, int count) override;
  SharedBytes object(const std::string& key) const override {
    const auto it = objects_.find(key);
    return it == objects_.end() ? SharedBytes() : it->second;
  }
  void put_object(const std::string& key, SharedBytes bytes) override;
  void retain_objects(const std::vector<std::string>& keys) override;
  void close(std::function<void()> done) override {
    closing_ = std::move(done);
    flush();
  }

 private:
  static bool is_secret(const std::string& key) { return key.find("/secrets/") != std::string::npos; }
  // Status and resourceVersion change all the time; the record is of what must run.
  static bool same_but_status(const std::string& a, const std::string& b);
  Result<> load_row(const std::string& kind, const std::string& key, std::string value);
  void queue(Write w);
  void flush();

  loop::Loop& loop_;
  std::string path_;
  Sealer sealer_;
  std::shared_ptr<Connection> connection_;  // touched by the running job only, after load()
  std::map<std::string, SharedBytes> pods_, objects_;
  std::map<std::string, std::map<std::string, int>> restarts_;
  std::deque<Write> pending_;
  loop::Work work_;
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
  if (sqlite3_open_v2(path_.c_str(), &connection_->db,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                      nullptr) != SQLITE_OK) {
    return fail(Errc::io, connection_->db ? sqlite3_errmsg(connection_->db) : "out of memory");
  }
  sqlite3* db = connection_->db;
  CHECK_OK(run(db,
               "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; "
               "PRAGMA cache_size=-256; PRAGMA wal_autocheckpoint=200; PRAGMA trusted_schema=OFF"));
  TRY(const int64_t version, pragma(db, "PRAGMA user_version"));
  if (version > kSchemaVersion) {
    return fail(Errc::unsupported, strf("made by a newer limpet (schema %lld, this one knows %d)",
                                        static_cast<long long>(version), kSchemaVersion));
  }
  CHECK_OK(run(
      db,
      "BEGIN; CREATE TABLE IF NOT EXISTS record(kind TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, "
      "sum TEXT NOT NULL, PRIMARY KEY(kind,key)) WITHOUT ROWID"));
  CHECK_OK(
      run(db, strf("PRAGMA user_version=%d; PRAGMA application_id=%d; COMMIT", kSchemaVersion, kApplicationId)
                  .c_str()));
  sqlite3_stmt* s = nullptr;
  if (sqlite3_prepare_v2(db, "SELECT kind,key,value,sum FROM record", -1, &s, nullptr) != SQLITE_OK) {
    return fail(Errc::corrupt, sqlite3_errmsg(db));
  }
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
  sqlite3_finalize(s);
  if (outcome && step != SQLITE_DONE) outcome = fail(Errc::corrupt, sqlite3_errmsg(db));
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
      loop_, [batch, outcome, connection = connection_] { *outcome = write_batch(connection->db, *batch); },
      [this, outcome] {
        // Memory stays right; after a power cut the API brings what is missing. Said once, not with every
        // write.
        if (!*outcome && !failing_)
          log::warning("node.db cannot be written", {{"file", path_}, {"error", outcome->error()}});
        failing_ = !*outcome;
        flush();
      });
}

}  // namespace

Result<std::unique_ptr<NodeDb>> NodeDb::open(loop::Loop& loop, const std::string& path, Sealer sealer) {
  auto db = std::make_unique<SqliteNodeDb>(loop, path, sealer);
  auto loaded = db->load();
  if (loaded) {
    chmod(path.c_str(), 0600);
    return std::unique_ptr<NodeDb>(std::move(db));
  }
  if (loaded.error().code == Errc::unsupported) return std::unexpected(std::move(loaded).error().with(path));
  db.reset();
  std::string aside;
  for (int n = 1; n < 100; n++) {
    aside = path + ".damaged-" + std::to_string(n);
    if (access(aside.c_str(), F_OK) != 0) break;
  }
  log::error("node.db is damaged and set aside; it is rebuilt from the API",
             {{"file", path}, {"kept_as", aside}, {"error", loaded.error()}});
  if (rename(path.c_str(), aside.c_str()) != 0 && errno != ENOENT)
    return fail_errno(errno, "set aside " + path);
  unlink((path + "-wal").c_str());
  unlink((path + "-shm").c_str());
  auto fresh = std::make_unique<SqliteNodeDb>(loop, path, std::move(sealer));
  auto again = fresh->load();
  if (!again) return std::unexpected(std::move(again).error().with(path));
  chmod(path.c_str(), 0600);
  return std::unique_ptr<NodeDb>(std::move(fresh));
}

}  // namespace limpet::node
