#include "api/strategy.h"

#include "base/bytes.h"

namespace limpet::api {
namespace {

constexpr Strategy kPlain{};
constexpr Strategy kGenerations{.generation = true};
// Annotations of a deployment are copied to its replica sets.
constexpr Strategy kDeployment{.generation = true, .annotations = true};
constexpr Strategy kPod{.generation = true, .update = update_pod, .returns_object_when_deleted = true};
constexpr Strategy kNamespace{
    .create = create_namespace, .update = update_namespace, .returns_object_when_deleted = true};
constexpr Strategy kSecret{.create = create_secret, .update = update_secret};
constexpr Strategy kServiceAccount{.returns_object_when_deleted = true};

}  // namespace

const Strategy& strategy_of(const schema::Resource& r) {
  if (r.group().empty()) {
    if (r.plural() == "pods") return kPod;
    if (r.plural() == "namespaces") return kNamespace;
    if (r.plural() == "secrets") return kSecret;
    if (r.plural() == "serviceaccounts") return kServiceAccount;
    return kPlain;
  }
  if (r.group() == "apps" && r.plural() == "deployments") return kDeployment;
  // Kinds of the other groups that have a desired and an observed half count generations.
  const schema::Type* type = r.type();
  return type && type->find("spec") && type->find("status") ? kGenerations : kPlain;
}

void create_namespace(json::Ref ns) {
  json::Ref meta = ns["metadata"];
  meta.ensure_object("labels").set("kubernetes.io/metadata.name", meta["name"].str());
}

void update_namespace(json::Ref ns, json::Cursor old) {
  // spec.finalizers change through the finalize subresource only.
  if (json::Cursor f = old["spec"]["finalizers"]) {
    if (Result<json::Value> v = json::parse(f.raw()))
      ns.ensure_object("spec").set("finalizers", std::move(*v));
  } else if (json::Ref spec = ns["spec"]) {
    spec.remove("finalizers");
  }
  json::Ref meta = ns["metadata"];
  meta.ensure_object("labels").set("kubernetes.io/metadata.name", meta["name"].str());
}

// A body that leaves out what was settled at creation, or by the scheduler, does not mean to take it away.
void update_pod(json::Ref pod, json::Cursor old) {
  json::Ref spec = pod.ensure_object("spec");
  for (std::string_view k :
       {"nodeName", "serviceAccountName", "serviceAccount", "priority", "preemptionPolicy"}) {
    json::Cursor before = old["spec"][k];
    if (!before || spec[k]) continue;
    if (Result<json::Value> v = json::parse(before.raw())) spec.set(k, std::move(*v));
  }
}

// stringData is for writing only: it ends up, encoded, in data.
void create_secret(json::Ref secret) {
  json::Value plain = secret.take("stringData");
  if (!plain) return;
  json::Ref data = secret.ensure_object("data");
  for (json::Ref entry : plain.ref()) data.set(entry.key(), base64_encode(entry.str()));
}

void update_secret(json::Ref secret, json::Cursor old) {
  create_secret(secret);
  if (secret["type"].str().empty()) secret.set("type", old["type"].str("Opaque"));
}

}  // namespace limpet::api
