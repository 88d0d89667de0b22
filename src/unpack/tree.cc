#include "unpack/tree.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <cerrno>

namespace limpet::unpack {
namespace {

constexpr size_t max_components = 4096;
constexpr size_t max_listed = 16 * 1024;  // directories in the report

bool is_whiteout(const struct stat& st) { return S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0); }

Result<> set_xattrs(int fd, const Attributes& a) {
  for (const auto& [name, value] : a.xattrs) {
    if (fsetxattr(fd, name.c_str(), value.data(), value.size(), 0) == 0) continue;
    // A file system without user attributes keeps the image usable; a lost capability would not.
    if (errno == ENOTSUP && name.starts_with("user.")) continue;
    return fail_errno(errno, "set attribute " + name);
  }
  return {};
}

// Owner first, since chown drops setuid bits and capabilities.
Result<> set_owner_and_mode(int dir, const char* name, const Attributes& a) {
  if (fchownat(dir, name, a.uid, a.gid, AT_SYMLINK_NOFOLLOW) != 0) return fail_errno(errno, "set owner");
  if (fchmodat(dir, name, a.mode & 07777, 0) != 0) return fail_errno(errno, "set mode");
  return {};
}

}  // namespace

Result<Components> split_entry(std::string_view name) {
  if (name.empty()) return fail(Errc::invalid_argument, "empty name");
  Components out;
  while (!name.empty()) {
    const size_t end = std::min(name.find('/'), name.size());
    const std::string_view part = name.substr(0, end);
    name.remove_prefix(std::min(end + 1, name.size()));
    if (part.empty() || part == ".") continue;
    if (part == "..") return fail(Errc::invalid_argument, "path escapes the root");
    if (out.size() == max_components) return fail(Errc::invalid_argument, "path is too deep");
    out.emplace_back(part);
  }
  return out;
}

std::string join(const Components& path) {
  std::string out;
  for (const std::string& part : path) {
    if (!out.empty()) out += '/';
    out += part;
  }
  return out;
}

Tree::Tree(UniqueFd root) : root_(std::move(root)) {}

