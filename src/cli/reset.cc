#include "cli/reset.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/atomic_file.h"
#include "base/unique_fd.h"
#include "net/link.h"
#include "net/netlink_socket.h"
#include "net/nft_rules.h"
#include "node/runtime/cgroup.h"

namespace limpet::cli {
namespace {

constexpr size_t max_mountinfo = 16 << 20;
constexpr int deepest = 200;

bool there(const std::string& path) {
  struct stat st{};
  return lstat(path.c_str(), &st) == 0;
}

// "\040" of the kernel's tables as the byte.
std::string unescaped(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); i++) {
    const auto octal = [&](size_t at) { return at < text.size() && text[at] >= '0' && text[at] <= '7'; };
    if (text[i] == '\\' && octal(i + 1) && octal(i + 2) && octal(i + 3)) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

// Shims outside of the control groups, too: those of a daemon that could make none.
void kill_shims(const std::string& run_dir) {
  DIR* proc = opendir("/proc");
  if (!proc) return;
  while (const dirent* entry = readdir(proc)) {
    const std::string_view name(entry->d_name);
    if (name.find_first_not_of("0123456789") != std::string_view::npos) continue;
    const std::string line = read_file("/proc/" + std::string(name) + "/cmdline", 64 * 1024).value_or("");
    const std::string program = line.substr(0, line.find('\0'));
    if (!program.ends_with("limpet-shim") || line.find("dir=" + run_dir + "/") == std::string::npos) continue;
    pid_t pid = 0;
    for (const char c : name) pid = pid * 10 + (c - '0');
    kill(pid, SIGKILL);
  }
  closedir(proc);
}

void end_processes(const DeviceConfig& device, ResetReport& report) {
  kill_shims(device.paths.run_dir);
  const auto groups = node::Cgroups::detect();
  if (!groups) {
    report.failed.push_back("control groups: " + groups.error().message);
    return;
  }
  const std::string& configured = device.config.cgroup_root;
  const std::string root = (configured.starts_with('/') ? "" : "/") + configured;
  const std::vector<std::string> directories = groups->directories(root);
  if (std::none_of(directories.begin(), directories.end(), there)) return;
  groups->kill_all(root);
  const auto gone = groups->remove(root);
  if (gone) {
    report.removed.push_back("containers, and the control groups " + root);
  } else {
    report.failed.push_back("the control groups " + root + ": " + gone.error().message);
  }
}

void unmount(const DeviceConfig& device, ResetReport& report) {
  // Below our own names only: somebody may have chosen a directory that others use too.
  std::vector<std::string> places;
  for (const std::string& name : own_names_in_run_dir()) places.push_back(device.paths.run_dir + "/" + name);
  for (const std::string& name : own_names_in_data_dir())
    places.push_back(device.paths.data_dir + "/" + name);
  // Mounts may lie upon each other: as often as it helps.
  for (size_t before = SIZE_MAX;;) {
    const auto points = mounts_below(read_file("/proc/self/mountinfo", max_mountinfo).value_or(""), places);
    if (points.empty()) {
      if (before != SIZE_MAX) report.removed.push_back("mounts of pods");
      return;
    }
    if (points.size() >= before) {
      for (const std::string& p : points) report.failed.push_back("the mount " + p);
      return;
    }
    before = points.size();
    for (const std::string& p : points) {
      if (umount2(p.c_str(), UMOUNT_NOFOLLOW) != 0) umount2(p.c_str(), UMOUNT_NOFOLLOW | MNT_DETACH);
    }
  }
}

void remove_network(const DeviceConfig& device, ResetReport& report) {
  if (device.config.network.mode == "none") return;
  const std::string& bridge = device.config.network.bridge;
  net::NetlinkMessage message = net::delete_link(bridge);
  auto socket = net::NetlinkSocket::open();
  const Result<> deleted = socket ? socket->request(message, "delete") : std::unexpected(socket.error());
  if (deleted) {
    report.removed.push_back("the bridge " + bridge);
  } else if (deleted.error().sys_errno != ENODEV) {
    report.failed.push_back("the bridge " + bridge + ": " + deleted.error().message);
  }
  const net::NetworkRules rules;
  const auto gone = net::run_nft(net::delete_table(rules.table));
  if (gone) {
    report.removed.push_back("the nft table " + rules.table);
  } else {
    report.failed.push_back("the nft table " + rules.table + ": " + gone.error().message);
  }
}

void remove_file(const std::string& path, ResetReport& report) {
  if (unlink(path.c_str()) == 0) {
    report.removed.push_back(path);
  } else if (errno != ENOENT && errno != ENOTDIR) {
    report.failed.push_back(path + ": " + strerror(errno));
  }
}

std::vector<std::string> entries_of(const std::string& directory) {
  std::vector<std::string> out;
  if (DIR* d = opendir(directory.c_str())) {
    while (const dirent* entry = readdir(d)) {
      const std::string_view name(entry->d_name);
      if (name != "." && name != "..") out.emplace_back(name);
    }
    closedir(d);
  }
  std::sort(out.begin(), out.end());
  return out;
}

// Our own entries, then the directory itself when nothing else is in it.
void remove_own(const std::string& directory, const std::vector<std::string>& names, ResetReport& report) {
  if (!there(directory)) return;
  bool all = true;
  for (const std::string& name : entries_of(directory)) {
    const bool own = std::find(names.begin(), names.end(), name) != names.end() ||
                     name.starts_with("node.db.damaged-") ||  // set aside, and made again
                     (name.starts_with('.') && name.find(".tmp-") != std::string::npos);
    all = own && all;
    if (own) all = remove_tree(directory + "/" + name, report) && all;
  }
  if (rmdir(directory.c_str()) == 0 || errno == EBUSY || errno == EROFS) {
    report.removed.push_back(directory);
  } else if (errno == ENOTEMPTY || errno == EEXIST) {
    std::string rest;
    for (const std::string& name : entries_of(directory)) rest += (rest.empty() ? "" : ", ") + name;
    if (all || std::none_of(report.failed.begin(), report.failed.end(),
                            [&](const auto& f) { return f.starts_with(directory + "/"); }))
      report.kept.push_back(directory + ", since it also holds: " + rest);
  } else {
    report.failed.push_back(directory + ": " + strerror(errno));
  }
}

void remove_logs(const std::string& directory, ResetReport& report) {
  size_t n = 0;
  for (const std::string& name : entries_of(directory)) {
    // Another kubelet's pods have their logs in the same place.
    const std::string uid = name.substr(name.rfind('_') + 1);
    if (!is_pod_log(name) || there("/var/lib/kubelet/pods/" + uid)) continue;
    n += remove_tree(directory + "/" + name, report);
  }
  if (n > 0)
    report.removed.push_back(strf("logs of %zu pod%s in %s", n, n == 1 ? "" : "s", directory.c_str()));
  rmdir(directory.c_str());
}

bool empty_directory(int parent, const char* name, dev_t device, int depth, std::string& why);

bool remove_entry(int parent, const char* name, dev_t device, int depth, std::string& why) {
  struct stat st{};
  if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) != 0) return errno == ENOENT;
  if (st.st_dev != device) {
    why = std::string(name) + " is on another file system";
    return false;
  }
  if (S_ISDIR(st.st_mode) && !empty_directory(parent, name, device, depth, why)) return false;
  if (unlinkat(parent, name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) == 0 || errno == ENOENT) return true;
  why = std::string(name) + ": " + strerror(errno);
  return false;
}

