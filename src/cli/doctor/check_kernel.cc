// What the kernel has to offer: file systems, links, namespaces, seccomp, forwarding, control groups.
#include "cli/doctor/checks.h"
#include "node/runtime/cgroup.h"

namespace limpet::cli::doctor {
namespace {

std::string release(const Machine& m) {
  std::string text = contents(m, "/proc/sys/kernel/osrelease");
  return text.substr(0, text.find('\n'));
}

enum class Has { yes, no, unknown };

// Loaded, built in, or loadable; unknown where the kernel brought no list of its modules.
Has has_module(const Machine& m, const std::string& name) {
  if (exists(m, "/sys/module/" + name)) return Has::yes;
  const std::string directory = "/lib/modules/" + release(m);
  std::string listed = contents(m, directory + "/modules.builtin");
  listed += contents(m, directory + "/modules.dep");
  if (listed.empty()) return Has::unknown;
  std::string file = name;
  for (char& c : file) {
    if (c == '_') c = '-';
  }
  for (const std::string& each : {"/" + name + ".ko", "/" + file + ".ko"}) {
    if (listed.find(each) != std::string::npos) return Has::yes;
  }
  return Has::no;
}

bool has_word(std::string_view text, std::string_view word) {
  for (size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    const auto edge = [&](size_t i) {
      return i >= text.size() || text[i] == ' ' || text[i] == '\n' || text[i] == '\t';
    };
    if ((at == 0 || edge(at - 1)) && edge(at + word.size())) return true;
  }
  return false;
}

void append(std::string& list, const std::string& item) { list += (list.empty() ? "" : ", ") + item; }

// The controllers that limits of pods need.
std::string missing_controllers(const Machine& m, bool v2) {
  std::string missing;
  if (v2) {
    const std::string have = contents(m, "/sys/fs/cgroup/cgroup.controllers");
    for (const char* c : {"cpu", "memory", "pids"}) {
      if (!has_word(have, c)) append(missing, c);
    }
    return missing;
  }
  const std::string have = contents(m, "/proc/cgroups");
  for (const char* c : {"cpu", "memory", "pids"}) {
    // "memory 3 1 1": name, hierarchy, groups, enabled.
    const size_t at = ("\n" + have).find(std::string("\n") + c + "\t");
    const size_t end = at == std::string::npos ? at : have.find('\n', at);
    const std::string line = at == std::string::npos ? "" : have.substr(at, end - at);
    if (line.empty() || line.ends_with("\t0")) append(missing, c);
  }
  return missing;
}

}  // namespace

Findings check_kernel(const Machine& m) {
  Findings out;
  std::string missing, unknown;
  if (!has_word(contents(m, "/proc/filesystems"), "overlay") && has_module(m, "overlay") != Has::yes)
    append(missing, "overlayfs");
  const bool pod_network = m.config.network.mode != "none";
  if (pod_network && !exists(m, "/sys/class/net/" + m.config.network.bridge)) {
    for (const char* module : {"bridge", "veth"}) {
      const Has has = has_module(m, module);
      if (has == Has::no) append(missing, module);
      if (has == Has::unknown) append(unknown, module);
    }
  }
  for (const char* ns : {"net", "mnt", "pid", "uts", "ipc"}) {
    if (!exists(m, std::string("/proc/self/ns/") + ns)) append(missing, std::string(ns) + " namespaces");
  }
  if (!exists(m, "/proc/sys/kernel/seccomp/actions_avail") &&
      contents(m, "/proc/self/status").find("\nSeccomp:") == std::string::npos) {
    append(missing, "seccomp");
  }
  if (!missing.empty()) {
    out.push_back({"kernel", Level::problem, "The kernel " + release(m) + " lacks: " + missing + ".",
                   "Use a kernel that has it, or install the distribution's package of further modules."});
  } else if (!unknown.empty()) {
    out.push_back({"kernel", Level::skipped,
                   "Whether the kernel " + release(m) + " has " + unknown +
                       " cannot be told: it has no list of its modules.",
                   ""});
  } else {
    out.push_back({"kernel", Level::ok, "The kernel " + release(m) + " has what limpet needs.", ""});
  }
  const std::string forward = contents(m, "/proc/sys/net/ipv4/ip_forward");
  if (pod_network && m.daemon.pid != 0 && forward.starts_with("0")) {
    out.push_back({"kernel", Level::problem,
                   "net.ipv4.ip_forward is 0: pods reach nothing beyond this device.",
                   "Something switched it off after limpetd had started: sysctl net.ipv4.ip_forward=1."});
  }
  return out;
}

Findings check_cgroups(const Machine& m) {
  const auto groups = node::Cgroups::parse(contents(m, "/proc/self/mountinfo"));
  if (!groups) {
    return {{"cgroups", Level::problem, "No control groups are mounted: pods cannot be limited.",
             "Mount them: mount -t cgroup2 cgroup2 /sys/fs/cgroup (systemd does so by itself)."}};
  }
  const char* version = groups->v2() ? "v2" : groups->hybrid() ? "v1 with an extra v2 mount" : "v1";
  const std::string missing = missing_controllers(m, groups->v2());
  if (!missing.empty()) {
    return {{"cgroups", Level::problem,
             strf("The control groups (%s) lack the controllers: %s.", version, missing.c_str()),
             "Many boards switch memory off: add cgroup_enable=memory cgroup_memory=1 to the kernel's "
             "command line."}};
  }
  if (groups->hybrid() && !find_program(m, "crun").empty() && find_program(m, "runc").empty()) {
    return {{"cgroups", Level::problem, strf("Control groups are %s, which crun refuses.", version),
             "Install runc, or boot with systemd.unified_cgroup_hierarchy=1."}};
  }
  if (!groups->v2()) {
    return {{"cgroups", Level::warning,
             strf("Control groups are %s: it works, but kernels are leaving it behind.", version),
             "Boot with systemd.unified_cgroup_hierarchy=1 where the distribution supports it."}};
  }
  return {{"cgroups", Level::ok, "Control groups v2 with cpu, memory and pids.", ""}};
}

}  // namespace limpet::cli::doctor