// Opens the directory `name` in `dir`; `path` is where that is, for the lists.
Result<UniqueFd> Tree::step(int dir, const std::string& name, const std::string& path, bool create) {
  constexpr int flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  UniqueFd fd(openat(dir, name.c_str(), flags));
  if (fd) return fd;
  if (errno == ENOTDIR || errno == ELOOP) {
    struct stat st{};
    if (!create || fstatat(dir, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0 || !is_whiteout(st)) {
      return fail(Errc::invalid_argument, "\"" + path + "\" is not a directory (links are not followed)");
    }
    // Removed from the layers below and made anew by this one.
    if (unlinkat(dir, name.c_str(), 0) != 0) return fail_errno(errno, "replace a whiteout");
    opaque_.insert(path);
  } else if (errno != ENOENT || !create) {
    return fail_errno(errno, "open \"" + path + "\"");
  }
  if (implicit_.size() + opaque_.size() > max_listed) {
    return fail(Errc::too_large, strf("more than %zu directories that no entry describes", max_listed));
  }
  if (mkdirat(dir, name.c_str(), 0755) != 0) return fail_errno(errno, "make \"" + path + "\"");
  implicit_.insert(path);
  fd.reset(openat(dir, name.c_str(), flags));
  if (!fd) return fail_errno(errno, "open \"" + path + "\"");
  return fd;
}

// The directory that holds the last component, made where it is missing. Valid until the next call.
Result<int> Tree::parent_of(const Components& path, bool create) {
  if (path.size() <= 1) return root_.get();
  std::string where;
  const std::string wanted = join({path.begin(), path.end() - 1});
  if (cached_ && wanted == cached_path_) return cached_.get();
  UniqueFd current;
  for (size_t i = 0; i + 1 < path.size(); ++i) {
    if (!where.empty()) where += '/';
    where += path[i];
    TRY(UniqueFd next, step(current ? current.get() : root_.get(), path[i], where, create));
    current = std::move(next);
  }
  cached_ = std::move(current);
  cached_path_ = wanted;
  return cached_.get();
}

// Takes away what an earlier entry of the layer put there; a later entry wins.
Result<> Tree::make_room(int dir, const std::string& name) {
  struct stat st{};
  if (fstatat(dir, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return {};
    return fail_errno(errno, "look up");
  }
  if (S_ISDIR(st.st_mode)) {
    // The cache may hold it; below the cached directory itself it cannot be.
    if (dir == root_.get()) cached_.reset();
    if (unlinkat(dir, name.c_str(), AT_REMOVEDIR) == 0) return {};
    return fail(Errc::invalid_argument, "replaces a directory that is not empty");
  }
  if (unlinkat(dir, name.c_str(), 0) != 0) return fail_errno(errno, "replace");
  return {};
}

Result<> Tree::directory(const Components& path, const Attributes& a) {
  int dir = root_.get();
  const char* name = ".";
  if (!path.empty()) {
    TRY(dir, parent_of(path, true));
    name = path.back().c_str();
    struct stat st{};
    const bool there = fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (there && !S_ISDIR(st.st_mode)) {
      if (is_whiteout(st)) opaque_.insert(join(path));
      CHECK_OK(make_room(dir, path.back()));
    }
    if ((!there || !S_ISDIR(st.st_mode)) && mkdirat(dir, name, 0700) != 0)
      return fail_errno(errno, "make directory");
    implicit_.erase(join(path));
  }
  CHECK_OK(set_owner_and_mode(dir, name, a));
  if (!a.xattrs.empty()) {
    UniqueFd fd(openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) return fail_errno(errno, "open directory");
    CHECK_OK(set_xattrs(fd.get(), a));
  }
  times_.push_back({path, a.mtime});
  return {};
}

Result<UniqueFd> Tree::file(const Components& path) {
  if (path.empty()) return fail(Errc::invalid_argument, "the root is not a file");
  TRY(const int dir, parent_of(path, true));
  CHECK_OK(make_room(dir, path.back()));
  UniqueFd fd(openat(dir, path.back().c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return fail_errno(errno, "create");
  return fd;
}

Result<> Tree::finish_file(int fd, const Attributes& a) {
  if (fchown(fd, a.uid, a.gid) != 0) return fail_errno(errno, "set owner");
  if (fchmod(fd, a.mode & 07777) != 0) return fail_errno(errno, "set mode");
  CHECK_OK(set_xattrs(fd, a));
  const timespec times[2] = {a.mtime, a.mtime};
  if (futimens(fd, times) != 0) return fail_errno(errno, "set times");
  return {};
}

Result<> Tree::symlink(const Components& path, const std::string& target, const Attributes& a) {
  if (path.empty()) return fail(Errc::invalid_argument, "the root is not a link");
  if (target.empty()) return fail(Errc::invalid_argument, "symbolic link to nothing");
  TRY(const int dir, parent_of(path, true));
  CHECK_OK(make_room(dir, path.back()));
  const char* name = path.back().c_str();
  if (symlinkat(target.c_str(), dir, name) != 0) return fail_errno(errno, "make symbolic link");
  if (fchownat(dir, name, a.uid, a.gid, AT_SYMLINK_NOFOLLOW) != 0) return fail_errno(errno, "set owner");
  const timespec times[2] = {a.mtime, a.mtime};
  if (utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW) != 0) return fail_errno(errno, "set times");
  return {};
}

Result<> Tree::fifo(const Components& path, const Attributes& a) {
  if (path.empty()) return fail(Errc::invalid_argument, "the root is not a fifo");
  TRY(const int dir, parent_of(path, true));
  CHECK_OK(make_room(dir, path.back()));
  const char* name = path.back().c_str();
  if (mknodat(dir, name, S_IFIFO | 0600, 0) != 0) return fail_errno(errno, "make fifo");
  CHECK_OK(set_owner_and_mode(dir, name, a));
  const timespec times[2] = {a.mtime, a.mtime};
  if (utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW) != 0) return fail_errno(errno, "set times");
  return {};
}

Result<> Tree::hard_link(const Components& path, const Components& target) {
  if (path.empty() || target.empty()) return fail(Errc::invalid_argument, "hard link to a directory");
  if (path == target) return fail(Errc::invalid_argument, "hard link to itself");
  auto found = parent_of(target, false);
  if (!found)
    return fail(Errc::invalid_argument, "hard link to \"" + join(target) + "\", which is not in the layer");
  // The cache moves on with the next look-up.
  UniqueFd from(openat(*found, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!from) return fail_errno(errno, "open directory");
  struct stat st{};
  if (fstatat(from.get(), target.back().c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
    return fail(Errc::invalid_argument, "hard link to \"" + join(target) + "\", which is not in the layer");
  }
  if (!S_ISREG(st.st_mode)) {
    return fail(Errc::invalid_argument, "hard link to \"" + join(target) + "\", which is not a regular file");
  }
  TRY(const int dir, parent_of(path, true));
  CHECK_OK(make_room(dir, path.back()));
  if (linkat(from.get(), target.back().c_str(), dir, path.back().c_str(), 0) != 0)
    return fail_errno(errno, "link");
  return {};
}

Result<> Tree::whiteout(const Components& path) {
  TRY(const int dir, parent_of(path, true));
  const char* name = path.back().c_str();
  struct stat st{};
  if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
    // The layer itself brings a new one: only what is below is hidden, which a file does by being there.
    if (S_ISDIR(st.st_mode)) return opaque(path);
    return {};
  }
  if (mknodat(dir, name, S_IFCHR, makedev(0, 0)) != 0) return fail_errno(errno, "make whiteout");
  return {};
}

Result<> Tree::opaque(const Components& path) {
  if (opaque_.size() + implicit_.size() > max_listed) {
    return fail(Errc::too_large, strf("more than %zu opaque directories", max_listed));
  }
  if (!path.empty()) {
    Components inside = path;
    inside.emplace_back();
    CHECK_OK(parent_of(inside, true));  // makes the directory where no entry has yet
  }
  opaque_.insert(join(path));
  return {};
}

Result<> Tree::finish() {
  for (size_t i = times_.size(); i-- > 0;) {
    const Times& t = times_[i];
    const timespec times[2] = {t.mtime, t.mtime};
    auto dir = parent_of(t.path, false);
    if (!dir) continue;  // replaced by a later entry
    const char* name = t.path.empty() ? "." : t.path.back().c_str();
    if (utimensat(*dir, name, times, AT_SYMLINK_NOFOLLOW) != 0 && errno != ENOENT) {
      return fail_errno(errno, "set times of \"" + join(t.path) + "\"");
    }
  }
  cached_.reset();
  return {};
}

}  // namespace limpet::unpack
