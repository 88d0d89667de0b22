// The status of a deployment: counts, and conditions with the reasons and messages that people and `kubectl
// rollout status` know.
#include <algorithm>

#include "controllers/calls.h"
#include "controllers/deployment/reconcile.h"

namespace limpet::controllers::deployment {
namespace {

constexpr const char* kProgressing = "Progressing";

void remove_condition(DeploymentStatus& status, std::string_view type) {
  std::erase_if(status.conditions, [type](const Condition& c) { return c.type == type; });
}

// The failure of the new set, else of the first that has one.
const Condition* replica_failure(const ReplicaSetView* fresh, const std::vector<ReplicaSetView*>& sets) {
  if (fresh) {
    if (const Condition* c = find_condition(fresh->status.conditions, "ReplicaFailure")) return c;
  }
  for (const ReplicaSetView* s : sets) {
    if (const Condition* c = find_condition(s->status.conditions, "ReplicaFailure")) return c;
  }
  return nullptr;
}

bool progressed(const DeploymentStatus& before, const DeploymentStatus& now) {
  return now.updated > before.updated || now.replicas - now.updated < before.replicas - before.updated ||
         now.ready > before.ready || now.available > before.available;
}

bool timed_out(const DeploymentView& d, const DeploymentStatus& status, WallTime now) {
  const Condition* c = find_condition(status.conditions, kProgressing);
  if (!c || c->reason == "NewReplicaSetAvailable") return false;
  return c->reason == "ProgressDeadlineExceeded" || c->update_s + d.deadline_s < now.seconds;
}

std::string subject(const Planner& p) {
  return p.fresh ? "ReplicaSet \"" + p.fresh->name + "\"" : "Deployment \"" + p.d.name + "\"";
}

void report_progress(const Planner& p, DeploymentStatus& status) {
  const Condition* current = find_condition(p.base.conditions, kProgressing);
  const bool settled =
      status.replicas == status.updated && current && current->reason == "NewReplicaSetAvailable";
  if (!p.d.has_deadline() || settled) return;
  if (p.complete(status)) {
    set_condition(status, kProgressing, "True", "NewReplicaSetAvailable",
                  subject(p) + " has successfully progressed.", p.now);
  } else if (progressed(p.base, status)) {
    // Also without a change of reason the time of the last progress is noted.
    Condition c{kProgressing,  "True",       "ReplicaSetUpdated", subject(p) + " is progressing.",
                p.now.seconds, p.now.seconds};
    if (current && current->status == "True") c.transition_s = current->transition_s;
    remove_condition(status, kProgressing);
    status.conditions.push_back(c);
  } else if (timed_out(p.d, status, p.now)) {
    set_condition(status, kProgressing, "False", "ProgressDeadlineExceeded",
                  subject(p) + " has timed out progressing.", p.now);
  }
}

// When the deadline passes if nothing happens.
int64_t next_check_ms(const Planner& p, const DeploymentStatus& status) {
  const Condition* c = find_condition(status.conditions, kProgressing);
  if (!p.d.has_deadline() || !c || p.complete(status) || c->reason == "ProgressDeadlineExceeded" ||
      c->reason == "NewReplicaSetAvailable") {
    return -1;
  }
  const int64_t left_s = c->update_s + p.d.deadline_s - p.now.seconds;
  return std::max<int64_t>(left_s, 0) * 1000 + 1000;
}

}  // namespace

void set_condition(DeploymentStatus& status, const char* type, const char* value, const std::string& reason,
                   const std::string& message, WallTime now) {
  const Condition* have = find_condition(status.conditions, type);
  if (have && have->status == value && have->reason == reason) return;
  Condition c{type, value, reason, message, now.seconds, now.seconds};
  if (have && have->status == value) c.transition_s = have->transition_s;
  remove_condition(status, type);
  status.conditions.push_back(std::move(c));
}

bool Planner::complete(const DeploymentStatus& status) const {
  return status.updated == d.replicas && status.replicas == d.replicas && status.available == d.replicas &&
         status.observed_generation >= d.generation;
}

void Planner::note_pause() {
  if (!d.has_deadline()) return;
  const Condition* c = find_condition(base.conditions, kProgressing);
  if (c && c->reason == "ProgressDeadlineExceeded") return;
  const bool noted = c && c->reason == "DeploymentPaused";
  if (d.paused && !noted) {
    set_condition(base, kProgressing, "Unknown", "DeploymentPaused", "Deployment is paused", now);
  } else if (!d.paused && noted) {
    set_condition(base, kProgressing, "Unknown", "DeploymentResumed", "Deployment is resumed", now);
  }
}

DeploymentStatus Planner::counted() const {
  DeploymentStatus s;
  s.conditions = base.conditions;
  s.collisions = base.collisions;
  s.observed_generation = d.generation;
  s.has_terminating = true;
  for (const ReplicaSetView* set : all()) {
    s.replicas += set->status.replicas;
    s.ready += set->status.ready;
    s.available += set->status.available;
    s.terminating += set->status.terminating;
    if (!set->status.has_terminating && set->status.observed_generation != 0) s.has_terminating = false;
  }
  if (!s.has_terminating) s.terminating = 0;
  if (fresh) s.updated = fresh->status.replicas;
  s.unavailable = std::max<int64_t>(total(all()) - s.available, 0);
  if (s.available >= d.replicas - max_unavailable()) {
    set_condition(s, "Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.",
                  now);
  } else {
    set_condition(s, "Available", "False", "MinimumReplicasUnavailable",
                  "Deployment does not have minimum availability.", now);
  }
  return s;
}

void Planner::report() {
  DeploymentStatus s = counted();
  if (!d.has_deadline()) remove_condition(s, kProgressing);
  report_progress(*this, s);
  if (const Condition* c = replica_failure(fresh, all())) {
    const Condition failure{c->type, c->status, c->reason, c->message, c->transition_s, c->transition_s};
    const Condition* have = find_condition(s.conditions, c->type);
    if (!have || have->status != failure.status || have->reason != failure.reason) {
      remove_condition(s, failure.type);
      s.conditions.push_back(failure);
    }
  } else {
    remove_condition(s, "ReplicaFailure");
  }
  out.status = std::move(s);
  out.again_ms = next_check_ms(*this, out.status);
}

DeploymentStatus status_created(const DeploymentView& d, const std::string& set, WallTime now) {
  DeploymentStatus s = d.status;
  if (d.has_deadline()) {
    set_condition(s, kProgressing, "True", "NewReplicaSetCreated", "Created new replica set \"" + set + "\"",
                  now);
  }
  return s;
}

DeploymentStatus status_create_failed(const DeploymentView& d, const std::string& message, WallTime now) {
  DeploymentStatus s = d.status;
  if (d.has_deadline()) set_condition(s, kProgressing, "False", "ReplicaSetCreateError", message, now);
  return s;
}

DeploymentStatus status_collided(const DeploymentView& d) {
  DeploymentStatus s = d.status;
  s.collisions++;
  return s;
}

std::string status_patch(const DeploymentView& d, const DeploymentStatus& s, const std::string& revision) {
  json::Writer w = begin_patch(d);
  if (!revision.empty()) w.key("annotations").begin_object().field(kRevision, revision).end_object();
  w.end_object().key("status").begin_object();
  w.field("observedGeneration", s.observed_generation).field("replicas", s.replicas);
  w.field("updatedReplicas", s.updated).field("readyReplicas", s.ready);
  w.field("availableReplicas", s.available).field("unavailableReplicas", s.unavailable);
  w.key("terminatingReplicas");
  s.has_terminating ? w.number(s.terminating) : w.null();
  if (s.collisions > 0) w.field("collisionCount", s.collisions);
  w.key("conditions").begin_array();
  for (const Condition& c : s.conditions) {
    w.begin_object().field("type", c.type).field("status", c.status);
    w.field("lastUpdateTime", rfc3339({c.update_s, 0}));
    w.field("lastTransitionTime", rfc3339({c.transition_s, 0}));
    w.field("reason", c.reason).field("message", c.message).end_object();
  }
  w.end_array().end_object().end_object();
  return w.take();
}

}  // namespace limpet::controllers::deployment
