// Runs the handler of a probe or a life cycle hook once: exec in the container, HTTP GET, TCP connect, gRPC
// health check.
//
// Bounded in time and output; redirects are not followed to another host (a probe must not become a way to
// reach what the pod cannot). https://kubernetes.io/docs/concepts/workloads/pods/probes/
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "http/client.h"
#include "node/pod/spec.h"
#include "node/runtime/runtime.h"
#include "node/services.h"

namespace limpet::node {

struct ProbeOutcome {
  bool success = false;
  std::string
      message;  // at most 1 KB: what failed, as events show it ("HTTP probe failed with statuscode: 500")
  bool unknown = false;  // the handler could not be run: nothing is known of the container
};

struct ProbeTarget {
  std::string container_id;        // exec
  std::string pod_ip;              // http, tcp, grpc; the device's own address with the host network
  json::Cursor container;          // its ports, for handlers that name one; read before run_handler() returns
  http::Dialer* dialer = nullptr;  // for HTTPS; without one such a probe fails
};

// `done` comes once unless the operation is destroyed first; not before the call returns.
[[nodiscard]] std::unique_ptr<Operation> run_handler(loop::Loop& loop, Runtime& runtime,
                                                     const Handler& handler, const ProbeTarget& target,
                                                     int64_t timeout_ms,
                                                     std::function<void(ProbeOutcome)> done);

}  // namespace limpet::node
