// What workloads get beyond the table: their pod template's defaults, and bounds for a rolling update.
// Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/deployment-v1/
#include "schema/defaults.h"

namespace limpet::schema {

namespace {

using json::Ref;

void default_template(Ref spec) {
  if (Ref pod = spec["template"]["spec"]; pod.is_object()) default_pod_spec(pod);
}

}  // namespace

void default_deployment(Ref deployment) {
  Ref spec = deployment["spec"];
  if (!spec.is_object()) return;
  default_template(spec);
  Ref strategy = spec.ensure_object("strategy");
  if (strategy["type"].str().empty()) strategy.set("type", "RollingUpdate");
  if (strategy["type"].str() != "RollingUpdate") return;
  Ref bounds = strategy.ensure_object("rollingUpdate");
  if (!bounds["maxUnavailable"]) bounds.set("maxUnavailable", "25%");
  if (!bounds["maxSurge"]) bounds.set("maxSurge", "25%");
}

void default_replica_set(Ref set) {
  Ref spec = set["spec"];
  if (spec.is_object()) default_template(spec);
}

}  // namespace limpet::schema
