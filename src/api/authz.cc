#include "api/authz.h"

#include "api/node_authz.h"

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

Decision yes_if(bool so) { return {so ? Decision::Is::allowed : Decision::Is::denied}; }

}  // namespace

Decision authorize(const User& user, const RequestInfo& info, const NodeGraph& graph) {
  if (!info.is_resource && health_path(info.path)) return yes_if(true);
  if (user.anonymous()) return yes_if(false);
  if (user.in(kMastersGroup)) return yes_if(true);
  if (user.in(kBootstrappersGroup))
    return yes_if(!info.is_resource && info.verb == "post" && info.path == kJoinPath);
  bool read = info.verb == "get" || info.verb == "head";
  if (!info.is_resource && read && discovery_path(info.path)) return yes_if(true);
  if (info.is_resource && self_review(info)) return yes_if(true);
  if (user.in(kReadersGroup)) {
    if (!info.is_resource) return yes_if(read && info.path == "/metrics");
    return yes_if(info.read_only() && !hidden_from_readers(info));
  }
  if (std::optional<std::string> node = node_of(user)) return authorize_node(user.name, *node, info, graph);
  return yes_if(false);
}

std::string denial(const User& user, const RequestInfo& info, std::string_view reason) {
  std::string resource = info.resource;
  if (!info.subresource.empty()) resource += "/" + info.subresource;
  std::string out = "User \"" + user.name + "\" cannot " + info.verb + " resource \"" + resource +
                    "\" in API group \"" + info.group + "\"";
  out += info.ns.empty() ? std::string(" at the cluster scope") : " in the namespace \"" + info.ns + "\"";
  return reason.empty() ? out : out.append(": ").append(reason);
}

}  // namespace limpet::api
