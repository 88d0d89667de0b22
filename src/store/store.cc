#include "store/store.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/atomic_file.h"
#include "base/log.h"
#include "base/random.h"
#include "store/data_dir_lock.h"
#include "store/durable.h"
#include "store/transient.h"

namespace limpet::store {
namespace {

constexpr size_t kMaxBlob = 1u << 20;
constexpr uint64_t kMaxSkippedTerms = 1 << 16;

class StoreImpl final : public Store {
 public:
  StoreImpl(loop::Loop& loop, Options options, FileLock lock, std::unique_ptr<StorageThread> storage,
            std::shared_ptr<Durable> durable, int64_t last_commit)
      : path_(std::move(options.path)),
        lock_(std::move(lock)),
        storage_(std::move(storage)),
        durable_(std::move(durable)),
        transient_(loop),
        last_commit_(last_commit),
        alive_(std::make_shared<char>()) {
    // Before anybody else hears of it.
    standing_ = durable_->on_standing([this](const raft::Standing& s) {
      if (s.role == raft::Role::leader) return transient_.begin(s.term);
      transient_.end();
    });
    durable_->start();
    storage_->on_quiet(options.quiet_ms, [this] {
      durable_->shorten_history();
      transient_.shorten_history();
      if (on_quiet_) on_quiet_();
    });
  }

  Space& durable() override { return *durable_; }
  Space& transient() override { return transient_; }
  Consensus& consensus() override { return *durable_; }
  void retain(const std::string& prefix, Retention r) override { transient_.retain(prefix, r); }
  void on_fatal(std::function<void(Error)> f) override { durable_->on_fatal(std::move(f)); }
  void on_quiet(std::function<void()> f) override { on_quiet_ = std::move(f); }
  std::string sqlite_version() const override { return sqlite3_libversion(); }
  int64_t last_commit_time() const override { return last_commit_; }

  void save(const std::string& name, std::string bytes, std::function<void(Result<>)> done) override {
    if (!storage_) return done(fail(Errc::unavailable, "the store is closed"));
    if (bytes.size() > kMaxBlob) {
      return done(
          fail(Errc::too_large, strf("%s: %zu bytes, at most %zu", name.c_str(), bytes.size(), kMaxBlob)));
    }
    storage_->call(
        alive_,
        [key = "blob/" + name, bytes = std::move(bytes)](Database& db) { return db.save_blob(key, bytes); },
        [this, done = std::move(done)](Result<> r) {
          const bool fatal = !r && r.error().code != Errc::exhausted;
          if (fatal) durable_->fatal(r.error());
          done(std::move(r));
        });
  }

  void load(const std::string& name, std::function<void(Result<std::optional<std::string>>)> done) override {
    if (!storage_) return done(fail(Errc::unavailable, "the store is closed"));
    storage_->call(
        alive_, [key = "blob/" + name](Database& db) { return db.get_blob(key); },
        [done = std::move(done)](Result<std::optional<std::string>> r) { done(std::move(r)); });
  }

  void read_state(const std::string& next, std::function<void(Result<StatePart>)> done) override {
    if (!storage_) return done(fail(Errc::unavailable, "the store is closed"));
    durable_->read_piece(next, std::move(done));
  }

  void close(std::function<void()> done) override {
    transient_.stop();
    durable_->drain([this, done = std::move(done)]() mutable {
      storage_->call(
          alive_, [](Database& db) { return db.close(); },
          [this, done = std::move(done)](Result<> r) {
            if (!r) durable_->fatal(r.error());
            done();
          });
    });
  }

  Stats stats() const override {
    Stats s;
    durable_->fill_stats(s);
    s.watchers += transient_.watchers();
    s.lost_watches += transient_.lost();
    return s;
  }

 private:
  std::string path_;
  FileLock lock_;  // dropped last
  std::unique_ptr<StorageThread> storage_;
  std::shared_ptr<Durable> durable_;
  Transient transient_;
  Consensus::Subscription standing_;
  int64_t last_commit_;
  std::function<void()> on_quiet_;
  std::shared_ptr<char> alive_;  // callbacks of the storage thread come only while this is
};

// A file beside the database that says: there was one. An empty or missing database is a new one only where
// there never was another, or a device whose file was lost would take all of its pods for deleted.
class Made {
 public:
  explicit Made(const std::string& database) : database_(database), path_(database + ".made") {}

  Result<> check() const {
    struct stat st{};
    if (stat(database_.c_str(), &st) == 0 && st.st_size > 0) return {};
    if (stat(path_.c_str(), &st) != 0) return {};
    return fail(Errc::corrupt,
                database_ + " is missing or empty, though this device had one: restore a backup, or remove " +
                    path_ + " to begin with an empty cluster");
  }
  // Once the database is on the disk. Without room for it the next start makes it.
  void note() const {
    if (access(path_.c_str(), F_OK) == 0) return;
    if (auto made = write_file_atomic(path_, "", 0600, "store.made"); !made)
      log::warning("cannot note that there is a database, going on", {{"error", made.error()}});
  }

 private:
  std::string database_, path_;
};

Result<std::string> parent_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (path.empty() || slash + 1 == path.size())
    return fail(Errc::invalid_argument, "the database needs a file name");
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

Result<std::unique_ptr<Store>> Store::open(loop::Loop& loop, Options options, Clock& clock) {
  TRY(const std::string dir, parent_of(options.path));
  if (mkdir(dir.c_str(), 0700) != 0 && errno != EEXIST) return fail_errno(errno, "make " + dir);
  TRY(FileLock lock, FileLock::acquire(options.path + ".lock", options.path));
  const Made made(options.path);
  CHECK_OK(made.check());
  auto reserve = std::make_shared<Reserve>(options.path + ".reserve");
  reserve->refill();
  auto opened = Database::open(options.path, options.checkpoint_bytes);
  // A full disk must not keep a device from starting: the spare bytes are given up for it, and where there
  // are none it starts as it can.
  const auto no_room = [](const auto& r) { return !r && r.error().code == Errc::exhausted; };
  if (no_room(opened) && reserve->give_up()) opened = Database::open(options.path, options.checkpoint_bytes);
  if (no_room(opened)) opened = Database::open(options.path, options.checkpoint_bytes, Database::Disk::full);
  if (!opened) return std::unexpected(opened.error());
  std::unique_ptr<Database> db = std::move(*opened);
  auto index = std::make_unique<Index>(options.cache_bytes);
  SystemRandom random;
  TRY(Durable::Loaded loaded, Durable::load(*db, *index, random, options));
  if (loaded.enters != 0) {
    auto entered = db->enter_term(loaded.enters);
    if (no_room(entered) && reserve->give_up()) entered = db->enter_term(loaded.enters);
    if (no_room(entered)) {
      log::error("the disk is full: what is there can be read, nothing can be written until there is room",
                 {{"file", options.path}});
      // The next start may find no room either, and must not come to the same term.
      loaded.enters += random.below(kMaxSkippedTerms);
      db->enter_term_unwritten(loaded.enters);
      entered = {};
    }
    if (!entered) return std::unexpected(entered.error());
    loaded.start.hard_state = {loaded.enters, 0};
  }
  made.note();
  const int64_t last_commit = loaded.newest.time;
  TRY(auto storage, StorageThread::start(loop, std::move(db)));
  auto durable = std::make_shared<Durable>(loop, options, clock, random, std::move(index), std::move(loaded),
                                           *storage, std::move(reserve));
  return std::make_unique<StoreImpl>(loop, std::move(options), std::move(lock), std::move(storage),
                                     std::move(durable), last_commit);
}

}  // namespace limpet::store
