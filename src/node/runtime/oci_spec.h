// From what a container should be to the runtime's config.json. Pure: text in, text out; all looking up
// (user, devices, capabilities of the kernel, mounts resolved) happened before.
//
// Always there: default masked and read-only paths, the capability list, seccomp, noNewPrivileges, a pids
// limit and a device allow-list, unless the container is privileged. Source: OCI runtime specification 1.0.2.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "node/runtime/runtime.h"
#include "node/runtime/user.h"

namespace limpet::node {

struct SpecDevice {
  std::string path;
  bool block = false;
  uint32_t major = 0, minor = 0, mode = 0, uid = 0, gid = 0;
};

struct SpecInput {
  const ContainerConfig& container;
  const SandboxConfig& sandbox;
  ProcessUser user;
  std::vector<std::string> capabilities;
  std::vector<SpecDevice> devices;         // of the host, for privileged containers
  std::vector<std::string> mount_sources;  // one per container.mounts, sub paths resolved
  std::string ns_dir;                      // holds net, ipc, uts
  std::string shm_path;
  std::string cgroups_path;
  std::string arch;
  bool cgroup_v2 = false;
  bool recursive_read_only = true;  // the kernel knows how to
  bool bind_sysfs = false;          // the kernel lets us mount no sysfs of our own: the device's is shown
  int min_oom_score_adj = -1000;    // lower ones are not permitted here
  int64_t default_pids_limit = 1024;
};

// Checks what does not depend on the root file system. The error (invalid_argument) names the field.
Result<> validate(const ContainerConfig& config);
Result<> validate(const SandboxConfig& config);

Result<std::string> oci_spec(const SpecInput& input);

// The `process` object without args and terminal, for later execs; and the whole one.
std::string process_base(const SpecInput& input);
std::string exec_process(std::string_view base, const std::vector<std::string>& args, bool tty);

// Namespaced sysctls only; with the host's network or IPC not even those.
Result<> check_sysctl(const std::string& name, bool host_network, bool host_ipc);

}  // namespace limpet::node
