// Deployments and replica sets.
#include <charconv>
#include <optional>

#include "schema/checker.h"
#include "schema/selector.h"

namespace limpet::schema {

namespace {

// The number of "25%", nothing for anything that is not a percentage.
std::optional<int64_t> percentage(json::Ref value) {
  if (!value.is_string() || !check_percent(value.str()).empty()) return std::nullopt;
  const std::string_view digits = value.str().substr(0, value.str().size() - 1);
  int64_t n = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), n);
  return n;
}

int64_t number_or_percentage(json::Ref value) {
  return percentage(value).value_or(value.is_number() ? value.integer() : 0);
}

void check_int_or_percent(Checker& c, const Path& p, json::Ref value) {
  if (value.is_string()) {
    c.by(p, value.str(), check_percent(value.str()));
  } else {
    c.non_negative(p, value);
  }
}

void check_rolling_update(Checker& c, const Path& p, json::Ref bounds) {
  const json::Ref unavailable = bounds["maxUnavailable"], surge = bounds["maxSurge"];
  check_int_or_percent(c, p.child("maxUnavailable"), unavailable);
  check_int_or_percent(c, p.child("maxSurge"), surge);
  if (number_or_percentage(unavailable) == 0 && number_or_percentage(surge) == 0) {
    c.invalid(p.child("maxUnavailable"), unavailable, "may not be 0 when `maxSurge` is 0");
  }
  if (percentage(unavailable).value_or(0) > 100) {
    c.invalid(p.child("maxUnavailable"), unavailable, "must not be greater than 100%");
  }
}

void check_strategy(Checker& c, const Path& p, json::Ref strategy) {
  const std::string_view type = strategy["type"].str();
  if (type == "Recreate") {
    if (strategy["rollingUpdate"]) {
      c.forbidden(p.child("rollingUpdate"), "may not be specified when strategy `type` is 'Recreate'");
    }
  } else if (type == "RollingUpdate") {
    check_rolling_update(c, p.child("rollingUpdate"), strategy["rollingUpdate"]);
  } else {
    c.not_supported(p.child("type"), type, {"Recreate", "RollingUpdate"});
  }
}

// The template of pods that run until they are deleted, and the selector that must find them.
void check_selector_and_template(Checker& c, const Path& p, json::Ref spec) {
  const json::Ref selector = spec["selector"], pod = spec["template"];
  const Path at = p.child("template");
  if (!selector.is_object()) {
    c.required(p.child("selector"));
  } else {
    check_label_selector(c, p.child("selector"), selector);
    if (selector["matchLabels"].size() + selector["matchExpressions"].size() == 0) {
      c.invalid(p.child("selector"), selector, "empty selector is invalid for deployment");
    }
  }
  const Result<LabelSelector> parsed = LabelSelector::from_object(selector);
  if (!parsed) {
    c.invalid(p.child("selector"), selector, "invalid label selector");
    return;
  }
  const json::Ref labels = pod["metadata"]["labels"];
  if (selector.is_object() && !parsed->empty() && !parsed->matches_labels(labels)) {
    c.invalid(at.child("metadata").child("labels"), labels, "`selector` does not match template `labels`");
  }
  check_pod_template(c, at, pod);
  if (const std::string_view policy = pod["spec"]["restartPolicy"].str(); policy != "Always") {
    c.not_supported(at.child("spec").child("restartPolicy"), policy, {"Always"});
  }
  if (pod["spec"]["activeDeadlineSeconds"]) {
    c.forbidden(at.child("spec").child("activeDeadlineSeconds"),
                "activeDeadlineSeconds in ReplicaSet is not Supported");
  }
}

// Counts of a status: none is negative, none of the parts is more than the whole.
void check_counts(Checker& c, json::Ref status, std::initializer_list<std::string_view> counts,
                  std::initializer_list<std::string_view> parts) {
  const Path p("status");
  for (std::string_view name : counts) c.non_negative(p.child(name), status[name]);
  for (std::string_view name : parts) {
    if (status[name].integer() > status["replicas"].integer()) {
      c.invalid(p.child(name), status[name].integer(), "cannot be greater than status.replicas");
    }
  }
  const int64_t available = status["availableReplicas"].integer();
  if (available > status["readyReplicas"].integer()) {
    c.invalid(p.child("availableReplicas"), available, "cannot be greater than readyReplicas");
  }
}

}  // namespace

void check_deployment(Checker& c, json::Ref object, json::Ref old) {
  const json::Ref spec = object["spec"];
  const Path p("spec");
  c.non_negative(p.child("replicas"), spec["replicas"]);
  check_selector_and_template(c, p, spec);
  check_strategy(c, p.child("strategy"), spec["strategy"]);
  for (const char* field : {"minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"}) {
    c.non_negative(p.child(field), spec[field]);
  }
  const json::Ref deadline = spec["progressDeadlineSeconds"];
  if (deadline && deadline.integer() <= spec["minReadySeconds"].integer()) {
    c.invalid(p.child("progressDeadlineSeconds"), deadline.integer(), "must be greater than minReadySeconds");
  }
  if (old) c.immutable(p.child("selector"), spec["selector"], old["spec"]["selector"]);
}

void check_deployment_status(Checker& c, json::Ref object, json::Ref old) {
  const json::Ref status = object["status"];
  check_counts(c, status,
               {"observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas",
                "unavailableReplicas", "terminatingReplicas", "collisionCount"},
               {"updatedReplicas", "readyReplicas", "availableReplicas"});
  const int64_t collisions = status["collisionCount"].integer();
  if (collisions < old["status"]["collisionCount"].integer()) {
    c.invalid(Path("status.collisionCount"), collisions, "cannot be decremented");
  }
}

void check_replica_set(Checker& c, json::Ref object, json::Ref old) {
  const json::Ref spec = object["spec"];
  const Path p("spec");
  c.non_negative(p.child("replicas"), spec["replicas"]);
  c.non_negative(p.child("minReadySeconds"), spec["minReadySeconds"]);
  check_selector_and_template(c, p, spec);
  if (old) c.immutable(p.child("selector"), spec["selector"], old["spec"]["selector"]);
}

void check_replica_set_status(Checker& c, json::Ref object) {
  check_counts(c, object["status"],
               {"replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas",
                "observedGeneration", "terminatingReplicas"},
               {"fullyLabeledReplicas", "readyReplicas", "availableReplicas"});
}

}  // namespace limpet::schema
