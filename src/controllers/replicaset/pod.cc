#include "controllers/replicaset/pod.h"

#include "schema/names.h"

namespace limpet::controllers {

json::Value controller_ref(json::Ref owner) {
  json::Value out = json::Value::object();
  json::Ref r = out.ref();
  r.set("apiVersion", owner["apiVersion"].str());
  r.set("kind", owner["kind"].str());
  r.set("name", owner["metadata"]["name"].str());
  r.set("uid", owner["metadata"]["uid"].str());
  r.set("controller", true);
  r.set("blockOwnerDeletion", true);
  return out;
}

std::string pod_from_template(json::Ref owner) {
  const json::Ref from = owner["spec"]["template"];
  json::Value pod = json::Value::object();
  json::Ref p = pod.ref();
  p.set("apiVersion", "v1");
  p.set("kind", "Pod");
  json::Ref meta = p.ensure_object("metadata");
  // Names of pods are at best labels; a long owner's name is used as it is.
  const std::string owner_name(owner["metadata"]["name"].str()), prefix = owner_name + "-";
  const bool good = schema::check_name(schema::check_dns1123_subdomain, prefix, true).empty();
  meta.set("generateName", good ? prefix : owner_name);
  for (const char* k : {"labels", "annotations", "finalizers"}) {
    if (const json::Ref v = from["metadata"][k]) meta.set(k, v.clone());
  }
  meta.ensure_array("ownerReferences").push(controller_ref(owner));
  if (const json::Ref spec = from["spec"]) p.set("spec", spec.clone());
  return p.dump();
}

}  // namespace limpet::controllers
