// What a server asks the node service of the device that runs a pod, as HTTP, and what it is told. Pure; both
// ends use it, and may be of different versions: what is not known is ignored, what is missing has its
// default.
//
//   GET /containerLogs/NAMESPACE/POD/UID/CONTAINER?OPTIONS   text; the options of pods/NAME/log
//   GET /exec/NAMESPACE/POD/UID/CONTAINER?OPTIONS            WebSocket v5.channel.k8s.io; those of
//   pods/NAME/exec GET /attach/NAMESPACE/POD/UID/CONTAINER?OPTIONS          likewise
//
// The kubelet's paths, with its query. Failures are Status objects.
#pragma once

#include <string>
#include <string_view>

#include "api/node_access.h"
#include "api/status.h"
#include "http/message.h"

namespace limpet::daemon {

constexpr const char* node_exec_protocol = "v5.channel.k8s.io";

struct NodeCall {
  enum class Verb { logs, exec, attach } verb = Verb::logs;
  api::ContainerRef container;  // its node is not part of the call
  api::LogOptions log;          // verb logs
  api::ExecRequest exec;        // the others
};

// Path and query.
std::string node_target(const api::ContainerRef& container, const api::LogOptions& options);
std::string node_target(const api::ContainerRef& container, const api::ExecRequest& request);
api::Outcome<NodeCall> read_node_call(std::string_view path, const http::Query& query);

// How an exec or attach ended: the Status at the end of its channel. One that cannot be read is an error: an
// end that nobody understood is no exit code.
std::string exec_end(const Result<int>& exit);
Result<int> read_exec_end(std::string_view status);

}  // namespace limpet::daemon
