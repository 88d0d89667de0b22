#include "base/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/unique_fd.h"

namespace limpet {
namespace {

constexpr int max_depth = 48;  // of open directories at once
constexpr int max_rounds = 1000;

bool dots(const char* name) { return strcmp(name, ".") == 0 || strcmp(name, "..") == 0; }

struct Remover {
  int top;
  int round;
  int moved = 0;
  int error = 0;  // the first reason why something stays

  // A directory that is not empty is no reason: what is in it has given its own, or lies at the top by now.
  void note(int reason) {
    if (error == 0 && reason != ENOTEMPTY && reason != EEXIST && reason != ENOENT) error = reason;
  }

  void empty(int dir_fd, int depth) {
    DIR* dir = fdopendir(dir_fd);
    if (dir == nullptr) {
      note(errno);
      close(dir_fd);
      return;
    }
    while (const dirent* entry = readdir(dir)) {
      if (!dots(entry->d_name)) remove(dirfd(dir), entry->d_name, depth);
    }
    closedir(dir);
  }

  void remove(int dir, const char* name, int depth) {
    if (unlinkat(dir, name, 0) == 0) return;
    if (errno != EISDIR && errno != EPERM) return note(errno);
    if (unlinkat(dir, name, AT_REMOVEDIR) == 0) return;
    if (errno != ENOTEMPTY && errno != EEXIST) return note(errno);
    // Depth is bounded: what lies too deep is moved to the top and removed from there.
    if (depth >= max_depth) {
      const std::string aside = strf(".limpet-moved-%d-%d", round, moved++);
      if (renameat(dir, name, top, aside.c_str()) != 0) note(errno);
      return;
    }
    // Never into something mounted there: a volume's files are not ours to remove.
    open_how how{};
    how.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    how.resolve = RESOLVE_NO_XDEV | RESOLVE_BENEATH;
    const int child = static_cast<int>(syscall(SYS_openat2, dir, name, &how, sizeof how));
    if (child < 0) return note(errno);
    empty(child, depth + 1);
    if (unlinkat(dir, name, AT_REMOVEDIR) != 0) note(errno);
  }
};

}  // namespace

std::vector<std::string> list_directory(const std::string& path) {
  std::vector<std::string> names;
  constexpr int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  UniqueFd fd(open(path.c_str(), flags | O_NOATIME));
  if (!fd && errno == EPERM) fd.reset(open(path.c_str(), flags));  // somebody else's
  DIR* dir = fd ? fdopendir(fd.get()) : nullptr;
  if (dir == nullptr) return names;
  (void)fd.release();
  while (const dirent* entry = readdir(dir)) {
    if (!dots(entry->d_name)) names.emplace_back(entry->d_name);
  }
  closedir(dir);
  std::sort(names.begin(), names.end());
  return names;
}

Result<> remove_tree(const std::string& path) {
  if (unlink(path.c_str()) == 0 || errno == ENOENT) return {};
  for (int round = 0; round < max_rounds; ++round) {
    const UniqueFd top(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!top) return errno == ENOENT ? Result<>() : fail_errno(errno, "remove " + path);
    Remover remover{top.get(), round};
    const int below = fcntl(top.get(), F_DUPFD_CLOEXEC, 3);
    if (below < 0) return fail_errno(errno, "remove " + path);
    remover.empty(below, 0);
    if (rmdir(path.c_str()) == 0 || errno == ENOENT) return {};
    const int error = errno;
    if (remover.error != 0) return fail_errno(remover.error, "remove " + path);
    if (error != ENOTEMPTY && error != EEXIST) return fail_errno(error, "remove " + path);
  }
  return fail(Errc::io, "remove " + path + ": does not end");
}

}  // namespace limpet