bool empty_directory(int parent, const char* name, dev_t device, int depth, std::string& why) {
  UniqueFd fd(openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd || depth > deepest) {
    why = std::string(name) + ": " + (fd ? "too deep" : strerror(errno));
    return false;
  }
  const int number = fd.get();
  DIR* d = fdopendir(fd.release());
  if (!d) return false;
  bool all = true;
  while (const dirent* entry = readdir(d)) {
    const std::string_view each(entry->d_name);
    if (each != "." && each != "..") all = remove_entry(number, entry->d_name, device, depth + 1, why) && all;
  }
  closedir(d);
  return all;
}

}  // namespace

std::vector<std::string> mounts_below(std::string_view mountinfo,
                                      const std::vector<std::string>& directories) {
  std::vector<std::string> out;
  while (!mountinfo.empty()) {
    const size_t end = std::min(mountinfo.find('\n'), mountinfo.size());
    std::string_view line = mountinfo.substr(0, end);
    mountinfo.remove_prefix(std::min(end + 1, mountinfo.size()));
    for (int field = 0; field < 4; field++) line.remove_prefix(std::min(line.find(' ') + 1, line.size()));
    const std::string point = unescaped(line.substr(0, line.find(' ')));
    for (const std::string& d : directories) {
      if (d.size() > 1 && point.starts_with(d + "/")) {
        out.insert(out.begin(), point);
        break;
      }
    }
  }
  return out;
}

