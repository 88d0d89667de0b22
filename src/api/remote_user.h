// The authenticated user in the headers of a forwarded request, from one server of a cluster to another:
// those of Kubernetes' front proxy, and what a token hangs on.
// https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/
//
//   X-Remote-User: NAME   X-Remote-Uid: UID   X-Remote-Group: GROUP   X-Remote-Extra-KEY: VALUE
//   X-Limpet-Bound: KEY UID
//
// Names come from certificates and tokens and may hold anything: bytes that are not visible ASCII, '%' and
// spaces are percent-encoded in values, all but unreserved characters in KEY. Believed on connections of
// servers only (http::Peer::Kind::forwarded).
#pragma once

#include "api/user.h"
#include "base/result.h"
#include "http/message.h"

namespace limpet::api {

void write_remote_user(http::Headers& headers, const User& user);
// Hostile bytes are an error (unauthenticated), as is a missing name.
Result<User> read_remote_user(const http::Headers& headers);

}  // namespace limpet::api
