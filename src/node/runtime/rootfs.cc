#include "node/runtime/rootfs.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>

#include "base/atomic_file.h"
#include "base/failpoint.h"
#include "base/tree.h"
#include "base/unique_fd.h"

namespace limpet::node {
namespace {

std::string by_fd(int fd) { return strf("/proc/self/fd/%d", fd); }

Result<UniqueFd> open_dir(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "open " + path);
  return fd;
}

Result<UniqueFd> open_inside(int dir, const std::string& path) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  int fd = static_cast<int>(syscall(SYS_openat2, dir, path.c_str(), &how, sizeof how));
  if (fd < 0) return fail_errno(errno, path);
  return UniqueFd(fd);
}

// Each missing component is made in the directory that the part before it resolves to.
Result<UniqueFd> make_inside(int root, const std::string& path) {
  for (size_t at = 0; at <= path.size();) {
    size_t end = std::min(path.find('/', at), path.size());
    std::string parent = at == 0 ? "." : path.substr(0, at - 1);
    std::string name = path.substr(at, end - at);
    at = end + 1;
    if (name.empty() || name == ".") continue;
    TRY(UniqueFd dir, open_inside(root, parent));
    if (mkdirat(dir.get(), name.c_str(), 0750) != 0 && errno != EEXIST)
      return fail_errno(errno, "make " + path);
  }
  return open_inside(root, path);
}

// Of the mount at target and all below it; false (errno) also where nothing is mounted there. No link is
// followed.
bool set_propagation(const std::string& target, unsigned long type) {
  const UniqueFd fd(open(target.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  return fd && ::mount(nullptr, by_fd(fd.get()).c_str(), nullptr, MS_REC | type, nullptr) == 0;
}

}  // namespace

Result<> mount_overlay(const std::vector<std::string>& lower_dirs, const std::string& upper,
                       const std::string& work, const std::string& target) {
  std::vector<UniqueFd> held;
  std::string options = "lowerdir=";
  for (const std::string& dir : lower_dirs) {
    TRY(UniqueFd fd, open_dir(dir));
    if (!held.empty()) options += ':';
    options += by_fd(fd.get());
    held.push_back(std::move(fd));
  }
  TRY(UniqueFd upper_fd, open_dir(upper));
  TRY(UniqueFd work_fd, open_dir(work));
  options += ",upperdir=" + by_fd(upper_fd.get()) + ",workdir=" + by_fd(work_fd.get());
  if (options.size() >= 4095) return fail(Errc::too_large, "image has too many layers");
  if (::mount("overlay", target.c_str(), "overlay", 0, options.c_str()) != 0) {
    return fail_errno(errno, "mount overlay on " + target);
  }
  return {};
}

Result<> bind_sub_path(const std::string& source, const std::string& sub_path, const std::string& holder,
                       bool bidirectional) {
  TRY(UniqueFd root, open_dir(source));
  Result<UniqueFd> found = open_inside(root.get(), sub_path);
  if (!found && found.error().sys_errno == ENOENT) found = make_inside(root.get(), sub_path);
  if (!found) return std::unexpected(std::move(found).error().with("subPath"));
  struct stat st{};
  if (fstat(found->get(), &st) != 0) return fail_errno(errno, "subPath " + sub_path);
  if (S_ISDIR(st.st_mode)) {
    if (mkdir(holder.c_str(), 0700) != 0 && errno != EEXIST) return fail_errno(errno, holder);
  } else {
    UniqueFd file(open(holder.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file) return fail_errno(errno, holder);
  }
  if (::mount(by_fd(found->get()).c_str(), holder.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0) {
    return fail_errno(errno, "bind subPath " + sub_path);
  }
  // A shared source (everything is, under systemd) would have the copy as its peer: unmounting what lies in
  // the copy would unmount the machine's own. As a slave it still sees what is mounted there later.
  if (!bidirectional && !set_propagation(holder, MS_SLAVE)) {
    const int error = errno;
    (void)unmount(holder);
    return fail_errno(error, "bind subPath " + sub_path);
  }
  return {};
}

void part_from_peers(const std::string& target) { (void)set_propagation(target, MS_PRIVATE); }

Result<> unmount(const std::string& target) {
  // Several may lie on top of each other after an interrupted attempt.
  for (int i = 0; i < 16; ++i) {
    // What is mounted in it may be shared with the machine, whose mounts are to stay.
    part_from_peers(target);
    if (umount2(target.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) continue;
    if (errno == EINVAL || errno == ENOENT) return {};
    return fail_errno(errno, "unmount " + target);
  }
  return {};
}

bool may_mount_sysfs() {
  if (LIMPET_FAILPOINT("runtime.sysfs")) return false;
  // Made and thrown away without ever being attached anywhere.
  const UniqueFd context(fsopen("sysfs", FSOPEN_CLOEXEC));
  if (!context) return errno == ENOSYS;  // a kernel before 5.2: the runtime will tell
  if (fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) return false;
  const UniqueFd mounted(fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY));
  return static_cast<bool>(mounted);
}

bool has_mount_setattr() {
  return syscall(SYS_mount_setattr, -1, "", 0, nullptr, size_t{0}) == 0 || errno != ENOSYS;
}

bool is_mounted(const std::string& target) {
  struct statx mine{};
  if (statx(AT_FDCWD, target.c_str(), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &mine) != 0) return false;
  return (mine.stx_attributes_mask & mine.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

namespace {

void collect_devices(const std::string& dir, int depth, std::vector<SpecDevice>& out) {
  for (const std::string& name : list_directory(dir)) {
    std::string path = dir + "/" + name;
    struct stat st{};
    if (out.size() >= 1024 || lstat(path.c_str(), &st) != 0) continue;
    bool made_by_runtime = path == "/dev/pts" || path == "/dev/shm" || path == "/dev/mqueue" ||
                           path == "/dev/console" || path == "/dev/ptmx" || path == "/dev/fd";
    if (made_by_runtime) continue;
    if (S_ISDIR(st.st_mode) && depth < 4) collect_devices(path, depth + 1, out);
    if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode)) continue;
    out.push_back({path, S_ISBLK(st.st_mode), major(st.st_rdev), minor(st.st_rdev),
                   static_cast<uint32_t>(st.st_mode & 07777), st.st_uid, st.st_gid});
  }
}

}  // namespace

std::vector<SpecDevice> host_devices() {
  std::vector<SpecDevice> out;
  collect_devices("/dev", 0, out);
  return out;
}

}  // namespace limpet::node
