#include "api/authz.h"

namespace limpet::api {
namespace {

bool health_path(std::string_view path) {
  for (std::string_view p : {"/livez", "/readyz", "/healthz"}) {
    if (path == p || (path.size() > p.size() && path.starts_with(p) && path[p.size()] == '/')) return true;
  }
  return false;
}

bool discovery_path(std::string_view path) {
  for (std::string_view p : {"/api", "/apis", "/openapi", "/version"}) {
    if (path == p || (path.size() > p.size() && path.starts_with(p) && path[p.size()] == '/')) return true;
  }
  return false;
}

bool self_review(const RequestInfo& i) {
  if (i.verb != "create" || !i.subresource.empty()) return false;
  if (i.group == "authorization.k8s.io") {
    return i.resource == "selfsubjectaccessreviews" || i.resource == "selfsubjectrulesreviews";
  }
  return i.group == "authentication.k8s.io" && i.resource == "selfsubjectreviews";
}

// What a reader may not see, and what a GET does to a running container.
bool hidden_from_readers(const RequestInfo& i) {
  if (i.group.empty() && i.resource == "secrets") return true;
  return i.subresource == "exec" || i.subresource == "attach" || i.subresource == "portforward" ||
         i.subresource == "proxy";
}

}  // namespace

bool authorized(const User& user, const RequestInfo& info) {
  if (!info.is_resource && health_path(info.path)) return true;
  if (user.anonymous()) return false;
  if (user.in(kMastersGroup)) return true;
  bool read = info.verb == "get" || info.verb == "head";
  if (!info.is_resource) {
    if (read && discovery_path(info.path)) return true;
    return read && info.path == "/metrics" && user.in(kReadersGroup);
  }
  if (self_review(info)) return true;
  return user.in(kReadersGroup) && info.read_only() && !hidden_from_readers(info);
}

std::string denial(const User& user, const RequestInfo& info) {
  std::string resource = info.resource;
  if (!info.subresource.empty()) resource += "/" + info.subresource;
  std::string out = "User \"" + user.name + "\" cannot " + info.verb + " resource \"" + resource +
                    "\" in API group \"" + info.group + "\"";
  if (info.ns.empty()) return out + " at the cluster scope";
  return out + " in the namespace \"" + info.ns + "\"";
}

}  // namespace limpet::api
