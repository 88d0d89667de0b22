// Kubernetes' Status object: how every failure (and a few successes) of the API is told to clients.
//
// Clients branch on `reason` and `code`, people read `message`; the wording follows upstream's errors
// package, since scripts match on it. Values, no state.
// https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "schema/types.h"

namespace limpet::api {

struct Cause {
  std::string reason, message, field;
};

struct Status {
  int code = 200;
  std::string reason;  // empty: success
  std::string message;
  std::string name, group, kind, uid;  // details
  std::vector<Cause> causes;
  int retry_after_s = 0;       // also sent as Retry-After: only when the request was certainly not done
  std::string continue_token;  // metadata.continue of an expired list

  std::string json() const;
};

template <class T = void>
using Outcome = std::expected<T, Status>;

// "pods", "deployments.apps": how messages name a resource; the same for kinds.
std::string qualified(std::string_view name, std::string_view group);

namespace status {

Status bad_request(std::string message);
Status unauthorized();
// `what` is "pods" or "pods \"web\"" with its group.
Status forbidden(const schema::Resource& r, std::string_view name, std::string_view why);
Status forbidden_path(std::string_view user, std::string_view verb, std::string_view path);
Status not_found(const schema::Resource& r, std::string_view name);
Status no_such_path();
Status method_not_allowed();
Status not_acceptable(std::string_view accepted);
Status conflict(const schema::Resource& r, std::string_view name, std::string_view why);
Status modified(const schema::Resource& r, std::string_view name);
Status already_exists(const schema::Resource& r, std::string_view name);
Status expired(std::string message);
Status too_large_version(int64_t asked, int64_t current);
Status entity_too_large(std::string message);
Status unsupported_media_type(std::string_view accepted);
Status invalid(std::string_view group, std::string_view kind, std::string_view name,
               std::vector<Cause> causes);
Status too_many_requests(std::string message, int retry_after_s);
Status internal(std::string_view why);
Status unavailable(std::string message, int retry_after_s);
Status timeout(std::string message);
// The answer to a deletion that is done.
Status deleted(const schema::Resource& r, std::string_view name, std::string_view uid);
// A failure of the store (or another room) while serving: what is certain decides between 503 and 504.
Status from_error(const Error& e);
// A failure of the device that runs a pod, in its own words.
Status from_device(const Error& e);

}  // namespace status
}  // namespace limpet::api
