#include "controllers/views.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "base/bytes.h"
#include "base/sha256.h"

namespace limpet::controllers {
namespace {

using json::Cursor;

// Large, and only of use to those who apply.
constexpr std::string_view kLastApplied = "kubectl.kubernetes.io/last-applied-configuration";
constexpr std::string_view kDeletionCost = "controller.kubernetes.io/pod-deletion-cost";

Annotations read_annotations(Cursor object) {
  Annotations out;
  object["metadata"]["annotations"].each([&out](std::string_view key, Cursor value) {
    if (key != kLastApplied) out.emplace(key, value.str());
    return true;
  });
  return out;
}

std::vector<Condition> read_conditions(Cursor status) {
  std::vector<Condition> out;
  status["conditions"].each([&out](std::string_view, Cursor c) {
    out.push_back({c["type"].str(), c["status"].str(), c["reason"].str(), c["message"].str(),
                   read_time(c["lastTransitionTime"]), read_time(c["lastUpdateTime"])});
    return true;
  });
  return out;
}

Phase read_phase(Cursor phase) {
  if (phase.str_equals("Running")) return Phase::running;
  if (phase.str_equals("Succeeded")) return Phase::succeeded;
  if (phase.str_equals("Failed")) return Phase::failed;
  return phase.str_equals("Unknown") ? Phase::unknown : Phase::pending;
}

// As upstream reads it: a number that fits, in its plain form.
int64_t read_cost(const std::string& text) {
  int32_t v = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), v);
  const bool plain = ec == std::errc() && end == text.data() + text.size() && std::to_string(v) == text;
  return plain ? v : 0;
}

void read_restarts(Cursor pod, PodView& out) {
  pod["status"]["containerStatuses"].each([&out](std::string_view, Cursor c) {
    out.restarts = std::max(out.restarts, c["restartCount"].integer());
    return true;
  });
  std::set<std::string> sidecars;
  pod["spec"]["initContainers"].each([&sidecars](std::string_view, Cursor c) {
    if (c["restartPolicy"].str_equals("Always")) sidecars.insert(c["name"].str());
    return true;
  });
  if (sidecars.empty()) return;
  pod["status"]["initContainerStatuses"].each([&](std::string_view, Cursor c) {
    if (sidecars.contains(c["name"].str()))
      out.sidecar_restarts = std::max(out.sidecar_restarts, c["restartCount"].integer());
    return true;
  });
}

IntOrPercent read_int_or_percent(Cursor value) {
  if (value.type() != json::Type::string) return {value.integer(), false};
  const std::string text = value.str();
  IntOrPercent out;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), out.value);
  out.percent = ec == std::errc() && end != text.data() + text.size() && *end == '%';
  return out;
}

}  // namespace

const Condition* find_condition(const std::vector<Condition>& conditions, std::string_view type) {
  for (const Condition& c : conditions) {
    if (c.type == type) return &c;
  }
  return nullptr;
}

int64_t IntOrPercent::of(int64_t total, bool round_up) const {
  if (!percent) return value;
  return round_up ? (value * total + 99) / 100 : value * total / 100;
}

std::string_view PodView::tolerations() const {
  return default_tolerations ? kDefaultTolerations : std::string_view(own_tolerations);
}

PodView read_pod(Cursor pod) {
  PodView out;
  read_object(pod, out);
  out.node = pod["spec"]["nodeName"].str();
  const Cursor status = pod["status"];
  out.phase = read_phase(status["phase"]);
  status["conditions"].each([&out](std::string_view, Cursor c) {
    if (!c["type"].str_equals("Ready")) return true;
    out.ready = c["status"].str_equals("True");
    if (out.ready) out.ready_s = read_time(c["lastTransitionTime"]);
    return false;
  });
  const std::string_view tolerations = pod["spec"]["tolerations"].raw();
  out.default_tolerations = tolerations == kDefaultTolerations;
  if (!out.default_tolerations) out.own_tolerations = tolerations;
  out.deletion_cost = read_cost(pod["metadata"]["annotations"][kDeletionCost].str());
  read_restarts(pod, out);
  return out;
}

