#include "node/pod/volume_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/atomic_file.h"
#include "base/failpoint.h"
#include "base/sha256.h"
#include "base/tree.h"
#include "base/unique_fd.h"
#include "node/runtime/rootfs.h"

namespace limpet::node {

namespace {

constexpr const char* kData = "..data";
constexpr const char* kFreshLink = "..link";  // keys of ConfigMaps and Secrets cannot begin with ".."

// A directory directly in `parent`, and no link to one.
Result<UniqueFd> open_child(int parent, const std::string& name) {
  open_how how{};
  how.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
  const int fd = static_cast<int>(syscall(SYS_openat2, parent, name.c_str(), &how, sizeof how));
  if (fd < 0) return fail_errno(errno, "open " + name + " of a volume");
  return UniqueFd(fd);
}

Result<UniqueFd> make_child(int parent, const std::string& name) {
  if (mkdirat(parent, name.c_str(), 0755) != 0 && errno != EEXIST)
    return fail_errno(errno, "make " + name + " of a volume");
  return open_child(parent, name);
}

Result<> write_all(int fd, std::string_view rest, const std::string& name) {
  while (!rest.empty()) {
    const ssize_t n = write(fd, rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "write " + name + " of a volume");
    rest.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

Result<> write_new_file(int dir, const std::string& name, const VolumeFile& file, int64_t fs_group) {
  const UniqueFd fd(openat(dir, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return fail_errno(errno, "create " + name + " of a volume");
  CHECK_OK(write_all(fd.get(), file.bytes, name));
  uint32_t mode = file.mode & 0777;
  if (fs_group >= 0) {
    if (fchown(fd.get(), 0, static_cast<gid_t>(fs_group)) != 0)
      return fail_errno(errno, "give " + name + " of a volume to its group");
    mode |= 0040;
  }
  if (fchmod(fd.get(), mode) != 0) return fail_errno(errno, "set the mode of " + name + " of a volume");
  return {};
}

// "a/b/file": the directories one by one, then the file.
Result<> write_at(int version, const VolumeFile& file, int64_t fs_group) {
  UniqueFd dir(fcntl(version, F_DUPFD_CLOEXEC, 3));
  if (!dir) return fail_errno(errno, "open a volume");
  size_t at = 0;
  for (size_t slash; (slash = file.path.find('/', at)) != std::string::npos; at = slash + 1) {
    TRY(dir, make_child(dir.get(), file.path.substr(at, slash - at)));
  }
  return write_new_file(dir.get(), file.path.substr(at), file, fs_group);
}

Result<> own_root(int dir, int64_t fs_group) {
  uint32_t mode = 0755;
  if (fs_group >= 0) {
    if (fchown(dir, 0, static_cast<gid_t>(fs_group)) != 0)
      return fail_errno(errno, "give a volume to its group");
    mode |= 02070;
  }
  if (fchmod(dir, mode) != 0) return fail_errno(errno, "set the mode of a volume");
  return {};
}

// A version's name follows from its content, so that writing the same again changes nothing.
std::string version_of(const VolumePlan& plan) {
  Sha256 hash;
  for (const VolumeFile& f : plan.files) {
    hash.update(strf("%zu:%zu:%o:", f.path.size(), f.bytes.size(), f.mode));
    hash.update(f.path);
    hash.update(f.bytes);
  }
  return ".." + hash.finish_hex().substr(0, 24);
}

std::string link_target(int dir, const std::string& name) {
  char target[4096];
  const ssize_t n = readlinkat(dir, name.c_str(), target, sizeof target);
  return n > 0 ? std::string(target, static_cast<size_t>(n)) : "";
}

class Writer {
 public:
  Writer(const std::string& path, int dir, const VolumePlan& plan) : path_(path), dir_(dir), plan_(plan) {}

  Result<> run() {
    CHECK_OK(own_root(dir_, plan_.fs_group));
    version_ = version_of(plan_);
    if (link_target(dir_, kData) == version_) return {};
    CHECK_OK(write_version());
    if (LIMPET_FAILPOINT("node.volume.swap")) return fail(Errc::io, "failpoint node.volume.swap");
    CHECK_OK(link(version_, kData));
    for (const VolumeFile& f : plan_.files) tops_.push_back(f.path.substr(0, f.path.find('/')));
    std::sort(tops_.begin(), tops_.end());
    tops_.erase(std::unique(tops_.begin(), tops_.end()), tops_.end());
    for (const std::string& top : tops_) {
      const std::string target = std::string(kData) + "/" + top;
      if (link_target(dir_, top) != target) CHECK_OK(link(target, top));
    }
    drop_others();
    return {};
  }

 private:
  Result<> write_version() {
    CHECK_OK(remove_tree(path_ + "/" + version_));  // follows no link below path_
    if (mkdirat(dir_, version_.c_str(), 0755) != 0) return fail_errno(errno, "make a volume's version");
    TRY(const UniqueFd version, open_child(dir_, version_));
    for (const VolumeFile& f : plan_.files) {
      if (LIMPET_FAILPOINT("node.volume.file")) return fail(Errc::io, "failpoint node.volume.file");
      CHECK_OK(write_at(version.get(), f, plan_.fs_group));
    }
    return {};
  }

  Result<> link(const std::string& target, const std::string& name) {
    CHECK_OK(remove_tree(path_ + "/" + kFreshLink));
    if (symlinkat(target.c_str(), dir_, kFreshLink) != 0) return fail_errno(errno, "link " + name);
    if (renameat(dir_, kFreshLink, dir_, name.c_str()) == 0) return {};
    if (errno != EISDIR) return fail_errno(errno, "link " + name);
    CHECK_OK(remove_tree(path_ + "/" + name));  // not of our making
    return renameat(dir_, kFreshLink, dir_, name.c_str()) == 0 ? Result<>()
                                                               : fail_errno(errno, "link " + name);
  }

  // Earlier versions, and names that are no more.
  void drop_others() {
    for (const std::string& name : list_directory(path_)) {
      if (name == kData || name == version_ || std::binary_search(tops_.begin(), tops_.end(), name)) continue;
      (void)remove_tree(path_ + "/" + name).has_value();
    }
  }

  const std::string& path_;
  int dir_;
  const VolumePlan& plan_;
  std::string version_;
  std::vector<std::string> tops_;
};

}  // namespace

Result<> write_volume_files(const std::string& dir, const VolumePlan& plan) {
  CHECK_OK(make_directories(dir, 0755));
  const UniqueFd fd(open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "open " + dir);
  return Writer(dir, fd.get(), plan).run();
}

}  // namespace limpet::node
