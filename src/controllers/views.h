// Pods, replica sets and deployments as their controllers see them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "controllers/object.h"

namespace limpet::controllers {

using Annotations = std::map<std::string, std::string, std::less<>>;

struct Condition {
  std::string type, status, reason, message;
  int64_t transition_s = 0, update_s = 0;  // update_s: of deployments only
  bool operator==(const Condition&) const = default;
};
const Condition* find_condition(const std::vector<Condition>& conditions, std::string_view type);

enum class Phase { pending, unknown, running, succeeded, failed };

struct PodView : Object {
  std::string node;
  Phase phase = Phase::pending;
  bool ready = false;
  int64_t ready_s = 0;           // since when, Unix time
  int64_t deletion_cost = 0;     // controller.kubernetes.io/pod-deletion-cost
  int64_t restarts = 0;          // of the container with the most
  int64_t sidecar_restarts = 0;  // likewise
  // spec.tolerations as JSON where they are not the two that every pod gets by default (kDefaultTolerations).
  bool default_tolerations = false;
  std::string own_tolerations;

  std::string_view tolerations() const;
  bool finished() const { return phase == Phase::succeeded || phase == Phase::failed; }
  bool active() const { return !finished() && !deleting; }
};
PodView read_pod(json::Cursor pod);

// As the admission plugin DefaultTolerationSeconds adds them and the store keeps them.
inline constexpr std::string_view kDefaultTolerations =
    R"([{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300},)"
    R"({"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}])";

struct ReplicaSetStatus {
  int64_t replicas = 0, fully_labeled = 0, ready = 0, available = 0, terminating = 0;
  int64_t observed_generation = 0;
  bool has_terminating = false;
  std::vector<Condition> conditions;
  bool operator==(const ReplicaSetStatus&) const = default;
};

struct ReplicaSetView : Object {
  int64_t replicas = 0, min_ready_s = 0;
  std::string selector;         // JSON
  std::string template_digest;  // equal for templates that differ by pod-template-hash at most
  std::string template_labels;  // JSON
  Annotations annotations;
  ReplicaSetStatus status;
};
ReplicaSetView read_replica_set(json::Cursor set);

// A number, or a percentage of the replicas.
struct IntOrPercent {
  int64_t value = 0;
  bool percent = false;
  int64_t of(int64_t total, bool round_up) const;
};

struct DeploymentStatus {
  int64_t replicas = 0, updated = 0, ready = 0, available = 0, unavailable = 0, terminating = 0;
  int64_t observed_generation = 0, collisions = 0;
  bool has_terminating = false;
  std::vector<Condition> conditions;
  bool operator==(const DeploymentStatus&) const = default;
};

struct DeploymentView : Object {
  int64_t replicas = 0, min_ready_s = 0;
  int64_t history_limit = kNoLimit, deadline_s = kNoLimit;
  bool paused = false, rolling = true;  // else Recreate
  IntOrPercent max_surge, max_unavailable;
  std::string selector;         // JSON
  std::string template_digest;  // as of ReplicaSetView
  Annotations annotations;
  DeploymentStatus status;

  static constexpr int64_t kNoLimit = INT32_MAX;
  bool has_deadline() const { return deadline_s != kNoLimit; }
};
DeploymentView read_deployment(json::Cursor deployment);

// Of a pod template, without its pod-template-hash label.
std::string template_digest(json::Cursor pod_template);

inline constexpr std::string_view kHashLabel = "pod-template-hash";

}  // namespace limpet::controllers