ReplicaSetView read_replica_set(Cursor set) {
  ReplicaSetView out;
  read_object(set, out);
  const Cursor spec = set["spec"], status = set["status"], pod = spec["template"];
  out.replicas = spec["replicas"].integer();
  out.min_ready_s = spec["minReadySeconds"].integer();
  out.selector = std::string(spec["selector"].raw());
  out.template_digest = template_digest(pod);
  out.template_labels = std::string(pod["metadata"]["labels"].raw());
  out.annotations = read_annotations(set);
  out.status.replicas = status["replicas"].integer();
  out.status.fully_labeled = status["fullyLabeledReplicas"].integer();
  out.status.ready = status["readyReplicas"].integer();
  out.status.available = status["availableReplicas"].integer();
  out.status.has_terminating = static_cast<bool>(status["terminatingReplicas"]);
  out.status.terminating = status["terminatingReplicas"].integer();
  out.status.observed_generation = status["observedGeneration"].integer();
  out.status.conditions = read_conditions(status);
  return out;
}

DeploymentView read_deployment(Cursor deployment) {
  DeploymentView out;
  read_object(deployment, out);
  const Cursor spec = deployment["spec"], status = deployment["status"], strategy = spec["strategy"];
  out.replicas = spec["replicas"].integer();
  out.min_ready_s = spec["minReadySeconds"].integer();
  out.history_limit = spec["revisionHistoryLimit"].integer(DeploymentView::kNoLimit);
  out.deadline_s = spec["progressDeadlineSeconds"].integer(DeploymentView::kNoLimit);
  out.paused = spec["paused"].boolean();
  out.rolling = !strategy["type"].str_equals("Recreate");
  out.max_surge = read_int_or_percent(strategy["rollingUpdate"]["maxSurge"]);
  out.max_unavailable = read_int_or_percent(strategy["rollingUpdate"]["maxUnavailable"]);
  out.selector = std::string(spec["selector"].raw());
  out.template_digest = template_digest(spec["template"]);
  out.annotations = read_annotations(deployment);
  out.status.replicas = status["replicas"].integer();
  out.status.updated = status["updatedReplicas"].integer();
  out.status.ready = status["readyReplicas"].integer();
  out.status.available = status["availableReplicas"].integer();
  out.status.unavailable = status["unavailableReplicas"].integer();
  out.status.has_terminating = static_cast<bool>(status["terminatingReplicas"]);
  out.status.terminating = status["terminatingReplicas"].integer();
  out.status.observed_generation = status["observedGeneration"].integer();
  out.status.collisions = status["collisionCount"].integer();
  out.status.conditions = read_conditions(status);
  return out;
}

// Stored objects are canonical: equal content has equal bytes. What is fed is the template member by member,
// with the labels one by one.
std::string template_digest(Cursor pod_template) {
  Sha256 sha;
  const auto feed = [&sha](std::string_view name, std::string_view raw) {
    sha.update(strf("%zu:%zu:", name.size(), raw.size()));
    sha.update(name);
    sha.update(raw);
  };
  pod_template["metadata"].each([&feed](std::string_view key, Cursor value) {
    if (key != "labels") {
      feed(key, value.raw());
      return true;
    }
    value.each([&feed](std::string_view label, Cursor text) {
      if (label != kHashLabel) feed(label, text.raw());
      return true;
    });
    return true;
  });
  pod_template.each([&feed](std::string_view key, Cursor value) {
    if (key != "metadata") feed(key, value.raw());
    return true;
  });
  const Sha256Digest digest = sha.finish();
  return hex(std::string_view(reinterpret_cast<const char*>(digest.data()), 10));
}

}  // namespace limpet::controllers
