#include "store/data_dir_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <climits>

#include "base/failpoint.h"

namespace limpet::store {
namespace {

std::string holder_text() {
  char host[HOST_NAME_MAX + 1] = {};
  gethostname(host, sizeof host - 1);
  return strf("pid %d on host %s\n", static_cast<int>(getpid()), host);
}

std::string read_holder(int fd) {
  char text[256];
  const ssize_t n = pread(fd, text, sizeof text, 0);
  std::string_view s(text, n > 0 ? static_cast<size_t>(n) : 0);
  s = s.substr(0, s.find('\n'));
  if (!s.starts_with("pid ")) return "another process";
  std::string out;
  for (const char c : s) out.push_back(c >= 0x20 && c < 0x7f ? c : '?');
  return out;
}

constexpr int tries = 100;  // a name that is taken away under us each time is somebody's doing

// Whether the name still leads to the file: one that was removed or replaced between open and flock locks
// nothing, since who comes next makes another.
bool still_named(int fd, const std::string& path) {
  struct stat mine{}, named{};
  return fstat(fd, &mine) == 0 && lstat(path.c_str(), &named) == 0 && mine.st_dev == named.st_dev &&
         mine.st_ino == named.st_ino;
}

Result<UniqueFd> open_locked(const std::string& lock_file, const std::string& what) {
  for (int i = 0; i < tries; i++) {
    UniqueFd fd(open(lock_file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) return fail_errno(errno, "open " + lock_file);
    if (LIMPET_FAILPOINT("store.lock.opened")) unlink(lock_file.c_str());
    int rc;
    while ((rc = flock(fd.get(), LOCK_EX | LOCK_NB)) != 0 && errno == EINTR) {
    }
    if (rc == 0 && still_named(fd.get(), lock_file)) return fd;
    const int error = errno;
    if (rc == 0 || !still_named(fd.get(), lock_file)) continue;
    if (error != EWOULDBLOCK) return fail_errno(error, "lock " + lock_file);
    return fail(Errc::already_exists, what + " is in use by " + read_holder(fd.get()));
  }
  return fail(Errc::unavailable, "lock " + lock_file + ": it is removed again and again");
}

}  // namespace

Result<FileLock> FileLock::acquire(const std::string& lock_file, const std::string& what) {
  CHECK_OK(fill_standard_fds());
  TRY(UniqueFd fd, open_locked(lock_file, what));
  // Who holds it is a hint for people; a disk too full for it does not stop the start. Written only when it
  // changed.
  const std::string text = holder_text();
  char now[512];
  const ssize_t n = pread(fd.get(), now, sizeof now, 0);
  if (n != static_cast<ssize_t>(text.size()) || std::string_view(now, text.size()) != text) {
    if (ftruncate(fd.get(), 0) == 0 && pwrite(fd.get(), text.data(), text.size(), 0) < 0) errno = 0;
  }
  return FileLock(std::move(fd));
}

Result<FileLock> lock_data_dir(const std::string& dir) {
  if (mkdir(dir.c_str(), 0700) != 0 && errno != EEXIST) return fail_errno(errno, "make " + dir);
  return FileLock::acquire(dir + "/lock", dir);
}

Result<> fill_standard_fds() {
  for (;;) {
    UniqueFd fd(open("/dev/null", O_RDWR | O_CLOEXEC));
    if (!fd) return fail_errno(errno, "open /dev/null");
    if (fd.get() > 2) return {};
    // Stays open for good, and across exec, as a standard descriptor is.
    const int n = fd.release();
    if (fcntl(n, F_SETFD, 0) != 0) return fail_errno(errno, "keep /dev/null");
  }
}

}  // namespace limpet::store
