#include "controllers/deployment/set.h"

#include "controllers/replicaset/pod.h"

namespace limpet::controllers::deployment {

std::string set_from_deployment(json::Ref deployment, const NewSet& plan) {
  const json::Ref from = deployment["spec"];
  json::Value set = json::Value::object();
  json::Ref s = set.ref();
  s.set("apiVersion", "apps/v1");
  s.set("kind", "ReplicaSet");
  json::Ref spec = s.ensure_object("spec");
  spec.set("replicas", plan.replicas);
  if (const json::Ref ready = from["minReadySeconds"]) spec.set("minReadySeconds", ready.clone());
  // The hash keeps the pods of one template apart from those of another.
  spec.set("selector", from["selector"].clone());
  spec["selector"].ensure_object("matchLabels").set(kHashLabel, plan.hash);
  spec.set("template", from["template"].clone());
  json::Ref labels = spec["template"].ensure_object("metadata").ensure_object("labels");
  labels.set(kHashLabel, plan.hash);
  json::Ref meta = s.ensure_object("metadata");
  meta.set("name", plan.name);
  meta.set("labels", labels.clone());
  json::Ref annotations = meta.ensure_object("annotations");
  for (const auto& [name, value] : plan.annotations) annotations.set(name, value);
  meta.ensure_array("ownerReferences").push(controller_ref(deployment));
  return s.dump();
}

}  // namespace limpet::controllers::deployment
