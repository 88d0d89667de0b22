#include "controllers/replicaset/reconcile.h"

#include <algorithm>

#include "controllers/calls.h"

namespace limpet::controllers::replicaset {
namespace {

int64_t available_at(const PodView& pod, int64_t min_ready_s) { return pod.ready_s + min_ready_s; }

bool available(const PodView& pod, int64_t min_ready_s, WallTime now) {
  if (!pod.ready) return false;
  return min_ready_s == 0 || (pod.ready_s != 0 && available_at(pod, min_ready_s) <= now.seconds);
}

bool fully_labeled(const PodView& pod, const schema::LabelSelector& labels) { return pod.matches(labels); }

}  // namespace

Plan plan(const State& state) {
  Plan out;
  const Result<schema::LabelSelector> selector =
      schema::LabelSelector::from_object(json::Cursor(state.set.selector));
  if (!selector) return out;
  for (const PodView* pod : state.pods) {
    if (pod->finished()) continue;
    const Claim c = claim(state.set, *selector, *pod);
    if (pod->deleting) {
      if (c == Claim::mine) out.terminating.push_back(pod);
      continue;
    }
    if (c == Claim::adopt) out.adopt.push_back(pod);
    if (c == Claim::release) out.release.push_back(pod);
    if (c == Claim::mine || c == Claim::adopt) out.active.push_back(pod);
  }
  if (!state.caught_up || state.set.deleting) return out;
  const int64_t more = state.set.replicas - static_cast<int64_t>(out.active.size());
  if (more > 0) {
    out.create = std::min(more, kBurst);
  } else if (more < 0) {
    std::vector<const PodView*> ranked = out.active;
    rank_for_deletion(ranked, state.related, state.now);
    ranked.resize(static_cast<size_t>(std::min(-more, kBurst)));
    out.remove = std::move(ranked);
  }
  return out;
}

int64_t next_batch(int64_t batch, int64_t left) { return std::min(batch == 0 ? 1 : batch * 2, left); }

ReplicaSetStatus status_of(const ReplicaSetView& set, const Plan& plan, const std::string& failure,
                           WallTime now) {
  const schema::LabelSelector labels = schema::LabelSelector::from_map(json::Cursor(set.template_labels));
  ReplicaSetStatus out;
  out.conditions = set.status.conditions;
  for (const PodView* pod : plan.active) {
    out.replicas++;
    if (fully_labeled(*pod, labels)) out.fully_labeled++;
    if (pod->ready) out.ready++;
    if (available(*pod, set.min_ready_s, now)) out.available++;
  }
  out.has_terminating = true;
  out.terminating = static_cast<int64_t>(plan.terminating.size());
  out.observed_generation = set.generation;
  const Condition* failed = find_condition(out.conditions, "ReplicaFailure");
  if (failure.empty()) {
    std::erase_if(out.conditions, [](const Condition& c) { return c.type == "ReplicaFailure"; });
  } else if (!failed) {
    const bool creating = out.replicas < set.replicas;
    out.conditions.push_back(
        {"ReplicaFailure", "True", creating ? "FailedCreate" : "FailedDelete", failure, now.seconds, 0});
  }
  return out;
}

std::string status_patch(const ReplicaSetView& set, const ReplicaSetStatus& status) {
  json::Writer w = begin_patch(set);
  w.end_object().key("status").begin_object();
  w.field("replicas", status.replicas).field("fullyLabeledReplicas", status.fully_labeled);
  w.field("readyReplicas", status.ready).field("availableReplicas", status.available);
  w.field("terminatingReplicas", status.terminating);
  w.field("observedGeneration", status.observed_generation);
  w.key("conditions");
  if (status.conditions.empty()) {
    w.null();
  } else {
    w.begin_array();
    for (const Condition& c : status.conditions) {
      w.begin_object().field("type", c.type).field("status", c.status);
      w.field("lastTransitionTime", rfc3339({c.transition_s, 0}));
      w.field("reason", c.reason).field("message", c.message).end_object();
    }
    w.end_array();
  }
  w.end_object().end_object();
  return w.take();
}

int64_t next_availability_ms(const ReplicaSetView& set, const std::vector<const PodView*>& active,
                             WallTime now) {
  int64_t soonest = -1;
  for (const PodView* pod : active) {
    if (!pod->ready || available(*pod, set.min_ready_s, now)) continue;
    // Times have whole seconds: the pod is available when the last one is over.
    const int64_t left = (available_at(*pod, set.min_ready_s) - now.seconds) * 1000 - now.nanos / 1'000'000;
    if (soonest < 0 || left < soonest) soonest = std::max<int64_t>(left, 0);
  }
  return soonest;
}

}  // namespace limpet::controllers::replicaset
