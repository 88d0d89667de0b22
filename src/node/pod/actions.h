// compute_actions(pod, state, now): what the worker of a pod does next, as a value that can be printed and
// compared.
//
// Pure. The worker carries the actions out, marks in the state what is under way, and asks again after each
// outcome, each change of the pod and at `wake_ms`. Asking again without a change in between gives the same
// actions.
//
//   volumes -> sandbox -> network -> init containers one by one (sidecars stay) -> containers
//   end: containers stop (sidecars last, in reverse) -> removed -> network -> sandbox -> volumes
//
// Sources: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/ and .../sidecar-containers/
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "node/pod/spec.h"
#include "node/pod/state.h"

namespace limpet::node {

struct Stop {
  std::string container;
  int64_t grace_s = 30;
  std::string message;
};

// A waiting container whose reason changes without anything being done ("CrashLoopBackOff").
struct Wait {
  std::string container, reason, message;
};

struct PodActions {
  bool prepare_volumes = false;
  bool create_sandbox = false;
  bool attach_network = false;
  std::vector<std::string> start;  // pull if need be, create, start
  std::vector<Stop> stop;
  std::vector<Wait> wait;
  bool clean_up = false;           // remove containers, network, sandbox, volumes
  bool confirm_deletion = false;   // all is gone: delete the object with grace period 0
  bool now_initialized = false;    // every init container is through
  std::optional<PodFailure> fail;  // end the pod for this reason
  int64_t wake_ms = -1;            // ask again then at the latest; -1: only after an event

  std::string text() const;  // one line, for tests and debug logs
};

PodActions compute_actions(const PodSpec& pod, const PodState& state, int64_t now_ms);

// Whether every container ended for good under the restart policy, so that the pod is Succeeded or Failed.
bool has_ended(const PodSpec& pod, const PodState& state);

}  // namespace limpet::node
