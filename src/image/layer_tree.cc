#include "image/layer_tree.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>

#include "base/unique_fd.h"

namespace limpet::image {
namespace {

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

}  // namespace limpet::image
