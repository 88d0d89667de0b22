// What a device may do with its own certificate: read the pods that are bound to it and what they mention,
// and write its Node, its lease, its pods' status and events. After upstream's node authorizer, rule by rule
// and word by word: https://kubernetes.io/docs/reference/access-authn-authz/node/
// https://github.com/kubernetes/kubernetes/blob/master/plugin/pkg/auth/authorizer/node/node_authorizer.go
//
// Pure. What depends on the object that is written is left to node_restriction.h, as it is there.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "api/authz.h"
#include "api/node_graph.h"
#include "api/request_info.h"
#include "api/user.h"

namespace limpet::api {

// Where a device says that it is alive (heartbeat.h).
inline constexpr std::string_view kHeartbeatPath = "/limpet/v1/heartbeat";

// Whether the user is a device, and which: empty when its name does not tell.
std::optional<std::string> node_of(const User& user);

// `node` may be empty: then nothing is allowed. `unsure` when a pod that the graph has not heard of yet could
// allow it.
Decision authorize_node(const std::string& user, const std::string& node, const RequestInfo& info,
                        const NodeGraph& graph);

}  // namespace limpet::api
