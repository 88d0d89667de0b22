// POST /limpet/v1/heartbeat: a device says that it is alive, which renews its lease in kube-node-lease.
//
// The same as updating that lease, for a hundredth of the bytes: no object goes either way. The body is empty
// or
// {"leaseDurationSeconds": N}, N from 10 to 3600: after how long a silence the device is to be held for dead;
// 40 when not given, as the kubelet says. Answered with 204, or 404 where there is no such Node. Only the
// device itself may (node_authz.h), and the leader alone can answer: followers forward it like what is about
// volatile kinds.
#pragma once

#include "api/context.h"

namespace limpet::api {

// False: the request is about something else.
bool serve_heartbeat(const CallPtr& call);

}  // namespace limpet::api
