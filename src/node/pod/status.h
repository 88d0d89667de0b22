// pod_status(pod, state, ...): the status object that the node reports for a pod. Pure; equal inputs give
// equal text, so that the caller writes only what differs.
//
// Phases, conditions, reasons and container states as `kubectl describe` shows them:
// https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "node/pod/spec.h"
#include "node/pod/state.h"

namespace limpet::node {

struct HostInfo {
  std::vector<std::string> ips;  // of the device, primary first
};

// `previous` is the status in the API: times of conditions that did not change, conditions of others
// (readiness gates) and fields this device does not own are kept from it.
json::Value pod_status(const PodSpec& pod, const PodState& state, const HostInfo& host, json::Cursor previous,
                       WallTime now);

// "Pending", "Running", "Succeeded", "Failed"
std::string pod_phase(const PodSpec& pod, const PodState& state);

// Whether the condition is this device's to write (all others are kept as found).
bool is_own_condition(std::string_view type);

// A container's ready and started as reported: running, its probes passed.
bool is_ready(const ContainerRecord& record);

}  // namespace limpet::node
