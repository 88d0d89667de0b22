#include "node/runtime/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/atomic_file.h"
#include "base/unique_fd.h"

namespace limpet::node {
namespace {

// Files of the kernel: no temporary, no size known in advance.
Result<std::string> slurp(const std::string& path) { return read_file(path, 256 * 1024); }

Result<> put(const std::string& path, std::string_view value) {
  UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, path);
  if (write(fd.get(), value.data(), value.size()) < 0) return fail_errno(errno, path);
  return {};
}

Result<> put(const std::string& path, int64_t value) { return put(path, std::to_string(value)); }

Result<> make_path(const std::string& mount, const std::string& path) {
  for (size_t i = 1; i <= path.size(); ++i) {
    if (i < path.size() && path[i] != '/') continue;
    std::string dir = mount + path.substr(0, i);
    if (mkdir(dir.c_str(), 0755) != 0 && errno != EEXIST) return fail_errno(errno, dir);
  }
  return {};
}

uint64_t number_of(const std::string& path) {
  Result<std::string> text = slurp(path);
  return text ? strtoull(text->c_str(), nullptr, 10) : 0;
}

uint64_t keyed(const std::string& path, std::string_view key) {
  Result<std::string> text = slurp(path);
  if (!text) return 0;
  std::string_view rest = *text;
  while (!rest.empty()) {
    size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    if (line.size() > key.size() && line.starts_with(key) && line[key.size()] == ' ') {
      return strtoull(std::string(line.substr(key.size() + 1)).c_str(), nullptr, 10);
    }
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return 0;
}

// Depth-first over the groups below dir, the group itself last.
template <class F>
void each_group(const std::string& dir, int depth, const F& f) {
  if (depth > 16) return;
  if (DIR* d = opendir(dir.c_str())) {
    while (dirent* entry = readdir(d)) {
      if (entry->d_type != DT_DIR || entry->d_name[0] == '.') continue;
      each_group(dir + "/" + entry->d_name, depth + 1, f);
    }
    closedir(d);
  }
  f(dir);
}

std::vector<std::string_view> words(std::string_view line) {
  std::vector<std::string_view> out;
  while (!line.empty()) {
    size_t end = std::min(line.find(' '), line.size());
    out.push_back(line.substr(0, end));
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return out;
}

}  // namespace

int64_t cpu_shares(int64_t millis) { return std::clamp<int64_t>(millis * 1024 / 1000, 2, 262144); }
int64_t cpu_weight(int64_t shares) {
  return 1 + (std::clamp<int64_t>(shares, 2, 262144) - 2) * 9999 / 262142;
}
int64_t cpu_quota_us(int64_t millis) { return std::max<int64_t>(millis * cpu_period_us / 1000, 1000); }

Result<Cgroups> Cgroups::detect() {
  TRY(std::string text, read_file("/proc/self/mountinfo", 4 << 20));
  return parse(text);
}

Result<Cgroups> Cgroups::parse(std::string_view mountinfo) {
  Cgroups found;
  std::string unified;
  while (!mountinfo.empty()) {
    size_t end = std::min(mountinfo.find('\n'), mountinfo.size());
    std::vector<std::string_view> w = words(mountinfo.substr(0, end));
    mountinfo.remove_prefix(std::min(end + 1, mountinfo.size()));
    auto dash = std::find(w.begin(), w.end(), "-");
    if (w.size() < 6 || w.end() - dash < 4) continue;
    std::string_view type = dash[1], options = dash[3], target = w[4];
    if (type == "cgroup2" && unified.empty()) unified = target;
    if (type != "cgroup") continue;
    Hierarchy h;
    h.mount = target;
    h.controllers = "," + std::string(options) + ",";
    bool again = std::any_of(found.hierarchies_.begin(), found.hierarchies_.end(),
                             [&](const Hierarchy& other) { return other.controllers == h.controllers; });
    if (!again) found.hierarchies_.push_back(std::move(h));
  }
  found.v2_ = found.hierarchies_.empty() && !unified.empty();
  found.hybrid_ = !found.hierarchies_.empty() && !unified.empty();
  if (!unified.empty()) found.hierarchies_.push_back({unified, ",", true});
  if (found.hierarchies_.empty()) return fail(Errc::unavailable, "no cgroup hierarchy is mounted");
  return found;
}

const Cgroups::Hierarchy* Cgroups::find(std::string_view controller) const {
  std::string wanted = "," + std::string(controller) + ",";
  for (const Hierarchy& h : hierarchies_) {
    if (v2_ || h.controllers.find(wanted) != std::string::npos) return &h;
  }
  return nullptr;
}

std::vector<std::string> Cgroups::directories(const std::string& path) const {
  std::vector<std::string> out;
  for (const Hierarchy& h : hierarchies_) out.push_back(h.mount + path);
  return out;
}

std::vector<std::string> Cgroups::oom_files(const std::string& path) const {
  const Hierarchy* memory = find("memory");
  if (memory == nullptr) return {};
  return {memory->mount + path + (v2_ ? "/memory.events" : "/memory.oom_control")};
}

Result<> Cgroups::create(const std::string& path, const Resources& limits) const {
  for (const Hierarchy& h : hierarchies_) {
    CHECK_OK(make_path(h.mount, path));
    if (v2_) {
      // Each level hands its controllers down; one the kernel lacks is not an error.
      for (size_t i = 0; i <= path.size(); i = std::min(path.find('/', i + 1), path.size() + 1)) {
        if (i == path.size()) break;
        for (const char* name : {"+cpu", "+memory", "+pids", "+io", "+cpuset"}) {
          static_cast<void>(
              put(h.mount + path.substr(0, i) + "/cgroup.subtree_control", std::string_view(name)));
        }
      }
    }
    if (h.controllers.find(",cpuset,") != std::string::npos) {
      // A v1 cpuset is unusable until it has processors and memory nodes: those of its parent.
      for (size_t i = 1; i <= path.size(); ++i) {
        if (i < path.size() && path[i] != '/') continue;
        std::string dir = h.mount + path.substr(0, i);
        std::string parent = dir.substr(0, dir.rfind('/'));
        for (const char* file : {"/cpuset.cpus", "/cpuset.mems"}) {
          Result<std::string> mine = slurp(dir + file), theirs = slurp(parent + file);
          if (mine && theirs && mine->size() <= 1) static_cast<void>(put(dir + file, *theirs));
        }
      }
    }
  }
  const Hierarchy* cpu = find("cpu");
  const Hierarchy* memory = find("memory");
  if (cpu != nullptr) {
    std::string dir = cpu->mount + path;
    int64_t shares = cpu_shares(limits.cpu_millis_request);
    static_cast<void>(v2_ ? put(dir + "/cpu.weight", cpu_weight(shares)) : put(dir + "/cpu.shares", shares));
    if (limits.cpu_millis_limit > 0) {
      int64_t quota = cpu_quota_us(limits.cpu_millis_limit);
      if (v2_) {
        CHECK_OK(put(dir + "/cpu.max", strf("%lld %lld", static_cast<long long>(quota),
                                            static_cast<long long>(cpu_period_us))));
      } else {
        CHECK_OK(put(dir + "/cpu.cfs_period_us", cpu_period_us));
        CHECK_OK(put(dir + "/cpu.cfs_quota_us", quota));
      }
    }
  }
  if (memory != nullptr && limits.memory_limit_bytes > 0) {
    CHECK_OK(put(memory->mount + path + (v2_ ? "/memory.max" : "/memory.limit_in_bytes"),
                 limits.memory_limit_bytes));
  }
  return {};
}

void Cgroups::kill_all(const std::string& path) const {
  const Hierarchy* h = v2_ ? &hierarchies_[0] : find("memory");
  if (h == nullptr) h = &hierarchies_[0];
  if (v2_ && put(h->mount + path + "/cgroup.kill", "1")) return;  // Linux 5.14
  each_group(h->mount + path, 0, [](const std::string& dir) {
    Result<std::string> procs = slurp(dir + "/cgroup.procs");
    if (!procs) return;
    char* at = procs->data();
    for (char* end = at;; at = end) {
      long pid = strtol(at, &end, 10);
      if (end == at) break;
      if (pid > 1) ::kill(static_cast<pid_t>(pid), SIGKILL);
    }
  });
}

Result<> Cgroups::remove(const std::string& path) const {
  if (path.size() < 2 || path.find("..") != std::string::npos)
    return fail(Errc::invalid_argument, "cgroup " + path);
  int last_error = 0;
  std::string last_dir;
  for (const Hierarchy& h : hierarchies_) {
    for (int attempt = 0; attempt < 100; ++attempt) {
      int err = 0;
      each_group(h.mount + path, 0, [&](const std::string& dir) {
        if (rmdir(dir.c_str()) != 0 && errno != ENOENT) err = errno;
      });
      if (err == 0) break;
      if (err != EBUSY || attempt == 99) {
        last_error = err;
        last_dir = h.mount + path;
        break;
      }
      usleep(10000);
    }
  }
  if (last_error != 0) return fail_errno(last_error, "remove " + last_dir);
  return {};
}

Result<Usage> Cgroups::usage(const std::string& path) const {
  const Hierarchy* memory = find("memory");
  const Hierarchy* cpu = find(v2_ ? "cpu" : "cpuacct");
  const Hierarchy* pids = find("pids");
  if (memory == nullptr && cpu == nullptr) return fail(Errc::unavailable, "no memory or cpu controller");
  const Hierarchy* any = memory != nullptr ? memory : cpu;
  if (access((any->mount + path).c_str(), F_OK) != 0) return fail_errno(errno, any->mount + path);
  Usage usage;
  if (cpu != nullptr) {
    std::string dir = cpu->mount + path;
    usage.cpu_ns = v2_ ? keyed(dir + "/cpu.stat", "usage_usec") * 1000 : number_of(dir + "/cpuacct.usage");
  }
  if (memory != nullptr) {
    std::string dir = memory->mount + path;
    usage.memory_bytes = number_of(dir + (v2_ ? "/memory.current" : "/memory.usage_in_bytes"));
    uint64_t inactive = keyed(dir + "/memory.stat", v2_ ? "inactive_file" : "total_inactive_file");
    usage.memory_working_set = usage.memory_bytes > inactive ? usage.memory_bytes - inactive : 0;
  }
  if (pids != nullptr) usage.pids = number_of(pids->mount + path + "/pids.current");
  return usage;
}

}  // namespace limpet::node
