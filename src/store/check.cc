#include "store/check.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/unique_fd.h"
#include "store/database.h"

namespace limpet::store {
namespace {

constexpr size_t page_rows = 200;
constexpr size_t piece = 64 * 1024;
constexpr size_t never_checkpoint = size_t{1} << 40;

// What is made here goes again, however the check ends.
class Scratch {
 public:
  explicit Scratch(std::string file) : file_(std::move(file)) {}
  ~Scratch() {
    for (const char* suffix : {"", "-wal", "-shm"}) unlink((file_ + suffix).c_str());
  }
  Scratch(const Scratch&) = delete;
  const std::string& file() const { return file_; }

 private:
  std::string file_;
};

Result<> copy(const std::string& from, const std::string& to) {
  const UniqueFd in(open(from.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!in) return errno == ENOENT ? Result<>() : fail_errno(errno, "open " + from);
  const UniqueFd out(open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!out) return fail_errno(errno, "make " + to);
  std::string buffer(piece, '\0');
  for (;;) {
    const ssize_t n = read(in.get(), buffer.data(), buffer.size());
    if (n == 0) return {};
    if (n < 0) return fail_errno(errno, "read " + from);
    const ssize_t written = write(out.get(), buffer.data(), static_cast<size_t>(n));
    if (written < 0) return fail_errno(errno, "write " + to);
    if (written < n) return fail(Errc::exhausted, "write " + to + ": no room");
  }
}

uint64_t size_of(const std::string& path) {
  struct stat st;
  return stat(path.c_str(), &st) == 0 ? static_cast<uint64_t>(st.st_size) : 0;
}

Result<CheckReport> check_copy(const std::string& path) {
  TRY(const auto db, Database::open(path, never_checkpoint));
  CheckReport report;
  report.unclean = db->was_unclean();
  CHECK_OK(db->quick_check());
  TRY(const Newest newest, db->newest());
  report.last_commit = newest.time;
  report.revision = newest.id == 0 ? 0 : revision_of(newest.id);
  for (Revision after = 0; after < report.revision;) {
    TRY(const Database::History page, db->history(after, report.revision, "", page_rows));
    report.rows += page.rows.size();
    after = page.upto;
  }
  return report;
}

}  // namespace

Result<CheckReport> check_database(const std::string& path, const std::string& scratch, uint64_t max_bytes) {
  const uint64_t bytes = size_of(path), log_bytes = size_of(path + "-wal");
  if (bytes == 0 && log_bytes == 0) return fail(Errc::not_found, path + " is not there");
  if (bytes + log_bytes > max_bytes) return fail(Errc::too_large, path + " is too large to be copied");
  const Scratch to(scratch + strf("/limpet-check-%d.db", static_cast<int>(getpid())));
  CHECK_OK(copy(path, to.file()));
  CHECK_OK(copy(path + "-wal", to.file() + "-wal"));
  auto report = check_copy(to.file());
  if (report) return report;
  // What is said of the copy is meant of the original.
  Error error = std::move(report).error();
  for (size_t at = 0; (at = error.message.find(to.file(), at)) != std::string::npos; at += path.size()) {
    error.message.replace(at, to.file().size(), path);
  }
  return std::unexpected(std::move(error));
}

}  // namespace limpet::store
