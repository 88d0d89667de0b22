// From stored bytes to the scheduler's values. Bytes come from the store and were validated on their way in;
// whatever is missing or of an unexpected type reads as absent.
#pragma once

#include "base/json.h"
#include "scheduler/types.h"

namespace limpet::scheduler {

PodInfo read_pod(json::Cursor pod);
NodeInfo read_node(json::Cursor node);

// What a pod asks for: the larger of all containers together and any init container with the sidecars started
// before it, plus overhead
// (https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers).
Amounts pod_requests(json::Cursor pod);

}  // namespace limpet::scheduler
