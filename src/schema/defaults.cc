// Defaulting: the table's values first, at every depth that exists, then what a kind adds.
#include "schema/defaults.h"

#include "base/assert.h"
#include "schema/codec.h"

namespace limpet::schema {

namespace {

using json::Ref;
using json::Value;

void table_defaults(Ref node, const Type& type) {
  if (!node.is_object()) return;
  for (const Field& field : type.fields()) {
    Ref value = node[field.name()];
    if (!value) {
      if (field.default_json().empty()) continue;
      auto parsed = json::parse(field.default_json());
      LIMPET_ASSERT(parsed);  // the generator checked it
      value = node.set(field.name(), std::move(*parsed));
    }
    if (field.scalar() != Scalar::object) continue;
    if (field.shape() == Shape::single) {
      table_defaults(value, *field.type());
    } else {
      for (Ref item : value) table_defaults(item, *field.type());
    }
  }
}

struct Strategy {
  std::string_view type;
  void (*always)(Ref object);
  void (*create)(Ref object);
};

constexpr Strategy kStrategies[] = {
    {"io.k8s.api.core.v1.Pod", default_pod, default_new_pod},
    {"io.k8s.api.core.v1.Namespace", default_namespace, default_new_namespace},
    {"io.k8s.api.core.v1.Node", default_node, nullptr},
    {"io.k8s.api.apps.v1.Deployment", default_deployment, nullptr},
    {"io.k8s.api.apps.v1.ReplicaSet", default_replica_set, nullptr},
};

}  // namespace

void apply_defaults(Ref object, const Type& type) {
  table_defaults(object, type);
  for (const Strategy& s : kStrategies) {
    if (s.type == type.name()) s.always(object);
  }
}

void apply_create_defaults(Ref object, const Type& type) {
  for (const Strategy& s : kStrategies) {
    if (s.type == type.name() && s.create) s.create(object);
  }
}

void default_namespace(Ref ns) {
  const std::string name(ns["metadata"]["name"].str());
  if (!name.empty()) {
    ns.ensure_object("metadata").ensure_object("labels").set("kubernetes.io/metadata.name", name);
  }
  ns.ensure_object("spec");
  if (ns["status"]["phase"].str().empty()) ns.ensure_object("status").set("phase", "Active");
}

// The finalizer holds a deleted namespace until its contents are gone; whoever empties it takes the finalizer
// away.
void default_new_namespace(Ref ns) {
  Ref spec = ns.ensure_object("spec");
  for (Ref f : spec["finalizers"]) {
    if (f.str() == "kubernetes") return;
  }
  spec.ensure_array("finalizers").push(Value::string("kubernetes"));
  ns.remove("status");
  ns.ensure_object("status").set("phase", "Active");
}

void default_node(Ref node) {
  const Ref capacity = node["status"]["capacity"];
  if (capacity && !node["status"]["allocatable"]) {
    node["status"].set("allocatable", capacity.clone());
  }
}

}  // namespace limpet::schema
