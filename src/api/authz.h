// May this user do this? A pure function of user and request, until RBAC objects arrive.
//
// system:masters may everything. The group `limpet` (people with access to the device's socket) reads
// everything but Secrets. Everybody known may discover the API and review themselves. Nobody else may
// anything.
#pragma once

#include "api/request_info.h"
#include "api/user.h"

namespace limpet::api {

bool authorized(const User& user, const RequestInfo& info);

// "User "x" cannot list resource "pods" in API group "" in the namespace "default"", the part after "is
// forbidden: ".
std::string denial(const User& user, const RequestInfo& info);

}  // namespace limpet::api
