#include "node/runtime/oci_spec.h"

#include <algorithm>

#include "base/json.h"
#include "node/runtime/cgroup.h"
#include "node/runtime/seccomp.h"

namespace limpet::node {
namespace {

constexpr std::string_view default_path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

constexpr const char* masked_paths[] = {
    "/proc/asound",      "/proc/acpi",          "/proc/interrupts", "/proc/kcore",
    "/proc/keys",        "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
    "/proc/sched_debug", "/proc/scsi",          "/sys/firmware",    "/sys/devices/virtual/powercap"};
constexpr const char* readonly_paths[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                          "/proc/sysrq-trigger"};

template <class List>
void strings(json::Writer& w, std::string_view key, const List& list) {
  w.key(key).begin_array();
  for (const auto& item : list) w.string(item);
  w.end_array();
}

void mount(json::Writer& w, std::string_view target, std::string_view type, std::string_view source,
           std::initializer_list<std::string_view> options) {
  w.begin_object().field("destination", target).field("type", type).field("source", source);
  strings(w, "options", options);
  w.end_object();
}

void environment(json::Writer& w, const SpecInput& in) {
  auto given = [&](std::string_view name) {
    return std::any_of(in.container.env.begin(), in.container.env.end(),
                       [&](const auto& e) { return e.first == name; });
  };
  w.key("env").begin_array();
  if (!given("PATH")) w.string("PATH=" + std::string(default_path));
  if (!given("HOSTNAME") && !in.sandbox.hostname.empty()) w.string("HOSTNAME=" + in.sandbox.hostname);
  if (!given("TERM") && in.container.tty) w.string("TERM=xterm");
  for (const auto& [name, value] : in.container.env) w.string(name + "=" + value);
  if (!given("HOME")) w.string("HOME=" + in.user.home);
  w.end_array();
}

void process_members(json::Writer& w, const SpecInput& in) {
  const ContainerConfig& c = in.container;
  w.key("user")
      .begin_object()
      .field("uid", static_cast<int64_t>(in.user.uid))
      .field("gid", static_cast<int64_t>(in.user.gid));
  if (!in.user.groups.empty()) {
    w.key("additionalGids").begin_array();
    for (uint32_t gid : in.user.groups) w.number(gid);
    w.end_array();
  }
  w.end_object();
  environment(w, in);
  w.field("cwd", c.cwd.empty() ? std::string_view("/") : std::string_view(c.cwd));
  w.key("capabilities").begin_object();
  strings(w, "bounding", in.capabilities);
  // A user other than root gets them by files with capabilities only, as everywhere else.
  static const std::vector<std::string> none;
  strings(w, "effective", in.user.uid == 0 ? in.capabilities : none);
  strings(w, "permitted", in.user.uid == 0 ? in.capabilities : none);
  w.end_object();
  w.field("noNewPrivileges", !c.allow_privilege_escalation && !c.privileged);
  w.field("oomScoreAdj", std::max(c.oom_score_adj, in.min_oom_score_adj));
}

std::string_view propagation(BindMount::Propagation p) {
  switch (p) {
    case BindMount::Propagation::host_to_container:
      return "rslave";
    case BindMount::Propagation::bidirectional:
      return "rshared";
    default:
      return "rprivate";
  }
}

std::string_view access_option(const BindMount& m, bool kernel_recurses) {
  using Recursive = BindMount::Recursive;
  if (!m.read_only) return "rw";
  if (m.recursive_read_only == Recursive::yes) return "rro";
  return m.recursive_read_only == Recursive::if_possible && kernel_recurses ? "rro" : "ro";
}

void mounts(json::Writer& w, const SpecInput& in) {
  const ContainerConfig& c = in.container;
  std::string_view ro = c.privileged ? "rw" : "ro";
  w.key("mounts").begin_array();
  mount(w, "/proc", "proc", "proc", {"nosuid", "noexec", "nodev"});
  mount(w, "/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"});
  mount(w, "/dev/pts", "devpts", "devpts",
        {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"});
  mount(w, "/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"});
  mount(w, "/dev/shm", "bind", in.shm_path.empty() ? "/dev/shm" : std::string_view(in.shm_path),
        {"rbind", "rprivate", "rw"});
  if (in.bind_sysfs) {
    // With all that is mounted below (tracefs, debugfs, ...): "ro" alone would leave those writable.
    mount(w, "/sys", "bind", "/sys",
          {"rbind", "rprivate", "nosuid", "noexec", "nodev", c.privileged ? "rw" : "rro"});
  } else {
    mount(w, "/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", ro});
  }
  mount(w, "/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "noexec", "nodev", "relatime", ro});
  std::vector<size_t> order(c.mounts.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  auto depth = [&](size_t i) {
    return std::count(c.mounts[i].target.begin(), c.mounts[i].target.end(), '/');
  };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return depth(a) < depth(b); });
  for (size_t i : order) {
    const BindMount& m = c.mounts[i];
    mount(w, m.target, "bind", i < in.mount_sources.size() ? in.mount_sources[i] : m.source,
          {"rbind", propagation(m.propagation), access_option(m, in.recursive_read_only)});
  }
  w.end_array();
}

void namespaces(json::Writer& w, const SpecInput& in) {
  auto entry = [&](std::string_view type, std::string_view path) {
    w.begin_object().field("type", type);
    if (!path.empty()) w.field("path", path);
    w.end_object();
  };
  w.key("namespaces").begin_array();
  entry("mount", "");
  if (!in.sandbox.host_pid) entry("pid", "");
  if (!in.sandbox.host_ipc) entry("ipc", in.ns_dir + "/ipc");
  if (!in.sandbox.host_network) entry("network", in.ns_dir + "/net");
  if (!in.sandbox.host_network) entry("uts", in.ns_dir + "/uts");
  if (in.cgroup_v2 && !in.container.privileged) entry("cgroup", "");
  w.end_array();
}

void devices(json::Writer& w, const SpecInput& in) {
  if (!in.container.privileged) return;
  w.key("devices").begin_array();
  for (const SpecDevice& d : in.devices) {
    w.begin_object().field("path", d.path).field("type", d.block ? "b" : "c");
    w.field("major", static_cast<int64_t>(d.major)).field("minor", static_cast<int64_t>(d.minor));
    w.field("fileMode", static_cast<int64_t>(d.mode)).field("uid", static_cast<int64_t>(d.uid));
    w.field("gid", static_cast<int64_t>(d.gid)).end_object();
  }
  w.end_array();
}

void resources(json::Writer& w, const SpecInput& in) {
  const Resources& r = in.container.resources;
  w.key("resources").begin_object();
  w.key("devices").begin_array().begin_object();
  w.field("allow", in.container.privileged).field("access", "rwm").end_object().end_array();
  w.key("cpu").begin_object().field("shares", cpu_shares(r.cpu_millis_request));
  if (r.cpu_millis_limit > 0) {
    w.field("quota", cpu_quota_us(r.cpu_millis_limit)).field("period", cpu_period_us);
  }
  w.end_object();
  if (r.memory_limit_bytes > 0)
    w.key("memory").begin_object().field("limit", r.memory_limit_bytes).end_object();
  w.key("pids")
      .begin_object()
      .field("limit", r.pids_limit > 0 ? r.pids_limit : in.default_pids_limit)
      .end_object();
  if (in.cgroup_v2 && r.memory_limit_bytes > 0) {
    // One process out of memory takes the container with it, as Kubernetes does on v2.
    w.key("unified").begin_object().field("memory.oom.group", "1").end_object();
  }
  w.end_object();
}

void linux_part(json::Writer& w, const SpecInput& in) {
  const ContainerConfig& c = in.container;
  w.key("linux").begin_object();
  namespaces(w, in);
  w.field("cgroupsPath", in.cgroups_path);
  resources(w, in);
  devices(w, in);
  BindMount::Propagation widest = BindMount::Propagation::none;
  for (const BindMount& m : c.mounts) widest = std::max(widest, m.propagation);
  w.field("rootfsPropagation", propagation(widest));
  if (!c.privileged) {
    if (!c.unmasked_proc) {
      strings(w, "maskedPaths", masked_paths);
      strings(w, "readonlyPaths", readonly_paths);
    }
    if (!c.seccomp_profile_json.empty()) {
      w.key("seccomp").raw(c.seccomp_profile_json);
    } else if (!c.seccomp_unconfined) {
      w.key("seccomp").raw(default_seccomp(in.capabilities, in.arch));
    }
  }
  w.end_object();
}

}  // namespace

Result<std::string> oci_spec(const SpecInput& in) {
  CHECK_OK(validate(in.container));
  json::Writer w;
  w.begin_object().field("ociVersion", "1.0.2");
  w.key("root")
      .begin_object()
      .field("path", "rootfs")
      .field("readonly", in.container.read_only_root)
      .end_object();
  w.key("process").raw(exec_process(process_base(in), in.container.args, in.container.tty));
  mounts(w, in);
  linux_part(w, in);
  w.end_object();
  return w.take();
}

std::string process_base(const SpecInput& in) {
  json::Writer w;
  w.begin_object();
  process_members(w, in);
  w.end_object();
  return w.take();
}

std::string exec_process(std::string_view base, const std::vector<std::string>& args, bool tty) {
  json::Writer w;
  w.begin_object().field("terminal", tty);
  strings(w, "args", args);
  std::string text = w.take();
  if (base.size() > 2)
    text.append(",").append(base.substr(1));
  else
    text.append("}");
  return text;
}

}  // namespace limpet::node
