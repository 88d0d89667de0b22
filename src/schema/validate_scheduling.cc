// Tolerations, affinity, topology spread: what a pod says to the scheduler.
#include <set>

#include "schema/checker.h"

namespace limpet::schema {

namespace {

std::string join(const Messages& messages) {
  std::string out;
  for (const std::string& m : messages) out += (out.empty() ? "" : ";") + m;
  return out;
}

void check_node_requirement(Checker& c, const Path& p, json::Ref r, bool field) {
  const std::string_view op = r["operator"].str();
  const size_t values = r["values"].size();
  if (op == "In" || op == "NotIn") {
    if (values == 0) {
      c.required(p.child("values"), "must be specified when `operator` is 'In' or 'NotIn'");
    } else if (field && values != 1) {
      c.required(p.child("values"),
                 "must be only one value when `operator` is 'In' or 'NotIn' for node field selector");
    }
  } else if (!field && (op == "Exists" || op == "DoesNotExist")) {
    if (values > 0)
      c.forbidden(p.child("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
  } else if (!field && (op == "Gt" || op == "Lt")) {
    if (values != 1)
      c.required(p.child("values"), "must be specified single value when `operator` is 'Lt' or 'Gt'");
  } else {
    c.invalid(p.child("operator"), op, "not a valid selector operator");
  }
  const std::string_view key = r["key"].str();
  if (!field) {
    c.by(p.child("key"), key, check_qualified_name(key));
  } else if (key != "metadata.name") {
    c.invalid(p.child("key"), key, "not a valid field selector key");
  }
}

void check_node_term(Checker& c, const Path& p, json::Ref term) {
  size_t i = 0;
  for (json::Ref r : term["matchExpressions"])
    check_node_requirement(c, p.child("matchExpressions").index(i++), r, false);
  i = 0;
  for (json::Ref r : term["matchFields"])
    check_node_requirement(c, p.child("matchFields").index(i++), r, true);
}

void check_weight(Checker& c, const Path& p, json::Ref term) {
  const int64_t weight = term["weight"].integer();
  if (weight < 1 || weight > 100) c.invalid(p.child("weight"), weight, "must be in the range 1-100");
}

void check_pod_term(Checker& c, const Path& p, json::Ref term) {
  if (term["labelSelector"].is_object())
    check_label_selector(c, p.child("labelSelector"), term["labelSelector"]);
  if (term["namespaceSelector"].is_object()) {
    check_label_selector(c, p.child("namespaceSelector"), term["namespaceSelector"]);
  }
  size_t i = 0;
  for (json::Ref ns : term["namespaces"])
    c.by(p.child("namespaces").index(i++), ns.str(), check_dns1123_label(ns.str()));
  const std::string_view key = term["topologyKey"].str();
  if (key.empty()) {
    c.required(p.child("topologyKey"), "can not be empty");
  } else {
    c.by(p.child("topologyKey"), key, check_qualified_name(key));
  }
}

void check_pod_affinity(Checker& c, const Path& p, json::Ref affinity) {
  constexpr const char* kRequired = "requiredDuringSchedulingIgnoredDuringExecution";
  constexpr const char* kPreferred = "preferredDuringSchedulingIgnoredDuringExecution";
  size_t i = 0;
  for (json::Ref term : affinity[kRequired]) check_pod_term(c, p.child(kRequired).index(i++), term);
  i = 0;
  for (json::Ref term : affinity[kPreferred]) {
    const Path at = p.child(kPreferred).index(i++);
    check_weight(c, at, term);
    check_pod_term(c, at.child("podAffinityTerm"), term["podAffinityTerm"]);
  }
}

}  // namespace

void check_tolerations(Checker& c, const Path& p, json::Ref tolerations) {
  size_t i = 0;
  for (json::Ref t : tolerations) {
    const Path at = p.index(i++);
    const std::string_view key = t["key"].str(), op = t["operator"].str(), value = t["value"].str(),
                           effect = t["effect"].str();
    if (!key.empty()) c.by(at.child("key"), key, check_qualified_name(key));
    if (key.empty() && op != "Exists") {
      c.invalid(at.child("operator"), op,
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
    }
    if (t["tolerationSeconds"] && effect != "NoExecute") {
      c.invalid(at.child("effect"), effect, "effect must be 'NoExecute' when `tolerationSeconds` is set");
    }
    if (op == "Equal" || op.empty()) {
      const Messages wrong = check_label_value(value);
      if (!wrong.empty()) c.invalid(at.child("operator"), value, join(wrong));
    } else if (op == "Exists") {
      if (!value.empty())
        c.invalid(at.child("operator"), value, "value must be empty when `operator` is 'Exists'");
    } else {
      c.not_supported(at.child("operator"), op, {"Equal", "Exists"});
    }
    check_taint_effect(c, at.child("effect"), t["effect"], true);
  }
}

void check_affinity(Checker& c, const Path& p, json::Ref affinity) {
  const json::Ref node = affinity["nodeAffinity"];
  const Path at = p.child("nodeAffinity");
  constexpr const char* kRequired = "requiredDuringSchedulingIgnoredDuringExecution";
  constexpr const char* kPreferred = "preferredDuringSchedulingIgnoredDuringExecution";
  if (node[kRequired].is_object()) {
    const Path terms = at.child(kRequired).child("nodeSelectorTerms");
    if (node[kRequired]["nodeSelectorTerms"].size() == 0)
      c.required(terms, "must have at least one node selector term");
    size_t i = 0;
    for (json::Ref term : node[kRequired]["nodeSelectorTerms"]) check_node_term(c, terms.index(i++), term);
  }
  size_t i = 0;
  for (json::Ref term : node[kPreferred]) {
    const Path here = at.child(kPreferred).index(i++);
    check_weight(c, here, term);
    check_node_term(c, here.child("preference"), term["preference"]);
  }
  check_pod_affinity(c, p.child("podAffinity"), affinity["podAffinity"]);
  check_pod_affinity(c, p.child("podAntiAffinity"), affinity["podAntiAffinity"]);
}

void check_topology_spread(Checker& c, const Path& p, json::Ref constraints) {
  std::set<std::string> seen;
  size_t i = 0;
  for (json::Ref t : constraints) {
    const Path at = p.index(i++);
    if (t["maxSkew"].integer() <= 0)
      c.invalid(at.child("maxSkew"), t["maxSkew"].integer(), "must be greater than zero");
    const std::string_view key = t["topologyKey"].str(), when = t["whenUnsatisfiable"].str();
    if (key.empty()) {
      c.required(at.child("topologyKey"), "can not be empty");
    } else {
      c.by(at.child("topologyKey"), key, check_qualified_name(key));
    }
    c.one_of(at.child("whenUnsatisfiable"), t["whenUnsatisfiable"], {"DoNotSchedule", "ScheduleAnyway"});
    const std::string pair = "{" + std::string(key) + ", " + std::string(when) + "}";
    if (!seen.insert(pair).second) c.duplicate(at.child("{topologyKey, whenUnsatisfiable}"), pair);
    if (const json::Ref least = t["minDomains"]) {
      if (least.integer() <= 0)
        c.invalid(at.child("minDomains"), least.integer(), "must be greater than zero");
      if (when != "DoNotSchedule") {
        c.invalid(at.child("minDomains"), least.integer(),
                  "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not " + std::string(when));
      }
    }
    for (const char* policy : {"nodeAffinityPolicy", "nodeTaintsPolicy"}) {
      if (t[policy]) c.one_of(at.child(policy), t[policy], {"Honor", "Ignore"});
    }
    if (t["labelSelector"].is_object())
      check_label_selector(c, at.child("labelSelector"), t["labelSelector"]);
  }
}

}  // namespace limpet::schema
