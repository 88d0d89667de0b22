#include "image/layer_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>

#include "base/unique_fd.h"
#include "image/store.h"

namespace limpet::image {
namespace {

constexpr int max_depth = 48;  // of open directories at once

UniqueFd beneath(int root, const std::string& path, uint64_t flags,
                 uint64_t resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.resolve = resolve | RESOLVE_NO_MAGICLINKS;
  const std::string where = path.empty() ? "." : path;
  return UniqueFd(static_cast<int>(syscall(SYS_openat2, root, where.c_str(), &how, sizeof how)));
}

UniqueFd open_root(const std::string& path) {
  return UniqueFd(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
}

// A link on the way is followed inside of the layer it is in, as containerd does: entries below what is a
// link in a layer below make a directory in its place.
Result<> inherit_attributes(int root, const std::string& path, const std::vector<std::string>& parents) {
  for (const std::string& parent : parents) {
    const UniqueFd lower = open_root(parent);
    if (!lower) return fail_errno(errno, "open layer " + parent);
    const UniqueFd there = beneath(lower.get(), path, O_PATH, RESOLVE_IN_ROOT);
    if (!there && errno == ENOENT) continue;
    struct stat st{};
    if (there && fstat(there.get(), &st) != 0) return fail_errno(errno, "look up " + path);
    if (!there || !S_ISDIR(st.st_mode)) return {};  // a file or whiteout stands there: the directory is new
    const UniqueFd mine = beneath(root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!mine) return fail_errno(errno, "open " + path);
    if (fchown(mine.get(), st.st_uid, st.st_gid) != 0 || fchmod(mine.get(), st.st_mode & 07777) != 0) {
      return fail_errno(errno, "set owner and mode of " + path);
    }
    return {};
  }
  return {};
}

struct DirStream {
  explicit DirStream(UniqueFd fd) : dir(fdopendir(fd.get())) {
    if (dir != nullptr) (void)fd.release();
  }
  ~DirStream() {
    if (dir != nullptr) closedir(dir);
  }
  DirStream(const DirStream&) = delete;
  // The next name; null at the end.
  const char* next() {
    while (const dirent* e = readdir(dir)) {
      const std::string_view name = e->d_name;
      if (name != "." && name != "..") return e->d_name;
    }
    return nullptr;
  }
  DIR* dir;
};

UniqueFd open_dir(int at, const char* name) {
  return UniqueFd(openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

struct Remover {
  int top = -1;
  uint64_t moved = 0;

  // Empties a directory. What lies too deep is moved to the top first, so that the depth is bounded.
  Result<> empty(UniqueFd fd, int depth) {
    DirStream dir(std::move(fd));
    if (dir.dir == nullptr) return fail_errno(errno, "read directory");
    const int at = dirfd(dir.dir);
    while (const char* name = dir.next()) {
      if (unlinkat(at, name, 0) == 0 || errno == ENOENT) continue;
      if (errno != EISDIR && errno != EPERM) return fail_errno(errno, "remove");
      if (unlinkat(at, name, AT_REMOVEDIR) == 0 || errno == ENOENT) continue;
      if (errno != ENOTEMPTY && errno != EEXIST) return fail_errno(errno, "remove");
      if (depth >= max_depth) {
        const std::string flat = strf(".deep-%llu", static_cast<unsigned long long>(moved++));
        if (renameat(at, name, top, flat.c_str()) != 0) return fail_errno(errno, "move");
        continue;
      }
      UniqueFd below = open_dir(at, name);
      if (!below && errno == ENOENT) continue;
      if (!below) return fail_errno(errno, "open directory");
      CHECK_OK(empty(std::move(below), depth + 1));
      if (unlinkat(at, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
        return fail_errno(errno, "remove directory");
    }
    return {};
  }
};

}  // namespace

Result<> complete_tree(const std::string& root, const std::vector<std::string>& implicit,
                       const std::vector<std::string>& opaque, const std::vector<std::string>& parents) {
  const UniqueFd top = open_root(root);
  if (!top) return fail_errno(errno, "open " + root);
  for (const std::string& path : implicit) CHECK_OK(inherit_attributes(top.get(), path, parents));
  for (const std::string& path : opaque) {
    const UniqueFd dir = beneath(top.get(), path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!dir) {
      if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) continue;  // replaced by a later entry
      return fail_errno(errno, "open " + path);
    }
    if (fsetxattr(dir.get(), "trusted.overlay.opaque", "y", 1, 0) != 0) {
      return fail_errno(errno, "hide what is below " + path);
    }
  }
  return {};
}

Result<> remove_tree(const std::string& path) {
  while (true) {
    UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) {
      if (errno == ENOENT) return {};
      if (errno != ENOTDIR && errno != ELOOP) return fail_errno(errno, "remove " + path);
      if (unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno(errno, "remove " + path);
      return {};
    }
    const UniqueFd keep(fcntl(fd.get(), F_DUPFD_CLOEXEC, 3));
    if (!keep) return fail_errno(errno, "remove " + path);
    Remover remover{keep.get()};
    auto emptied = remover.empty(std::move(fd), 0);
    if (!emptied) return std::unexpected(std::move(emptied).error().with("remove " + path));
    if (rmdir(path.c_str()) == 0 || errno == ENOENT) return {};
    if (errno != ENOTEMPTY && errno != EEXIST) return fail_errno(errno, "remove " + path);
  }
}

}  // namespace limpet::image
