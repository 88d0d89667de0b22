#include "api/node_restriction.h"

#include <map>

#include "api/node_authz.h"
#include "api/object.h"
#include "pki/device.h"
#include "schema/node_labels.h"

namespace limpet::api {
namespace {

constexpr std::string_view kLeaseNamespace = "kube-node-lease";
constexpr std::string_view kMirror = "kubernetes.io/config.mirror";

// One write of a device.
struct Write {
  const Admission& a;
  const std::string& node;
  json::Ref object;
  json::Cursor old;
  const Lookups& lookups;

  std::string_view name() const { return object["metadata"]["name"].str(); }
  std::string subject() const { return "node " + json::quoted(node) + " "; }
  Outcome<> refuse(const std::string& why) const {
    return std::unexpected(status::forbidden(a.resource, name(), why));
  }
  Outcome<> refuse_node(const std::string& why) const { return refuse(subject() + why); }
};

// Absent and empty are the same.
bool same(json::Ref now, json::Cursor before) {
  if (now.size() == 0 || before.size() == 0) return now.size() == before.size();
  Result<json::Value> v = json::parse(before.raw());
  return v && now.equals(v->ref());
}

std::string node_key(const std::string& node) { return "nodes/" + node; }

// ---- Node

using Labels = std::map<std::string, std::string>;

Labels labels_of(json::Ref object) {
  Labels out;
  for (json::Ref l : object["metadata"]["labels"]) out.emplace(l.key(), l.str());
  return out;
}

Labels labels_of(json::Cursor object) {
  Labels out;
  object["metadata"]["labels"].each([&](std::string_view key, json::Cursor value) {
    out.emplace(key, value.str());
    return true;
  });
  return out;
}

// Those of the labels that differ which a device may not touch; empty: none. In order.
std::string forbidden_labels(const Write& w) {
  const Labels now = labels_of(w.object), before = w.old ? labels_of(w.old) : Labels();
  const bool server = w.a.call.user.in(pki::servers_group);
  Labels either = now;
  either.insert(before.begin(), before.end());
  std::string out;
  for (const auto& [key, value] : either) {
    const auto a = now.find(key), b = before.find(key);
    const bool differs = a == now.end() || b == before.end() || a->second != b->second;
    if (!differs || schema::node_may_set_label(key) || (server && schema::is_role_label(key))) continue;
    // Beside what upstream allows it may cease to say that it is a server: of its name there was one before.
    if (a == now.end() && key == schema::kServerLabel) continue;
    out += (out.empty() ? "" : ", ") + key;
  }
  return out;
}

Outcome<> new_node(const Write& w) {
  if (w.object["spec"]["configSource"])
    return w.refuse_node("is not allowed to create pods with a non-nil configSource");
  // Owned by nothing it would be collected at once, and could come again with other taints.
  if (w.object["metadata"]["ownerReferences"].size() > 0)
    return w.refuse_node("is not allowed to set ownerReferences");
  if (std::string labels = forbidden_labels(w); !labels.empty())
    return w.refuse_node("is not allowed to set the following labels: " + labels);
  return {};
}

Outcome<> changed_node(const Write& w) {
  json::Ref spec = w.object["spec"];
  if (spec["configSource"] && !same(spec["configSource"], w.old["spec"]["configSource"]))
    return w.refuse_node("is not allowed to update configSource to a new non-nil configSource");
  if (!w.a.call.user.in(pki::servers_group) && !same(spec["taints"], w.old["spec"]["taints"]))
    return w.refuse_node("is not allowed to modify taints");
  if (!same(w.object["metadata"]["ownerReferences"], w.old["metadata"]["ownerReferences"]))
    return w.refuse_node("is not allowed to modify ownerReferences");
  if (std::string labels = forbidden_labels(w); !labels.empty())
    return w.refuse("is not allowed to modify labels: " + labels);
  return {};
}

Outcome<> admit_node(const Write& w) {
  if (w.name() != w.node)
    return w.refuse_node("is not allowed to modify node " + json::quoted(std::string(w.name())));
  return w.old ? changed_node(w) : new_node(w);
}

// ---- Pod

Outcome<> check_owner(const Write& w) {
  json::Ref owners = w.object["metadata"]["ownerReferences"];
  if (owners.size() > 1)
    return w.refuse_node("can only create pods with a single owner reference set to itself");
  json::Ref owner = owners.at(0);
  if (owner["apiVersion"].str() != "v1" || owner["kind"].str() != "Node" || owner["name"].str() != w.node)
    return w.refuse_node("can only create pods with an owner reference set to itself");
  if (!owner["controller"].boolean())
    return w.refuse_node("can only create pods with a controller owner reference set to itself");
  if (owner["blockOwnerDeletion"].boolean())
    return w.refuse_node("must not set blockOwnerDeletion on an owner reference");
  const store::Item* node = w.lookups.find(node_key(w.node));
  if (!node) {
    const schema::Resource* r = schema::find_resource("", "v1", "nodes");
    return std::unexpected(r ? status::not_found(*r, w.node) : status::no_such_path());
  }
  const std::string uid = read_meta(*node->value).uid;
  if (owner["uid"].str() != uid)
    return w.refuse("node " + w.node + " UID mismatch: expected " + std::string(owner["uid"].str()) +
                    " got " + uid);
  return {};
}

// What a mirror pod must not mention. The mirror mark is taken from a copy, since mirror pods mention
// nothing.
Outcome<> check_mentions(const Write& w) {
  json::Value plain = w.object.clone();
  plain.ref()["metadata"]["annotations"].remove(kMirror);
  const std::string text = plain.ref().dump();
  const char* what = nullptr;
  each_mention(json::Cursor(text), [&](Mention m, const std::string&) {
    if (!what || m == Mention::service_account)
      what = m == Mention::service_account ? "a service account"
             : m == Mention::secret        ? "secrets"
                                           : "configmaps";
  });
  if (what) return w.refuse_node("can not create pods that reference " + std::string(what));
  for (json::Ref v : w.object["spec"]["volumes"]) {
    if (v["persistentVolumeClaim"])
      return w.refuse_node("can not create pods that reference persistentvolumeclaims");
    for (json::Ref source : v["projected"]["sources"]) {
      if (source["clusterTrustBundle"])
        return w.refuse_node("can not create pods that reference clustertrustbundles");
    }
  }
  return {};
}

Outcome<> new_pod(const Write& w) {
  if (!w.object["metadata"]["annotations"][kMirror]) {
    return w.refuse("pod does not have " + json::quoted(std::string(kMirror)) + " annotation, " +
                    w.subject() + "can only create mirror pods");
  }
  if (w.object["spec"]["nodeName"].str() != w.node)
    return w.refuse_node("can only create pods with spec.nodeName set to itself");
  if (Outcome<> o = check_owner(w); !o) return o;
  return check_mentions(w);
}

Outcome<> admit_pod(const Write& w) {
  if (!w.old) return new_pod(w);
  if (w.a.call.info.subresource != "status") {
    return w.refuse("unexpected operation \"UPDATE\", " + w.subject() +
                    "can only create and delete mirror pods");
  }
  if (!w.old["spec"]["nodeName"].str_equals(w.node))
    return w.refuse_node("can only update pod status for pods with spec.nodeName set to itself");
  if (labels_of(w.object) != labels_of(w.old))
    return w.refuse_node("cannot update labels through pod status");
  if (!same(w.object["status"]["resourceClaimStatuses"], w.old["status"]["resourceClaimStatuses"]))
    return w.refuse_node("cannot update resource claim statues");
  return {};
}

// ---- Lease

Outcome<> admit_lease(const Write& w) {
  if (w.a.ns != kLeaseNamespace) {
    return w.refuse("can only access leases in the " + json::quoted(std::string(kLeaseNamespace)) +
                    " system namespace");
  }
  if (w.name() != w.node)
    return w.refuse("can only access node lease with the same name as the requesting node");
  return {};
}

struct Rule {
  std::string_view group, resource;
  Outcome<> (*admit)(const Write&);
};
constexpr Rule kRules[] = {
    {"", "nodes", admit_node}, {"", "pods", admit_pod}, {"coordination.k8s.io", "leases", admit_lease}};

}  // namespace

void node_restriction_needs(const Admission& a, json::Ref, std::vector<std::string>& keys) {
  if (!a.create || !a.resource.group().empty() || a.resource.plural() != "pods") return;
  if (const auto node = node_of(a.call.user); node && !node->empty()) keys.push_back(node_key(*node));
}

Outcome<> node_restriction(const Admission& a, json::Ref object, json::Cursor old, const Lookups& lookups) {
  const auto node = node_of(a.call.user);
  if (!node) return {};
  for (const Rule& rule : kRules) {
    if (rule.group != a.resource.group() || rule.resource != a.resource.plural()) continue;
    const Write w{a, *node, object, old, lookups};
    if (node->empty())
      return w.refuse("could not determine node from user " + json::quoted(a.call.user.name));
    return rule.admit(w);
  }
  return {};
}

Outcome<> restrict_deletion(const Call& call, const schema::Resource& r, json::Cursor stored) {
  const auto node = node_of(call.user);
  if (!node || !r.group().empty() || r.plural() != "pods") return {};
  if (!node->empty() && stored["spec"]["nodeName"].str_equals(*node)) return {};
  const std::string why =
      call.info.subresource == "eviction"
          ? "node " + *node + " can only evict pods with spec.nodeName set to itself"
          : "node " + json::quoted(*node) + " can only delete pods with spec.nodeName set to itself";
  return std::unexpected(status::forbidden(r, call.info.name, why));
}

Outcome<> restrict_token(const Call& call, json::Ref reference, const store::Item* bound) {
  const auto node = node_of(call.user);
  if (!node) return {};
  auto refuse = [&call](const std::string& why) -> Outcome<> {
    return std::unexpected(status::forbidden(*call.resource, call.info.name, why));
  };
  if (reference["apiVersion"].str() != "v1" || reference["kind"].str() != "Pod" ||
      reference["name"].str().empty())
    return refuse("node requested token not bound to a pod");
  if (reference["uid"].str().empty()) return refuse("node requested token with a pod binding without a uid");
  if (!bound) return {};  // not found, as for everybody
  if (const std::string uid(reference["uid"].str()); read_meta(*bound->value).uid != uid) {
    return refuse(
        "the UID in the bound object reference (" + uid +
        ") does not match the UID in record. The object might have been deleted and then recreated");
  }
  if (node->empty() || !json::Cursor(*bound->value)["spec"]["nodeName"].str_equals(*node))
    return refuse("node requested token bound to a pod scheduled on a different node");
  return {};
}

}  // namespace limpet::api
