// May this user do this? A pure function of user, request, and what the pods of devices mention, until RBAC
// objects arrive.
//
// system:masters may everything. The group `limpet` (people with access to the device's socket) reads
// everything but Secrets. A device (group system:nodes) may do what node_authz.h says. A join token (group
// system:bootstrappers) may ask to join, and nothing else. Everybody else that is known may discover the API
// and review themselves. Nobody else may anything.
#pragma once

#include <string>

#include "api/node_graph.h"
#include "api/request_info.h"
#include "api/user.h"

namespace limpet::api {

inline constexpr std::string_view kBootstrappersGroup = "system:bootstrappers";
inline constexpr std::string_view kJoinPath = "/limpet/v1/join";

struct Decision {
  // `unsure`: no, unless the graph has missed something (node_graph_feed.h, catch_up).
  enum class Is { allowed, denied, unsure } is = Is::denied;
  std::string reason = {};  // of a refusal, where there is more to say than that it is one
  bool allowed() const { return is == Is::allowed; }
};

Decision authorize(const User& user, const RequestInfo& info, const NodeGraph& graph);

// "User "x" cannot list resource "pods" in API group "" in the namespace "default": REASON", the part after
// "is forbidden: ".
std::string denial(const User& user, const RequestInfo& info, std::string_view reason);

}  // namespace limpet::api
