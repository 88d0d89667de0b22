#include "node/runtime/bundle.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>

#include "base/atomic_file.h"
#include "base/failpoint.h"
#include "base/json.h"
#include "base/tree.h"
#include "base/unique_fd.h"
#include "node/runtime/capabilities.h"
#include "node/runtime/oci_spec.h"
#include "node/runtime/records.h"
#include "node/runtime/rootfs.h"
#include "node/runtime/seccomp.h"
#include "node/runtime/user.h"

namespace limpet::node {
namespace {

struct Making {
  const BundleJob& job;
  std::string dir;
  std::vector<std::string> mount_sources = {};
};

Result<> touch(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return fail_errno(errno, path);
  return {};
}

// Without a reader there is no crash to be safe from: these files die with the boot.
Result<> write_plain(const std::string& path, std::string_view bytes) {
  UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return fail_errno(errno, path);
  while (!bytes.empty()) {
    ssize_t n = write(fd.get(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, path);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

Result<> make_record(Making& m) {
  CHECK_OK(make_directories(m.dir, 0700));
  // A disk that takes no log does not keep the container from running: the shim counts what it drops.
  const std::string& log = m.job.container.log_path;
  if (!log.empty()) (void)make_directories(log.substr(0, log.rfind('/')), 0755).has_value();
  return write_file_atomic(m.dir + "/container.json", container_record(m.job.container), 0600,
                           "runtime.record.write");
}

Result<> make_root(Making& m) {
  std::string layer = m.job.places.layer(m.job.container.id);
  for (const char* part : {"/upper", "/work"}) CHECK_OK(make_directories(layer + part, 0700));
  // The container's user must be able to enter its own root directory; the mode is the merged root's.
  if (chmod((layer + "/upper").c_str(), 0755) != 0) return fail_errno(errno, layer);
  CHECK_OK(make_directories(m.dir + "/rootfs", 0755));
  return mount_overlay(m.job.container.lower_dirs, layer + "/upper", layer + "/work", m.dir + "/rootfs");
}

Result<> make_volumes(Making& m) {
  for (const BindMount& mount : m.job.container.mounts) {
    std::string source = mount.source;
    if (!mount.sub_path.empty()) {
      CHECK_OK(make_directories(m.dir + "/sub", 0700));
      std::string holder = m.dir + "/sub/" + std::to_string(m.mount_sources.size());
      CHECK_OK(bind_sub_path(mount.source, mount.sub_path, holder,
                             mount.propagation == BindMount::Propagation::bidirectional));
      source = holder;
    } else if (access(source.c_str(), F_OK) != 0) {
      return fail(Errc::invalid_argument, "mount source " + source + " does not exist");
    }
    m.mount_sources.push_back(std::move(source));
  }
  return {};
}

uint64_t own_capabilities() {
  Result<std::string> status = read_file("/proc/self/status", 65536);
  size_t at = status ? status->find("CapPrm:\t") : std::string::npos;
  return at != std::string::npos ? strtoull(status->c_str() + at + 8, nullptr, 16) : 0;
}

// Lowering needs CAP_SYS_RESOURCE; without it our own value is the least one that can be had.
int least_oom_score_adj() {
  if ((own_capabilities() >> 24 & 1) != 0) return -1000;
  Result<std::string> own = read_file("/proc/self/oom_score_adj", 64);
  int value = 0;
  if (own) std::from_chars(own->data(), own->data() + own->size(), value);
  return value;
}

Result<> make_spec(Making& m) {
  const ContainerConfig& c = m.job.container;
  SpecInput in{.container = c, .sandbox = m.job.sandbox};
  TRY(in.user, resolve_user_in(m.dir + "/rootfs", c.user));
  if (c.run_as_group >= 0) in.user.gid = static_cast<uint32_t>(c.run_as_group);
  if (c.run_as_non_root && in.user.uid == 0) {
    return fail(Errc::invalid_argument, "container has runAsNonRoot and image will run as root");
  }
  for (uint32_t gid : c.supplemental_groups) in.user.groups.push_back(gid);
  std::sort(in.user.groups.begin(), in.user.groups.end());
  in.user.groups.erase(std::unique(in.user.groups.begin(), in.user.groups.end()), in.user.groups.end());
  int last = kernel_last_capability();
  if (c.privileged) {
    in.capabilities = all_capabilities(last);
    in.devices = host_devices();
  } else {
    TRY(in.capabilities, effective_capabilities(c.add_capabilities, c.drop_capabilities, last));
  }
  // What this daemon does not have itself it cannot give (inside a container, for example).
  in.capabilities = restrict_capabilities(in.capabilities, own_capabilities());
  in.mount_sources = m.mount_sources;
  in.ns_dir = m.job.places.ns(c.pod_uid);
  in.shm_path = sandbox_info(m.job.places, m.job.sandbox).shm_path;
  in.cgroups_path = m.job.places.cgroup(c.pod_uid, c.id);
  in.arch = machine_arch();
  in.cgroup_v2 = m.job.cgroups->v2();
  in.recursive_read_only = has_mount_setattr();
  in.bind_sysfs = m.job.sandbox.host_network && !may_mount_sysfs();
  in.min_oom_score_adj = least_oom_score_adj();
  in.default_pids_limit = m.job.default_pids_limit;
  TRY(std::string spec, oci_spec(in));
  CHECK_OK(write_plain(m.dir + "/config.json", spec));
  return write_plain(m.dir + "/process.json", process_base(in));
}

struct Step {
  const char* name;  // also the failpoint
  Result<> (*make)(Making&);
};
constexpr Step steps[] = {{"runtime.record", make_record},
                          {"runtime.root", make_root},
                          {"runtime.volumes", make_volumes},
                          {"runtime.spec", make_spec}};

// Goes on after an error, and reports the first.
class Undoing {
 public:
  void step(Result<> r) {
    if (!r && result_) result_ = std::move(r);
  }
  bool clean() const { return result_.has_value(); }
  Result<> result() { return std::move(result_); }

 private:
  Result<> result_;
};

}  // namespace

SandboxInfo sandbox_info(const Places& places, const SandboxConfig& config) {
  SandboxInfo info;
  if (!config.host_network) info.netns_path = places.ns(config.pod_uid) + "/net";
  if (!config.host_ipc) info.shm_path = places.shm(config.pod_uid);
  return info;
}

Result<> prepare_pod(const BundleJob& job) {
  const SandboxConfig& c = job.sandbox;
  std::string dir = job.places.pod(c.pod_uid);
  if (LIMPET_FAILPOINT("runtime.sandbox.before")) return fail(Errc::io, "failpoint runtime.sandbox.before");
  CHECK_OK(make_directories(dir, 0700));
  CHECK_OK(write_file_atomic(dir + "/pod.json", sandbox_record(c), 0600, "runtime.sandbox.record"));
  CHECK_OK(make_directories(dir + "/ns", 0700));
  CHECK_OK(make_directories(dir + "/c", 0700));
  for (const char* kind : {"net", "ipc", "uts"}) CHECK_OK(touch(dir + "/ns/" + kind));
  CHECK_OK(make_directories(dir + "/shm", 0700));
  CHECK_OK(job.cgroups->create(job.places.shim_cgroup(), {}));
  return job.cgroups->create(job.places.pod_cgroup(c.pod_uid), c.limits);
}

Result<> release_pod(const BundleJob& job) {
  std::string uid = job.sandbox.pod_uid;
  if (LIMPET_FAILPOINT("runtime.sandbox.release")) return fail(Errc::io, "failpoint runtime.sandbox.release");
  Undoing undo;
  for (const char* kind : {"net", "ipc", "uts"}) undo.step(unmount(job.places.ns(uid) + "/" + kind));
  undo.step(unmount(job.places.shm(uid)));
  undo.step(job.cgroups->remove(job.places.pod_cgroup(uid)));
  if (undo.clean()) undo.step(remove_tree(job.places.pod(uid)));
  return undo.result();
}

Result<> prepare_container(const BundleJob& job) {
  Making making{job, job.places.container(job.container.pod_uid, job.container.id)};
  for (const Step& step : steps) {
    if (LIMPET_FAILPOINT(step.name)) return fail(Errc::io, std::string("failpoint ") + step.name);
    CHECK_OK(step.make(making));
  }
  return {};
}

Result<> release_container(const BundleJob& job) {
  const ContainerConfig& c = job.container;
  std::string dir = job.places.container(c.pod_uid, c.id);
  if (LIMPET_FAILPOINT("runtime.release")) return fail(Errc::io, "failpoint runtime.release");
  kill_shim(dir);
  Undoing undo;
  job.cgroups->kill_all(job.places.cgroup(c.pod_uid, c.id));
  undo.step(job.cgroups->remove(job.places.cgroup(c.pod_uid, c.id)));
  for (const std::string& holder : list_directory(dir + "/sub")) undo.step(unmount(dir + "/sub/" + holder));
  undo.step(unmount(dir + "/rootfs"));
  // The runtime's `delete` has done it, unless the container was not known well enough to ask for that.
  if (undo.clean()) undo.step(remove_tree(job.places.runtime_root() + "/" + c.id));
  // The record goes last: until then a restart finds the container and comes back here.
  if (undo.clean()) undo.step(remove_tree(job.places.layer(c.id)));
  if (undo.clean()) undo.step(remove_tree(dir));
  return undo.result();
}

}  // namespace limpet::node
