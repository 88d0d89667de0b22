#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/atomic_file.h"
#include "base/failpoint.h"
#include "base/sha256.h"
#include "base/unique_fd.h"
#include "node/pod/volumes.h"
#include "node/runtime/rootfs.h"

namespace limpet::node {

namespace {

Result<> write_plain_file(const std::string& path, const VolumeFile& file, int64_t fs_group) {
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return fail_errno(errno, "create " + path);
  std::string_view rest = file.bytes;
  while (!rest.empty()) {
    const ssize_t n = write(fd.get(), rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "write " + path);
    rest.remove_prefix(static_cast<size_t>(n));
  }
  uint32_t mode = file.mode & 0777;
  if (fs_group >= 0) {
    if (fchown(fd.get(), 0, static_cast<gid_t>(fs_group)) != 0)
      return fail_errno(errno, "give " + path + " to its group");
    mode |= 0040;
  }
  if (fchmod(fd.get(), mode) != 0) return fail_errno(errno, "set the mode of " + path);
  return {};
}

Result<> own_directory(const std::string& path, int64_t fs_group, uint32_t mode) {
  if (fs_group >= 0) {
    if (chown(path.c_str(), 0, static_cast<gid_t>(fs_group)) != 0)
      return fail_errno(errno, "give " + path + " to its group");
    mode |= 02070;
  }
  if (chmod(path.c_str(), mode) != 0) return fail_errno(errno, "set the mode of " + path);
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

// Version directories that nothing points at any more.
void drop_old_versions(const std::string& dir, const std::string& current) {
  DIR* d = opendir(dir.c_str());
  if (!d) return;
  std::vector<std::string> old;
  while (const dirent* e = readdir(d)) {
    const std::string name = e->d_name;
    if (name.starts_with("..") && name != ".." && name != "..data" && name != current) old.push_back(name);
  }
  closedir(d);
  for (const std::string& name : old) (void)remove_tree(dir + "/" + name).has_value();
}

Result<> link_to(const std::string& target, const std::string& path) {
  const std::string fresh = path + ".new";
  unlink(fresh.c_str());
  if (symlink(target.c_str(), fresh.c_str()) != 0) return fail_errno(errno, "link " + fresh);
  if (rename(fresh.c_str(), path.c_str()) != 0) return fail_errno(errno, "link " + path);
  return {};
}

Result<> write_version(const std::string& dir, const std::string& version, const VolumePlan& plan) {
  const std::string base = dir + "/" + version;
  CHECK_OK(remove_tree(base));
  CHECK_OK(make_directories(base, 0755));
  for (const VolumeFile& f : plan.files) {
    const size_t slash = f.path.rfind('/');
    if (slash != std::string::npos) CHECK_OK(make_directories(base + "/" + f.path.substr(0, slash), 0755));
    CHECK_OK(write_plain_file(base + "/" + f.path, f, plan.fs_group));
  }
  return {};
}

// The names at the top of the volume are links through ..data, so that moving ..data changes all of them at
// once.
Result<> make_files(const std::string& dir, const VolumePlan& plan) {
  CHECK_OK(make_directories(dir, 0755));
  CHECK_OK(own_directory(dir, plan.fs_group, 0755));
  const std::string version = version_of(plan);
  char now[64] = {};
  const ssize_t n = readlink((dir + "/..data").c_str(), now, sizeof now - 1);
  if (n > 0 && version == now) return {};
  CHECK_OK(write_version(dir, version, plan));
  if (LIMPET_FAILPOINT("node.volume.swap")) return fail(Errc::io, "failpoint node.volume.swap");
  CHECK_OK(link_to(version, dir + "/..data"));
  std::vector<std::string> tops;
  for (const VolumeFile& f : plan.files) tops.push_back(f.path.substr(0, f.path.find('/')));
  std::sort(tops.begin(), tops.end());
  tops.erase(std::unique(tops.begin(), tops.end()), tops.end());
  for (const std::string& top : tops) {
    if (access((dir + "/" + top).c_str(), F_OK) != 0) CHECK_OK(link_to("..data/" + top, dir + "/" + top));
  }
  DIR* d = opendir(dir.c_str());
  std::vector<std::string> gone;
  while (const dirent* e = d ? readdir(d) : nullptr) {
    const std::string name = e->d_name;
    if (!name.starts_with(".") && !std::binary_search(tops.begin(), tops.end(), name)) gone.push_back(name);
  }
  if (d) closedir(d);
  for (const std::string& name : gone) unlink((dir + "/" + name).c_str());
  drop_old_versions(dir, version);
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
  DIR* d = opendir(dir.c_str());
  if (!d) return {};
  std::vector<std::string> names;
  while (const dirent* e = readdir(d)) {
    if (e->d_name[0] != '.') names.push_back(e->d_name);
  }
  closedir(d);
  for (const std::string& name : names) {
    const std::string path = dir + "/" + name;
    CHECK_OK(unmount(path));
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
        CHECK_OK(make_files(paths[p.name], p));
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