bool is_pod_log(std::string_view name) {
  // 8-4-4-4-12 hexadecimal digits.
  const size_t second = name.rfind('_');
  if (second == std::string_view::npos || name.find('_') == second || name.size() - second - 1 != 36)
    return false;
  const std::string_view uid = name.substr(second + 1);
  for (size_t i = 0; i < uid.size(); i++) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? uid[i] != '-' : std::string_view("0123456789abcdef").find(uid[i]) == std::string_view::npos)
      return false;
  }
  return true;
}

const std::vector<std::string>& own_names_in_data_dir() {
  static const std::vector<std::string> names = {"limpet.db",
                                                 "limpet.db-wal",
                                                 "limpet.db-shm",
                                                 "limpet.db.reserve",
                                                 "limpet.db.lock",
                                                 "node.db",
                                                 "node.db-wal",
                                                 "node.db-shm",
                                                 "pki",
                                                 "image",
                                                 "pods",
                                                 "containers",
                                                 "lock"};
  return names;
}

const std::vector<std::string>& own_names_in_run_dir() {
  static const std::vector<std::string> names = {"containers", "etc",  "leases",  "limpet.sock",
                                                 "netns",      "pods", "runtime", "volumes"};
  return names;
}

bool remove_tree(const std::string& path, ResetReport& report) {
  const size_t slash = path.rfind('/');
  const UniqueFd parent(
      open(path.substr(0, std::max<size_t>(slash, 1)).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!parent) return errno == ENOENT;
  struct stat st{};
  const std::string name = path.substr(slash + 1);
  if (fstatat(parent.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return errno == ENOENT;
  std::string why;
  if (remove_entry(parent.get(), name.c_str(), st.st_dev, 0, why)) return true;
  report.failed.push_back(path + ": " + why);
  return false;
}

ResetReport reset_device(const DeviceConfig& device, const std::string& config_file, bool with_config) {
  ResetReport report;
  const daemon::Paths& paths = device.paths;
  end_processes(device, report);
  unmount(device, report);
  remove_network(device, report);
  remove_logs(paths.logs_dir, report);
  remove_file(paths.admin_kubeconfig, report);
  std::vector<std::string> run_names = own_names_in_run_dir();
  remove_own(paths.run_dir, run_names, report);
  remove_file(paths.socket, report);
  // Archives that a person put there stay; an empty place for them goes.
  rmdir(paths.archives_dir.c_str());
  remove_own(paths.data_dir, own_names_in_data_dir(), report);
  if (with_config) {
    remove_file(config_file, report);
    (void)(remove_tree(paths.manifests_dir, report));
  } else {
    rmdir(paths.manifests_dir.c_str());
  }
  rmdir(config_file.substr(0, std::max<size_t>(config_file.rfind('/'), 1)).c_str());
  return report;
}

}  // namespace limpet::cli
