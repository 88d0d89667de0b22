// What of this device is limpetd's: nothing is, unless it shows.
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>

#include "base/atomic_file.h"
#include "base/tree.h"
#include "base/unique_fd.h"
#include "cli/reset_parts.h"
#include "node/runtime/rootfs.h"

namespace limpet::cli {
namespace {

// As src/store and src/node/node_db write them.
constexpr uint32_t store_id = 0x6c6d7074, node_id = 0x6c6d6e64;

bool is_kind(const std::string& path, mode_t kind) {
  struct stat st{};
  return lstat(path.c_str(), &st) == 0 && (st.st_mode & S_IFMT) == kind;
}

// The first bytes of a regular file.
std::string head(const std::string& path, size_t size) {
  if (!is_kind(path, S_IFREG)) return {};
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  std::string out(size, '\0');
  const ssize_t n = fd ? pread(fd.get(), out.data(), size, 0) : -1;
  out.resize(n > 0 ? static_cast<size_t>(n) : 0);
  return out;
}

// The header of a database of ours: https://www.sqlite.org/fileformat.html, "Application ID" at byte 68.
bool is_database(const std::string& path, uint32_t application) {
  const std::string header = head(path, 100);
  if (header.size() < 100 || !header.starts_with("SQLite format 3")) return false;
  uint32_t id = 0;
  for (size_t at = 68; at < 72; at++) id = id << 8 | static_cast<unsigned char>(header[at]);
  return id == application;
}

bool is_run_dir(const ResetPlaces& places) {
  const std::string& dir = places.run_dir;
  if (is_kind(dir + "/limpet.sock", S_IFSOCK)) return true;
  for (const std::string& uid : list_directory(dir + "/pods")) {
    if (is_kind(dir + "/pods/" + uid + "/pod.json", S_IFREG)) return true;
  }
  // A limpetd that stopped with no pod left: empty directories, and nothing of anybody else's.
  const std::vector<std::string>& own = own_names_in_run_dir();
  const std::vector<std::string> names = list_directory(dir);
  return places.data_ours && std::find(names.begin(), names.end(), "pods") != names.end() &&
         std::all_of(names.begin(), names.end(), [&](const std::string& name) {
           return std::find(own.begin(), own.end(), name) != own.end();
         });
}

// Pods whose directories are gone already, or were never made. Best effort: a damaged file tells none.
void add_recorded(const std::string& path, std::set<std::string>& uids) {
  if (!is_database(path, node_id)) return;
  sqlite3* raw = nullptr;
  const int opened =
      sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  const std::unique_ptr<sqlite3, int (*)(sqlite3*)> db(raw, sqlite3_close);
  sqlite3_stmt* each = nullptr;
  if (opened == SQLITE_OK &&
      sqlite3_prepare_v2(raw, "SELECT key FROM record WHERE kind='pod'", -1, &each, nullptr) == SQLITE_OK) {
    while (sqlite3_step(each) == SQLITE_ROW) {
      const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(each, 0));
      if (text) uids.insert(text);
    }
  }
  sqlite3_finalize(each);
}

}  // namespace

std::string real_path(const std::string& path) {
  char resolved[PATH_MAX];
  if (realpath(path.c_str(), resolved)) return resolved;
  std::string whole = path;
  while (whole.size() > 1 && whole.ends_with('/')) whole.pop_back();
  const size_t slash = whole.rfind('/');
  if (slash == std::string::npos || whole.size() < 2) return whole;
  const std::string name = whole.substr(slash + 1);
  const std::string parent = real_path(slash == 0 ? "/" : whole.substr(0, slash));
  if (name == ".") return parent;
  return (parent == "/" ? "" : parent) + "/" + name;
}

