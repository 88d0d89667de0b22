#include "store/check.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <functional>

#include "base/atomic_file.h"
#include "base/failpoint.h"
#include "base/tree.h"
#include "base/unique_fd.h"
#include "store/database.h"

namespace limpet::store {
namespace {

constexpr size_t page_rows = 200;
constexpr size_t piece = 64 * 1024;
constexpr size_t never_checkpoint = size_t{1} << 40;
constexpr uint64_t spare_disk = 4u << 20, spare_memory = 16u << 20;  // that a copy leaves to others
constexpr std::string_view copy_prefix = "limpet-check-";
constexpr const char* copy_files[] = {"db", "db-wal", "db-shm"};
constexpr int ending_signals[] = {SIGHUP, SIGINT, SIGTERM};

// What the handler of signals removes; it may use neither heap nor objects.
char copy_to_remove[256];

void remove_copy(const char* directory) {
  const int fd = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return;
  for (const char* file : copy_files) unlinkat(fd, file, 0);
  close(fd);
  rmdir(directory);
}

void on_signal(int number) {
  remove_copy(copy_to_remove);
  struct sigaction action{};
  action.sa_handler = SIG_DFL;
  sigaction(number, &action, nullptr);
  raise(number);
}

UniqueFd open_locked(const std::string& directory) {
  UniqueFd fd(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (fd && flock(fd.get(), LOCK_EX | LOCK_NB) != 0) fd.reset();
  return fd;
}

// Copies that nobody holds any more: their process was killed, or cut off by the power. Others' directories
// are left alone, and a link is never followed.
void remove_old_copies(const std::string& place) {
  for (const std::string& name : list_directory(place)) {
    if (!name.starts_with(copy_prefix)) continue;
    const std::string directory = place + "/" + name;
    const UniqueFd fd = open_locked(directory);
    struct stat st{};
    if (fd && fstat(fd.get(), &st) == 0 && st.st_uid == geteuid()) remove_copy(directory.c_str());
  }
}

// A directory for a copy, locked as long as it is in use. What is made here goes again, however the check
// ends.
class Scratch {
 public:
  static Result<std::unique_ptr<Scratch>> make(const std::string& place) {
    std::string directory = place + "/" + std::string(copy_prefix) + "XXXXXX";
    if (directory.size() >= sizeof copy_to_remove)
      return fail(Errc::invalid_argument, place + ": the name is too long");
    if (!mkdtemp(directory.data())) return fail_errno(errno, "make " + directory);
    // Another's sweep may have come between: then it is gone.
    UniqueFd lock = open_locked(directory);
    if (!lock) return fail(Errc::unavailable, "lock " + directory);
    return std::unique_ptr<Scratch>(new Scratch(std::move(directory), std::move(lock)));
  }
  ~Scratch() {
    hide();
    for (size_t i = 0; i < std::size(ending_signals); i++) sigaction(ending_signals[i], &before_[i], nullptr);
  }
  Scratch(const Scratch&) = delete;
  std::string file() const { return directory_ + "/" + copy_files[0]; }
  // Takes the names away. Files that are open stay for who has them open, and end with this process, whatever
  // ends it.
  void hide() { remove_copy(directory_.c_str()); }

 private:
  Scratch(std::string directory, UniqueFd lock) : directory_(std::move(directory)), lock_(std::move(lock)) {
    memcpy(copy_to_remove, directory_.c_str(), directory_.size() + 1);
    struct sigaction action{};
    action.sa_handler = on_signal;
    for (size_t i = 0; i < std::size(ending_signals); i++) sigaction(ending_signals[i], &action, &before_[i]);
  }

  std::string directory_;
  UniqueFd lock_;
  struct sigaction before_[std::size(ending_signals)];
};

// What tells that a file was written to meanwhile.
struct Trace {
  bool there = false;
  dev_t device = 0;
  ino_t inode = 0;
  off_t size = 0;
  timespec changed{};
  bool operator==(const Trace& o) const {
    return there == o.there && device == o.device && inode == o.inode && size == o.size &&
           changed.tv_sec == o.changed.tv_sec && changed.tv_nsec == o.changed.tv_nsec;
  }
};

Trace trace_of(const std::string& path) {
  struct stat st{};
  if (stat(path.c_str(), &st) != 0) return {};
  return {true, st.st_dev, st.st_ino, st.st_size, st.st_mtim};
}

// An error of the copy's side: `unavailable`, for another place may do.
Result<> copy(const std::string& from, const std::string& to) {
  const UniqueFd in(open(from.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!in) return errno == ENOENT ? Result<>() : fail_errno(errno, "open " + from);
  const UniqueFd out(open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!out) return fail(Errc::unavailable, "make " + to);
  std::string buffer(piece, '\0');
  for (;;) {
    const ssize_t n = read(in.get(), buffer.data(), buffer.size());
    if (n == 0) return {};
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "read " + from);
    if (write(out.get(), buffer.data(), static_cast<size_t>(n)) != n)
      return fail(Errc::unavailable, "write " + to + ": no room");
  }
}

uint64_t memory_available() {
  const std::string text = read_file("/proc/meminfo", 64 * 1024).value_or("");
  const size_t at = text.find("MemAvailable:");
  return at == std::string::npos ? 0 : strtoull(text.c_str() + at + 13, nullptr, 10) * 1024;
}

bool in_memory(const std::string& place) {
  struct statfs fs{};
  return statfs(place.c_str(), &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

bool has_room(const std::string& place, uint64_t bytes) {
  struct statfs fs{};
  if (statfs(place.c_str(), &fs) != 0 || access(place.c_str(), W_OK | X_OK) != 0) return false;
  if (fs.f_bavail * static_cast<uint64_t>(fs.f_bsize) < bytes + spare_disk) return false;
  return !in_memory(place) || memory_available() >= bytes + spare_memory;
}

using Use = std::function<Result<>(Database& copy)>;

Result<> use_copy_at(const std::string& path, const std::string& place, const Use& use) {
  auto made = Scratch::make(place);
  if (!made) return fail(Errc::unavailable, made.error().message);
  const std::string to = (*made)->file();
  CHECK_OK(copy(path, to));
  CHECK_OK(copy(path + "-wal", to + "-wal"));
  if (LIMPET_FAILPOINT("store.check.copied")) return fail(Errc::unavailable, "failpoint store.check.copied");
  auto opened = Database::open(to, never_checkpoint);
  (*made)->hide();
  if (LIMPET_FAILPOINT("store.check.opened")) return fail(Errc::unavailable, "failpoint store.check.opened");
  auto used = opened ? use(**opened) : Result<>(std::unexpected(std::move(opened).error()));
  if (used) return used;
  // What is said of the copy is meant of the original.
  Error error = std::move(used).error();
  if (error.code == Errc::io) error.code = Errc::unavailable;
  for (size_t at = 0; (at = error.message.find(to, at)) != std::string::npos; at += path.size())
    error.message.replace(at, to.size(), path);
  return std::unexpected(std::move(error));
}

Result<> use_copy(const std::string& path, const std::vector<std::string>& places, uint64_t max_bytes,
                  const Use& use) {
  const Trace file = trace_of(path), log = trace_of(path + "-wal");
  for (const std::string& place : places) remove_old_copies(place);
  const uint64_t bytes = static_cast<uint64_t>(file.size) + static_cast<uint64_t>(log.size);
  // As at the start: the file beside it says that there was one.
  if (bytes == 0 && trace_of(path + ".made").there) {
    return fail(Errc::corrupt,
                path + " is missing or empty, though this device had one (" + path + ".made says so)");
  }
  if (bytes == 0) return fail(Errc::not_found, path + " is not there");
  if (bytes > max_bytes) return fail(Errc::too_large, path + " is too large to be copied");
  for (const bool memory : {false, true}) {
    for (const std::string& place : places) {
      if (in_memory(place) != memory || !has_room(place, 2 * bytes)) continue;
      auto used = use_copy_at(path, place, use);
      if (trace_of(path) != file || trace_of(path + "-wal") != log)
        return fail(Errc::conflict, path + " was changed while it was copied");
      if (used || (used.error().code != Errc::unavailable && used.error().code != Errc::exhausted))
        return used;
    }
  }
  return fail(Errc::exhausted, "there is no room for a copy of " + path);
}

Result<> each_row(Database& db, const std::string& prefix, const std::function<void(Row&)>& f,
                  CheckReport& report) {
  report.unclean = db.was_unclean();
  TRY(const Newest newest, db.newest());
  report.last_commit = newest.time;
  report.revision = newest.id == 0 ? 0 : revision_of(newest.id);
  for (Revision after = 0; after < report.revision;) {
    TRY(Database::History page, db.history(after, report.revision, prefix, page_rows));
    for (Row& row : page.rows) f(row);
    after = page.upto;
  }
  return {};
}

}  // namespace

Result<CheckReport> check_database(const std::string& path, const std::vector<std::string>& places,
                                   uint64_t max_bytes) {
  CheckReport report;
  const Use look = [&](Database& db) -> Result<> {
    report = {};
    CHECK_OK(db.quick_check());
    TRY(const auto group, db.group());
    if (group) CHECK_OK(db.start_of(*group));
    return each_row(db, "", [&](Row&) { report.rows++; }, report);
  };
  CHECK_OK(use_copy(path, places, max_bytes, look));
  return report;
}

Result<std::vector<std::string>> read_values(const std::string& path, const std::vector<std::string>& places,
                                             uint64_t max_bytes, const std::string& prefix) {
  std::vector<std::string> values;
  const Use look = [&](Database& db) -> Result<> {
    values.clear();
    CheckReport report;
    return each_row(
        db, prefix,
        [&](Row& row) {
          if (!row.deleted) values.push_back(std::move(row.value));
        },
        report);
  };
  CHECK_OK(use_copy(path, places, max_bytes, look));
  return values;
}

}  // namespace limpet::store
