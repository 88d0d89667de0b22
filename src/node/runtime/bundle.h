// What a pod and a container are on disk, made and undone in steps. Blocking: runs on the pool; no state but
// the files.
//
//   RUN/pods/UID/pod.json             the sandbox's record, written first
//   RUN/pods/UID/ns/{net,ipc,uts}     bind mounts that hold the namespaces
//   RUN/pods/UID/shm                  tmpfs, /dev/shm of all containers
//   RUN/pods/UID/c/ID/container.json  the container's record, written first
//   RUN/pods/UID/c/ID/{config.json,rootfs,process.json,sub/N,status.json,shim.sock,...}
//   RUN/runtime                       state of crun or runc (--root)
//   DATA/containers/ID/{upper,work}   the writable layer
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "node/runtime/cgroup.h"
#include "node/runtime/runtime.h"

namespace limpet::node {

struct Places {
  std::string run_dir, data_dir, cgroup_root;

  std::string pods() const { return run_dir + "/pods"; }
  std::string pod(const std::string& uid) const { return pods() + "/" + uid; }
  std::string ns(const std::string& uid) const { return pod(uid) + "/ns"; }
  std::string shm(const std::string& uid) const { return pod(uid) + "/shm"; }
  std::string container(const std::string& uid, const std::string& id) const { return pod(uid) + "/c/" + id; }
  std::string runtime_root() const { return run_dir + "/runtime"; }
  std::string layers() const { return data_dir + "/containers"; }
  std::string layer(const std::string& id) const { return layers() + "/" + id; }
  std::string pod_cgroup(const std::string& uid) const { return cgroup_root + "/pod" + uid; }
  std::string cgroup(const std::string& uid, const std::string& id) const {
    return pod_cgroup(uid) + "/" + id;
  }
  std::string shim_cgroup() const { return cgroup_root + "/shims"; }
};

// Everything the pool thread needs, owned by it.
struct BundleJob {
  Places places;
  std::shared_ptr<const Cgroups> cgroups;
  SandboxConfig sandbox;
  ContainerConfig container;
  int64_t default_pids_limit = 0;
};

SandboxInfo sandbox_info(const Places& places, const SandboxConfig& config);

// Directories, record and cgroup of a pod; the namespaces are made by limpet-shim afterwards.
Result<> prepare_pod(const BundleJob& job);
Result<> release_pod(const BundleJob& job);

// The steps, in order: record, root, volumes, spec. Stops at the first error; release_container() undoes
// whatever was done, also when nothing was.
Result<> prepare_container(const BundleJob& job);
Result<> release_container(const BundleJob& job);

// ---- what is found at start
// -------------------------------------------------------------------------------------

struct FoundContainer {
  ContainerConfig config;  // what the record holds: id, pod_uid, meta, log_path, tty, stdin
  ContainerStatus status;
  bool shim_alive = false;
};

struct Found {
  std::vector<SandboxConfig> sandboxes;
  std::vector<FoundContainer> containers;
  std::vector<std::string> problems;
};

// Reads all records; removes what another boot or an interrupted step left; kills containers without a shim.
Found scan(const Places& places, const Cgroups& cgroups);

// The shim's status text. The message of a broken one is an error.
Result<ContainerStatus> parse_status(std::string_view json);

}  // namespace limpet::node
