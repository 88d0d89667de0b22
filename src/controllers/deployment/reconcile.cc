#include "controllers/deployment/reconcile.h"

#include <algorithm>

#include "controllers/calls.h"

namespace limpet::controllers::deployment {

int64_t total(const std::vector<ReplicaSetView*>& sets) {
  int64_t sum = 0;
  for (const ReplicaSetView* s : sets) sum += s->replicas;
  return sum;
}

std::vector<ReplicaSetView*> active(const std::vector<ReplicaSetView*>& sets) {
  std::vector<ReplicaSetView*> out;
  for (ReplicaSetView* s : sets) {
    if (s->replicas > 0) out.push_back(s);
  }
  return out;
}

void by_creation(std::vector<ReplicaSetView*>& sets) {
  std::sort(sets.begin(), sets.end(), [](const ReplicaSetView* a, const ReplicaSetView* b) {
    return a->created_s != b->created_s ? a->created_s < b->created_s : a->name < b->name;
  });
}

std::vector<ReplicaSetView*> Planner::all() const {
  std::vector<ReplicaSetView*> every = old;
  if (fresh) every.push_back(fresh);
  return every;
}

Change& Planner::change_of(const ReplicaSetView& set) {
  for (Change& c : out.changes) {
    if (c.before.uid == set.uid) return c;
  }
  out.changes.push_back({set, set.replicas, {}, {}});
  return out.changes.back();
}

bool Planner::resize(ReplicaSetView& set, int64_t replicas, bool note_anyway) {
  const bool resized = set.replicas != replicas;
  if (!resized && !note_anyway) return false;
  for (const auto& [name, value] :
       {std::pair(kDesired, d.replicas), std::pair(kMax, d.replicas + max_surge())}) {
    const std::string text = std::to_string(value);
    std::string& have = set.annotations[name];
    if (have == text) continue;
    change_of(set).annotations[name] = text;
    have = text;
  }
  if (resized) change_of(set).replicas = replicas;
  set.replicas = replicas;
  return resized;
}

// Old sets beyond the history, those of the lowest revisions first.
void Planner::clean_up() {
  if (d.history_limit == DeploymentView::kNoLimit) return;
  std::vector<ReplicaSetView*> there;
  for (ReplicaSetView* s : old) {
    if (!s->deleting) there.push_back(s);
  }
  const int64_t surplus = static_cast<int64_t>(there.size()) - d.history_limit;
  if (surplus <= 0) return;
  by_creation(there);
  std::stable_sort(there.begin(), there.end(), [](const ReplicaSetView* a, const ReplicaSetView* b) {
    return revision_of(*a) < revision_of(*b);
  });
  for (int64_t i = 0; i < surplus; i++) {
    const ReplicaSetView& s = *there[static_cast<size_t>(i)];
    const bool busy =
        s.status.replicas != 0 || s.replicas != 0 || s.generation > s.status.observed_generation;
    if (!busy) out.remove.push_back(s);
  }
}

Plan plan(State state) {
  Planner p{state.deployment, state.sets, state.with_pods,         state.now,
            nullptr,          {},         state.deployment.status, {}};
  const DeploymentView& d = state.deployment;
  p.split();
  if (!d.deleting) p.note_pause();
  p.keep_revision();
  if (d.deleting) {
    p.out.status = p.counted();
    return std::move(p.out);
  }
  bool scaled = d.paused;
  for (const ReplicaSetView* s : active(p.all())) {
    const std::optional<int64_t> desired = count_in(*s, kDesired);
    scaled = scaled || (desired && *desired != d.replicas);
  }
  if (scaled) {
    p.scale();
    if (d.paused) p.clean_up();
    p.out.status = p.counted();
  } else if (d.rolling) {
    p.roll();
  } else {
    p.recreate();
  }
  return std::move(p.out);
}

std::string set_patch(const Change& change) {
  json::Writer w = begin_patch(change.before);
  if (!change.annotations.empty()) {
    w.key("annotations").begin_object();
    for (const auto& [name, value] : change.annotations) w.field(name, value);
    w.end_object();
  }
  w.end_object().key("spec").begin_object();
  if (change.resized()) w.field("replicas", change.replicas);
  if (change.min_ready_s) w.field("minReadySeconds", *change.min_ready_s);
  w.end_object().end_object();
  return w.take();
}

}  // namespace limpet::controllers::deployment
