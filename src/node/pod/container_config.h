// From pod, container, image and volumes to what the runtime room is asked to make. Pure: everything that has
// to be looked up comes in.
#pragma once

#include <map>
#include <string>

#include "node/pod/env.h"
#include "node/pod/spec.h"
#include "node/runtime/runtime.h"
#include "node/services.h"

namespace limpet::node {

struct ContainerInputs {
  DownwardFacts facts;
  FindObject find;
  ImageRoot image;
  std::map<std::string, std::string> volumes;                          // volume name to host path
  std::string etc_hosts, resolv_conf, hostname_file, termination_log;  // host paths; empty: not mounted
  std::map<std::string, std::string> localhost_profiles;  // seccomp: localhostProfile to its text
};

// id, log_path and meta are the caller's. Errors are CreateContainerConfigError's.
Result<ContainerConfig> container_config(const PodSpec& pod, const ContainerSpec& container,
                                         const ContainerInputs& in);

// Of the pod's cgroup: the sums of its containers.
Resources pod_limits(const PodSpec& pod);
Resources container_resources(json::Cursor container);

// https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/#node-out-of-memory-behavior
int oom_score_adj(const std::string& qos_class, int64_t memory_request, int64_t node_memory);

}  // namespace limpet::node
