#include <set>

#include "schema/checker.h"
#include "schema/quantity.h"

namespace limpet::schema {

namespace {

void check_taints(Checker& c, const Path& p, json::Ref taints) {
  std::set<std::string> seen;
  size_t i = 0;
  for (json::Ref t : taints) {
    const Path at = p.index(i++);
    c.by(at.child("key"), t["key"].str(), check_qualified_name(t["key"].str()));
    c.by(at.child("value"), t["value"].str(), check_label_value(t["value"].str()));
    check_taint_effect(c, at.child("effect"), t["effect"], false);
    if (!seen.insert(std::string(t["key"].str()) + " " + std::string(t["effect"].str())).second) {
      c.errors.push_back(
          {FieldError::Type::duplicate, at.str(), t.dump(), "taints must be unique by key and effect pair"});
    }
  }
}

}  // namespace

void check_taint_effect(Checker& c, const Path& p, json::Ref effect, bool may_be_empty) {
  if (effect.str().empty() && may_be_empty) return;
  c.one_of(p, effect, {"NoSchedule", "PreferNoSchedule", "NoExecute"});
}

void check_node(Checker& c, json::Ref node, json::Ref old) {
  const json::Ref spec = node["spec"];
  check_taints(c, Path("spec.taints"), spec["taints"]);
  size_t i = 0;
  for (json::Ref cidr : spec["podCIDRs"])
    c.by(Path("spec.podCIDRs").index(i++), cidr.str(), check_cidr(cidr.str()));
  if (!old) return;
  // What the scheduler and the network have relied on stays.
  const json::Ref before = old["spec"];
  if (before["podCIDRs"].size() > 0 && !spec["podCIDRs"].equals(before["podCIDRs"])) {
    c.forbidden(Path("spec.podCIDRs"), "node updates may not change podCIDR except from \"\" to valid");
  }
  const std::string_view provider = before["providerID"].str();
  if (!provider.empty() && spec["providerID"].str() != provider) {
    c.forbidden(Path("spec.providerID"), "node updates may not change providerID except from \"\" to valid");
  }
}

void check_event(Checker& c, json::Ref event, json::Ref old) {
  const json::Ref about = event["involvedObject"] ? event["involvedObject"] : event["regarding"];
  const char* field = event["involvedObject"] ? "involvedObject" : "regarding";
  const std::string_view ns = event["metadata"]["namespace"].str(), about_ns = about["namespace"].str();
  // Events about cluster-scoped objects live in the default namespace.
  if (about_ns.empty() ? (ns != "default" && ns != "kube-system") : about_ns != ns) {
    c.invalid(Path(field).child("namespace"), about_ns, "does not match event.namespace");
  }
  if (old || !event["eventTime"].is_string()) return;  // what follows binds events of the newer API
  const char* reporter = event["regarding"] ? "reportingController" : "reportingComponent";
  const std::string_view component = event[reporter].str();
  if (component.empty()) {
    c.required(Path("reportingController"));
  } else {
    c.by(Path("reportingController"), component, check_qualified_name(component));
  }
  if (event["reportingInstance"].str().empty()) c.required(Path("reportingInstance"));
  if (event["reportingInstance"].str().size() > 128) c.too_long(Path("reportingInstance"), 128);
  if (event["action"].str().empty()) c.required(Path("action"));
  if (event["reason"].str().empty()) c.required(Path("reason"));
  if (event["action"].str().size() > 128) c.too_long(Path("action"), 128);
  if (event["reason"].str().size() > 128) c.too_long(Path("reason"), 128);
}

}  // namespace limpet::schema
