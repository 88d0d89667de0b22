#include "api/node_authz.h"

#include <algorithm>

#include "pki/device.h"
#include "schema/selector.h"
#include "schema/types.h"

namespace limpet::api {
namespace {

constexpr std::string_view kLeaseNamespace = "kube-node-lease";

using Is = Decision::Is;

Decision allow() { return {Is::allowed, ""}; }
Decision deny(std::string why = "") { return {Is::denied, std::move(why)}; }
Decision allow_if(bool so) { return so ? allow() : deny(); }

struct Asked {
  const std::string& node;
  const RequestInfo& info;
  const NodeGraph& graph;

  bool verb(std::initializer_list<std::string_view> verbs) const {
    return std::find(verbs.begin(), verbs.end(), info.verb) != verbs.end();
  }

  // The selector as list and watch read it; one that they would refuse narrows nothing.
  std::optional<std::string> selected(std::string_view field) const {
    if (info.field_selector.empty()) return std::nullopt;
    const schema::Resource* r = schema::find_resource(info.group, info.version, info.resource);
    if (!r) r = schema::find_resource(info.group, "v1", info.resource);  // a review may leave the version out
    if (!r) return std::nullopt;
    std::vector<std::string_view> selectable;
    for (std::string_view f : r->selectable_fields()) selectable.push_back(f);
    const auto parsed = schema::FieldSelector::parse(info.field_selector, selectable, r->type());
    if (!parsed) return std::nullopt;
    const auto value = parsed->exact(field);
    return value ? std::optional(std::string(*value)) : std::nullopt;
  }

  // Of one object: by its address, or by a selector that finds no other.
  std::string name() const {
    if (!info.name.empty() || !verb({"list", "watch"})) return info.name;
    return selected("metadata.name").value_or("");
  }
};

Decision related(const Asked& a, Mention what) {
  const std::string name = a.name();
  if (name.empty()) return deny("No Object name found");
  if (a.graph.related(a.node, what, a.info.ns, name)) return allow();
  return {Is::unsure, "no relationship found between node '" + a.node + "' and this object"};
}

Decision read_mentioned(const Asked& a, Mention what) {
  if (!a.verb({"get", "list", "watch"})) return deny("can only read resources of this type");
  if (!a.info.subresource.empty()) return deny("cannot read subresource");
  if (a.info.ns.empty()) return deny("can only read namespaced object of this type");
  return related(a, what);
}

Decision secrets(const Asked& a) { return read_mentioned(a, Mention::secret); }
Decision config_maps(const Asked& a) { return read_mentioned(a, Mention::config_map); }

// Beside what upstream allows a device may read the accounts of its pods: their pull secrets are in them.
Decision service_accounts(const Asked& a) {
  if (a.verb({"get", "list", "watch"})) return read_mentioned(a, Mention::service_account);
  if (a.info.verb != "create" || a.info.name.empty())
    return deny("can only create tokens for individual service accounts");
  if (a.info.subresource != "token") return deny("can only create token subresource of serviceaccount");
  return related(a, Mention::service_account);
}

Decision leases(const Asked& a) {
  if (!a.verb({"get", "create", "update", "patch", "delete"}))
    return deny("can only get, create, update, patch, or delete a node lease");
  if (a.info.ns != kLeaseNamespace)
    return deny("can only access leases in the \"" + std::string(kLeaseNamespace) + "\" system namespace");
  // The name of one that is made stands in the body: node_restriction.h looks at it.
  if (a.info.verb != "create" && a.info.name != a.node)
    return deny("can only access node lease with the same name as the requesting node");
  return allow();
}

Decision nodes(const Asked& a) {
  if (a.info.subresource == "status") return allow_if(a.verb({"update", "patch"}));
  if (!a.info.subresource.empty()) return deny();
  if (a.verb({"create", "update", "patch"})) return allow();
  if (!a.verb({"get", "list", "watch"})) return deny();
  const std::string name = a.name();
  if (name == a.node) return allow();
  if (name.empty()) return deny("node '" + a.node + "' cannot read all nodes, only its own Node object");
  return deny("node '" + a.node + "' cannot read '" + name + "', only its own Node object");
}

Decision pods(const Asked& a) {
  const std::string& sub = a.info.subresource;
  if (sub == "status") return allow_if(a.verb({"update", "patch"}));
  if (sub == "eviction") return allow_if(a.info.verb == "create");
  if (!sub.empty()) return deny();
  if (a.verb({"create", "delete"})) return allow();
  if (a.info.verb == "get") return related(a, Mention::pod);
  if (!a.verb({"list", "watch"})) return deny();
  if (a.selected("spec.nodeName") == a.node) return allow();
  if (!a.name().empty()) return related(a, Mention::pod);
  return deny("can only list/watch pods with spec.nodeName field selector");
}

Decision events(const Asked& a) {
  return allow_if(a.info.subresource.empty() && a.verb({"create", "update", "patch"}));
}

Decision reviews(const Asked& a) { return allow_if(a.info.subresource.empty() && a.info.verb == "create"); }

struct Rule {
  std::string_view group, resource;
  Decision (*decide)(const Asked&);
};

constexpr Rule kRules[] = {
    {"", "secrets", secrets},
    {"", "configmaps", config_maps},
    {"", "serviceaccounts", service_accounts},
    {"", "nodes", nodes},
    {"", "pods", pods},
    {"", "events", events},
    {"coordination.k8s.io", "leases", leases},
    {"authentication.k8s.io", "tokenreviews", reviews},
    {"authorization.k8s.io", "subjectaccessreviews", reviews},
    {"authorization.k8s.io", "localsubjectaccessreviews", reviews},
};

struct Path {
  std::string_view verb, path;
};
constexpr Path kPaths[] = {{"post", kHeartbeatPath}};

}  // namespace

std::optional<std::string> node_of(const User& user) {
  if (!user.in(pki::nodes_group)) return std::nullopt;
  const bool named = user.name.starts_with(pki::node_user_prefix);
  return named ? user.name.substr(pki::node_user_prefix.size()) : std::string();
}

Decision authorize_node(const std::string& user, const std::string& node, const RequestInfo& info,
                        const NodeGraph& graph) {
  if (node.empty()) return deny("unknown node for user \"" + user + "\"");
  if (!info.is_resource) {
    for (const Path& p : kPaths) {
      if (p.verb == info.verb && p.path == info.path) return allow();
    }
    return deny();
  }
  for (const Rule& rule : kRules) {
    if (rule.group == info.group && rule.resource == info.resource) return rule.decide({node, info, graph});
  }
  return deny();
}

}  // namespace limpet::api