bool is_system_directory(const std::string& path) {
  static const std::set<std::string> known = {"/etc/containers",
                                              "/etc/kubernetes",
                                              "/etc/pki",
                                              "/etc/ssl",
                                              "/etc/systemd",
                                              "/run/containerd",
                                              "/run/containers",
                                              "/run/dbus",
                                              "/run/docker",
                                              "/run/lock",
                                              "/run/netns",
                                              "/run/systemd",
                                              "/run/udev",
                                              "/run/user",
                                              "/usr/local/bin",
                                              "/usr/local/etc",
                                              "/usr/local/lib",
                                              "/usr/local/sbin",
                                              "/usr/local/share",
                                              "/var/cache",
                                              "/var/lib",
                                              "/var/lib/cni",
                                              "/var/lib/containerd",
                                              "/var/lib/containers",
                                              "/var/lib/docker",
                                              "/var/lib/dpkg",
                                              "/var/lib/kubelet",
                                              "/var/lib/rpm",
                                              "/var/lib/systemd",
                                              "/var/local",
                                              "/var/lock",
                                              "/var/log",
                                              "/var/log/pods",
                                              "/var/mail",
                                              "/var/opt",
                                              "/var/run",
                                              "/var/spool",
                                              "/var/tmp"};
  const auto parts = std::count(path.begin(), path.end(), '/');
  if (path == "/" || parts < 2 || known.contains(path)) return true;
  for (const char* whole : {"/boot/", "/dev/", "/proc/", "/sys/"}) {
    if (path.starts_with(whole) && !path.starts_with("/dev/shm/")) return true;
  }
  return parts == 2 && path.starts_with("/usr/");
}

std::string reset_refusal(const DeviceConfig& device) {
  const std::pair<const char*, const std::string&> both[] = {{"dataDir", device.paths.data_dir},
                                                             {"runDir", device.paths.run_dir}};
  for (const auto& [key, path] : both) {
    if (!is_system_directory(real_path(path))) continue;
    return strf(
        "%s is %s, a directory of the whole system: nothing was removed\ntry: remove by hand what is "
        "limpet's, and give it a directory of its own",
        key, path.c_str());
  }
  return "";
}

bool is_data_dir(const std::string& data_dir) {
  return is_database(data_dir + "/limpet.db", store_id) || is_database(data_dir + "/node.db", node_id) ||
         head(data_dir + "/lock", 4) == "pid ";
}

ResetPlaces find_places(const DeviceConfig& device) {
  ResetPlaces out;
  out.data_dir = real_path(device.paths.data_dir);
  out.run_dir = real_path(device.paths.run_dir);
  out.data_ours = !is_system_directory(out.data_dir) && is_data_dir(out.data_dir);
  out.run_ours = !is_system_directory(out.run_dir) && is_run_dir(out);
  if (out.data_ours) {
    for (std::string& uid : list_directory(out.data_dir + "/pods")) out.uids.insert(std::move(uid));
    add_recorded(out.data_dir + "/node.db", out.uids);
  }
  if (out.run_ours) {
    for (std::string& uid : list_directory(out.run_dir + "/pods")) out.uids.insert(std::move(uid));
  }
  // They become parts of paths.
  std::erase_if(out.uids, [](const std::string& uid) {
    return uid.empty() || uid.starts_with('.') || uid.find('/') != std::string::npos;
  });
  return out;
}

const std::vector<std::string>& own_names_in_data_dir() {
  static const std::vector<std::string> names = {"limpet.db",      "limpet.db-wal",
                                                 "limpet.db-shm",  "limpet.db.reserve",
                                                 "limpet.db.lock", "limpet.db.made",
                                                 "cluster.json",   "join.json",
                                                 "join",           "joining",
                                                 "node.db",        "node.db-wal",
                                                 "node.db-shm",    "pki",
                                                 "image",          "pods",
                                                 "containers",     "lock",
                                                 "restore.staged"};
  return names;
}

const std::vector<std::string>& own_names_in_run_dir() {
  static const std::vector<std::string> names = {"containers", "etc",  "leases",  "limpet.sock",
                                                 "netns",      "pods", "runtime", "volumes"};
  return names;
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

}  // namespace limpet::cli
