// Which labels a device may give its own Node. Pure.
//
// Labels below node-restriction.kubernetes.io, and labels of Kubernetes that are not about what a device
// knows of itself, are for administrators: a device that was taken over must not draw workloads to itself
// with them. https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction
#pragma once

#include <string_view>

namespace limpet::schema {

bool node_may_set_label(std::string_view key);

// Of the Nodes of servers.
inline constexpr std::string_view kServerLabel = "node-role.kubernetes.io/control-plane";

// node-role.kubernetes.io/...: what a server may say of itself beside that.
bool is_role_label(std::string_view key);

}  // namespace limpet::schema
