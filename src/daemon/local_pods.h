// What the unix socket tells of the pods of this device beyond the API, and does with them: what the node
// agent waits for, and a restart. It works cut off from the rest of the cluster.
//
//   GET  /limpet/v1/pods/NAMESPACE/POD
//        {"steps":[{"name":"volumes","done":false,"message":"...","retryInSeconds":9}, ...],
//         "containers":[{"name":"app","phase":"exited","retryInSeconds":40}]}//   POST
//         /limpet/v1/pods/NAMESPACE/POD/restart
//        {"containers":["app"]}; 409 when the pod has ended or is being deleted
#pragma once

#include "base/clock.h"
#include "http/message.h"
#include "node/agent.h"

namespace limpet::daemon {

// Answers one request at once.
void serve_local_pods(const http::ExchangePtr& exchange, node::Agent& agent, Clock& clock);

}  // namespace limpet::daemon
