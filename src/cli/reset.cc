#include "cli/reset.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/tree.h"
#include "cli/reset_parts.h"
#include "node/runtime/rootfs.h"

namespace limpet::cli {
namespace {

using Names = std::vector<std::string>;

bool is_link(const std::string& path) {
  struct stat st{};
  return lstat(path.c_str(), &st) == 0 && S_ISLNK(st.st_mode);
}

bool has(const Names& list, const std::string& name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

std::string joined(const Names& list) {
  std::string out;
  for (const std::string& each : list) out += (out.empty() ? "" : ", ") + each;
  return out;
}

void end_processes(const DeviceConfig& device, const ResetPlaces& places, ResetReport& report) {
  if (places.run_ours) end_shims({device.paths.run_dir, places.run_dir});
  const auto groups = node::Cgroups::detect();
  if (!groups) {
    if (!places.uids.empty()) report.failed.push_back("control groups: " + groups.error().message);
    return;
  }
  const std::string& configured = device.config.cgroup_root;
  end_groups(*groups, (configured.starts_with('/') ? "" : "/") + configured, places.uids, report);
}

void remove_file(const std::string& path, ResetReport& report) {
  if (unlink(path.c_str()) == 0) {
    report.removed.push_back(path);
  } else if (errno != ENOENT && errno != ENOTDIR) {
    report.failed.push_back(path + ": " + strerror(errno));
  }
}

// False, and reported, when something of it is left. Nothing goes while something is mounted in it: that may
// be files of somebody else.
bool remove_whole(const std::string& path, const Names& mounted, ResetReport& report) {
  for (const std::string& point : mounted) {
    if (point != path && !point.starts_with(path + "/")) continue;
    report.failed.push_back(path + ": " + point + " is mounted, so that nothing of it was removed");
    return false;
  }
  const std::string target = is_link(path) ? real_path(path) : "";
  const auto gone = remove_tree(path);
  if (!gone) report.failed.push_back(path + ": " + gone.error().message);
  if (gone && !target.empty()) report.kept.push_back(target + ", to which the link " + path + " led");
  return gone.has_value();
}

// The directory itself, when nothing else is in it. `given`: as it is configured.
void remove_emptied(const std::string& directory, const std::string& given, bool failed,
                    ResetReport& report) {
  const Names rest = list_directory(directory);
  if (!rest.empty()) {
    if (!failed) report.kept.push_back(directory + ", since it also holds: " + joined(rest));
  } else if (is_link(given)) {
    report.removed.push_back("what was in " + directory);  // or the link would lead nowhere at the next start
  } else if (rmdir(directory.c_str()) == 0 || errno == EBUSY || errno == EROFS) {
    report.removed.push_back(directory);
  } else if (errno != ENOENT) {
    report.failed.push_back(directory + ": " + strerror(errno));
  }
}

// What has a name of ours in it; `last` at the very end, and only when all before it is gone: the next reset
// must see whose directory this is, and which pods it had. False: something failed.
bool remove_own(const std::string& directory, const std::string& given, const Names& names, const Names& last,
                const Names& mounted, bool all, ResetReport& report) {
  for (const std::string& name : list_directory(directory)) {
    const bool own = has(names, name) || name.starts_with("node.db.damaged-") ||  // set aside, and made again
                     (name.starts_with('.') && name.find(".tmp-") != std::string::npos);
    if (own && !has(last, name)) all = remove_whole(directory + "/" + name, mounted, report) && all;
  }
  for (const std::string& name : last) all = all && remove_whole(directory + "/" + name, mounted, report);
  remove_emptied(directory, given, !all, report);
  return all;
}

// Another kubelet's pods have their logs in the same place.
void remove_logs(const std::string& directory, const std::set<std::string>& uids, ResetReport& report) {
  size_t n = 0, others = 0;
  for (const std::string& name : list_directory(directory)) {
    if (std::count(name.begin(), name.end(), '_') == 2 && uids.contains(name.substr(name.rfind('_') + 1))) {
      n += remove_whole(directory + "/" + name, {}, report);
    } else {
      others += is_pod_log(name);
    }
  }
  if (n > 0)
    report.removed.push_back(strf("logs of %zu pod%s in %s", n, n == 1 ? "" : "s", directory.c_str()));
  if (others > 0)
    report.kept.push_back(strf("logs of %zu pod%s in %s that this limpetd does not know", others,
                               others == 1 ? "" : "s", directory.c_str()));
  rmdir(directory.c_str());
}

// Only what limpetd reads there: the directory may be any.
void remove_manifests(const std::string& directory, ResetReport& report) {
  for (const std::string& name : list_directory(directory)) {
    struct stat st{};
    const std::string path = directory + "/" + name;
    const bool read = name.ends_with(".yaml") || name.ends_with(".yml") || name.ends_with(".json");
    if (read && lstat(path.c_str(), &st) == 0 && !S_ISDIR(st.st_mode)) remove_file(path, report);
  }
}

void remove_socket(const std::string& path, ResetReport& report) {
  struct stat st{};
  if (lstat(path.c_str(), &st) == 0 && S_ISSOCK(st.st_mode)) remove_file(path, report);
}

void keep_unproven(const std::string& directory, const Names& names, ResetReport& report) {
  for (const std::string& name : list_directory(directory)) {
    if (!has(names, name)) continue;
    report.kept.push_back(directory + ", since nothing in it shows that limpetd made it");
    return;
  }
}

}  // namespace

ResetReport reset_device(const DeviceConfig& device, const std::string& config_file, bool with_config) {
  ResetReport report;
  const daemon::Paths& paths = device.paths;
  const ResetPlaces places = find_places(device);
  end_processes(device, places, report);
  const Names mounted = unmount_pods(places, report);
  bool all = report.failed.empty();
  remove_network(device.config, places.uids, report);
  remove_logs(real_path(paths.logs_dir), places.uids, report);
  if (places.data_ours || places.run_ours) {
    remove_file(paths.admin_kubeconfig, report);
    remove_socket(paths.socket, report);
  }
  if (places.run_ours) {
    all = remove_own(places.run_dir, paths.run_dir, own_names_in_run_dir(), {"pods"}, mounted, all, report);
  } else {
    keep_unproven(places.run_dir, own_names_in_run_dir(), report);
  }
  const std::string manifests = real_path(paths.manifests_dir);
  if (with_config) {
    remove_file(config_file, report);
    remove_manifests(manifests, report);
  }
  rmdir(manifests.c_str());
  // The usual directory is limpet's own; another one is a person's, empty or not.
  if (const std::string usual = Arguments().config; config_file == usual)
    rmdir(usual.substr(0, usual.rfind('/')).c_str());
  if (places.data_ours) {
    // Archives that a person put there stay; an empty place for them goes.
    rmdir((places.data_dir + "/images").c_str());
    (void)remove_own(places.data_dir, paths.data_dir, own_names_in_data_dir(), {"limpet.db.lock", "lock"},
                     mounted, all, report);
  } else {
    keep_unproven(places.data_dir, own_names_in_data_dir(), report);
  }
  return report;
}

}  // namespace limpet::cli
