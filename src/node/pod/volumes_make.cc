#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/atomic_file.h"
#include "base/tree.h"
#include "base/unique_fd.h"
#include "node/pod/volume_files.h"
#include "node/pod/volumes.h"
#include "node/runtime/rootfs.h"

namespace limpet::node {

namespace {

Result<> own_directory(const std::string& path, int64_t fs_group, uint32_t mode) {
  if (fs_group >= 0) {
    if (chown(path.c_str(), 0, static_cast<gid_t>(fs_group)) != 0)
      return fail_errno(errno, "give " + path + " to its group");
    mode |= 02070;
  }
  if (chmod(path.c_str(), mode) != 0) return fail_errno(errno, "set the mode of " + path);
  return {};
}

// Made aside and moved into place: one that is there is whole, and how the pod changed its owner or mode
// since is the pod's affair.
Result<> make_empty_dir(const std::string& parent, const VolumePlan& plan) {
  const std::string path = parent + "/" + plan.name, fresh = parent + "/.new-" + plan.name;
  if (access(path.c_str(), F_OK) == 0) return {};
  CHECK_OK(make_directories(fresh, 0777));
  CHECK_OK(own_directory(fresh, plan.fs_group, 0777));
  if (rename(fresh.c_str(), path.c_str()) != 0) return fail_errno(errno, "make " + path);
  return {};
}

Result<> make_memory(const std::string& dir, const VolumePlan& plan) {
  CHECK_OK(make_directories(dir, 0777));
  if (!is_mounted(dir)) {
    std::string options = plan.fs_group >= 0
                              ? strf("mode=2777,gid=%lld", static_cast<long long>(plan.fs_group))
                              : std::string("mode=0777");
    if (plan.size_limit > 0) options += strf(",size=%lld", static_cast<long long>(plan.size_limit));
    if (mount("limpet-empty-dir", dir.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, options.c_str()) != 0) {
      return fail_errno(errno, "mount a tmpfs on " + dir);
    }
  }
  return {};
}

Result<> check_host_path(const VolumePlan& plan) {
  const std::string& path = plan.host_path;
  const std::string& type = plan.host_path_type;
  const auto failed = [&](const std::string& why) {
    return fail(Errc::invalid_argument, "MountVolume.SetUp failed for volume \"" + plan.name +
                                            "\" : hostPath type check failed: " + why);
  };
  struct stat st{};
  const bool there = stat(path.c_str(), &st) == 0;
  if (!there && type == "DirectoryOrCreate") return make_directories(path, 0755);
  if (!there && type == "FileOrCreate") {
    const UniqueFd fd(open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0644));
    if (!fd) return fail_errno(errno, "create " + path);
    return {};
  }
  if (type.empty()) return there ? Result<>() : make_directories(path, 0755);
  struct Check {
    const char* type;
    mode_t format;
    const char* word;
  };
  static constexpr Check kChecks[] = {
      {"DirectoryOrCreate", S_IFDIR, "directory"}, {"Directory", S_IFDIR, "directory"},
      {"FileOrCreate", S_IFREG, "file"},           {"File", S_IFREG, "file"},
      {"Socket", S_IFSOCK, "socket file"},         {"CharDevice", S_IFCHR, "character device"},
      {"BlockDevice", S_IFBLK, "block device"}};
  for (const Check& c : kChecks) {
    if (type != c.type) continue;
    if (!there || (st.st_mode & S_IFMT) != c.format) return failed(path + " is not a " + c.word);
    return {};
  }
  return failed("unknown type " + type);
}

Result<> unmount_below(const std::string& dir) {
  for (const std::string& name : list_directory(dir)) {
    if (name[0] != '.') CHECK_OK(unmount(dir + "/" + name));
  }
  return {};
}

}  // namespace

Result<std::map<std::string, std::string>> make_volumes(const std::vector<VolumePlan>& plans,
                                                        const VolumeDirs& dirs) {
  std::map<std::string, std::string> paths;
  for (const VolumePlan& p : plans) {
    switch (p.kind) {
      case VolumePlan::Kind::empty_dir:
        paths[p.name] = dirs.data + "/" + p.name;
        CHECK_OK(make_empty_dir(dirs.data, p));
        break;
      case VolumePlan::Kind::memory:
        paths[p.name] = dirs.run + "/" + p.name;
        CHECK_OK(make_memory(paths[p.name], p));
        break;
      case VolumePlan::Kind::host_path:
        paths[p.name] = p.host_path;
        CHECK_OK(check_host_path(p));
        break;
      case VolumePlan::Kind::files:
        paths[p.name] = dirs.run + "/" + p.name;
        CHECK_OK(write_volume_files(paths[p.name], p));
        break;
    }
  }
  return paths;
}

Result<> remove_volumes(const VolumeDirs& dirs) {
  CHECK_OK(unmount_below(dirs.run));
  CHECK_OK(remove_tree(dirs.run));
  CHECK_OK(unmount_below(dirs.data));
  return remove_tree(dirs.data);
}

}  // namespace limpet::node
