// How many pods each replica set of a deployment has.
#include <algorithm>
#include <cmath>

#include "controllers/deployment/reconcile.h"

namespace limpet::controllers::deployment {
namespace {

int64_t available(const std::vector<ReplicaSetView*>& sets) {
  int64_t sum = 0;
  for (const ReplicaSetView* s : sets) sum += s->status.available;
  return sum;
}

// The one set that has replicas, or that of which new replicas would be; null when several have some.
ReplicaSetView* only_active(ReplicaSetView* fresh, const std::vector<ReplicaSetView*>& old) {
  std::vector<ReplicaSetView*> sets = old;
  if (fresh) sets.push_back(fresh);
  if (sets.empty()) return nullptr;
  const std::vector<ReplicaSetView*> with = active(sets);
  if (with.size() == 1) return with.front();
  if (with.size() > 1) return nullptr;
  if (fresh) return fresh;
  sets = old;
  by_creation(sets);
  return sets.back();
}

// What a set of n replicas gets more or less when the deployment's largest number of pods changes.
int64_t share(const Planner& p, const ReplicaSetView& set) {
  if (p.d.replicas == 0) return -set.replicas;
  const int64_t most_before = count_in(set, kMax).value_or(0);
  const int64_t base = most_before != 0 ? most_before : p.d.status.replicas;
  if (base == 0) return 0;
  const double size =
      static_cast<double>(set.replicas * (p.d.replicas + p.max_surge())) / static_cast<double>(base);
  return std::llround(size) - set.replicas;
}

// Largest first; among equals the newer first when pods are added, the older when they are taken away.
void by_size(std::vector<ReplicaSetView*>& sets, bool newer_first) {
  by_creation(sets);
  if (newer_first) std::reverse(sets.begin(), sets.end());
  std::stable_sort(sets.begin(), sets.end(), [](const ReplicaSetView* a, const ReplicaSetView* b) {
    return a->replicas > b->replicas;
  });
}

// In the middle of a rollout every set keeps its share, so that a bad template does not get more than it had.
void scale_in_proportion(Planner& p) {
  std::vector<ReplicaSetView*> sets = active(p.all());
  const int64_t allowed = p.d.replicas > 0 ? p.d.replicas + p.max_surge() : 0;
  const int64_t to_add = allowed - total(sets);
  if (to_add != 0) by_size(sets, to_add > 0);
  std::vector<int64_t> sizes;
  int64_t added = 0;
  for (const ReplicaSetView* s : sets) {
    int64_t part = 0;
    if (to_add != added) {
      const int64_t wanted = share(p, *s), left = to_add - added;
      part = to_add > 0 ? std::min(wanted, left) : std::max(wanted, left);
    }
    sizes.push_back(s->replicas + part);
    added += part;
  }
  // What rounding left over goes to the largest.
  if (!sizes.empty() && to_add != 0) sizes[0] = std::max<int64_t>(sizes[0] + to_add - added, 0);
  for (size_t i = 0; i < sets.size(); i++) p.resize(*sets[i], sizes[i], true);
}

// Pods of old sets that do not work go first: they cost nothing.
int64_t drop_unhealthy(Planner& p, std::vector<ReplicaSetView*>& old, int64_t most) {
  int64_t dropped = 0;
  for (ReplicaSetView* s : old) {
    if (dropped >= most) break;
    if (s->replicas == 0 || s->replicas == s->status.available) continue;
    const int64_t count = std::min(most - dropped, s->replicas - s->status.available);
    if (count <= 0) continue;
    p.resize(*s, s->replicas - count);
    dropped += count;
  }
  return dropped;
}

int64_t drop_available(Planner& p, std::vector<ReplicaSetView*>& old) {
  const int64_t count = available(p.all()) - (p.d.replicas - p.max_unavailable());
  int64_t dropped = 0;
  for (ReplicaSetView* s : old) {
    if (dropped >= count) break;
    const int64_t part = std::min(s->replicas, count - dropped);
    if (part > 0) p.resize(*s, s->replicas - part);
    dropped += std::max<int64_t>(part, 0);
  }
  return dropped;
}

bool shrink_old(Planner& p) {
  std::vector<ReplicaSetView*> old = active(p.old);
  if (old.empty()) return false;
  by_creation(old);
  const int64_t least = p.d.replicas - p.max_unavailable();
  // New pods that are not available yet may never be: they do not stand in for old ones.
  const int64_t not_yet = p.fresh->replicas - p.fresh->status.available;
  const int64_t most = total(p.all()) - least - not_yet;
  if (most <= 0) return false;
  const int64_t unhealthy = drop_unhealthy(p, old, most);
  return unhealthy + drop_available(p, old) > 0;
}

}  // namespace

int64_t Planner::max_surge() const { return d.rolling ? d.max_surge.of(d.replicas, true) : 0; }

int64_t Planner::max_unavailable() const {
  if (!d.rolling || d.replicas == 0) return 0;
  int64_t n = d.max_unavailable.of(d.replicas, false);
  // Both zero after rounding would be a standstill.
  if (n == 0 && max_surge() == 0) n = 1;
  return std::min(n, d.replicas);
}

int64_t Planner::new_set_replicas() const {
  if (!d.rolling) return d.replicas;
  const int64_t have = fresh ? fresh->replicas : 0;
  const int64_t room = d.replicas + max_surge() - total(all());
  return room <= 0 ? have : have + std::min(room, d.replicas - have);
}

void Planner::scale() {
  if (ReplicaSetView* one = only_active(fresh, old)) {
    resize(*one, d.replicas, one->replicas > 0);
    return;
  }
  const bool saturated = fresh && fresh->replicas == d.replicas && count_in(*fresh, kDesired) == d.replicas &&
                         fresh->status.available == d.replicas;
  if (saturated) {
    for (ReplicaSetView* s : active(old)) resize(*s, 0);
    return;
  }
  if (d.rolling) scale_in_proportion(*this);
}

void Planner::roll() {
  if (!fresh) {
    out.create = new_set();
    return;
  }
  const int64_t wanted = fresh->replicas > d.replicas ? d.replicas : new_set_replicas();
  const bool grown = fresh->replicas != d.replicas && resize(*fresh, wanted);
  if (!grown && !shrink_old(*this) && complete(d.status)) clean_up();
  report();
}

void Planner::recreate() {
  bool shrunk = false;
  for (ReplicaSetView* s : old) shrunk = resize(*s, 0) || shrunk;
  bool running = false;
  for (const ReplicaSetView* s : old) {
    running = running || s->status.replicas > 0 || with_pods.contains(s->uid);
  }
  if (shrunk || running) return report();
  if (!fresh) {
    out.create = new_set();
    return;
  }
  resize(*fresh, d.replicas);
  if (complete(d.status)) clean_up();
  report();
}

}  // namespace limpet::controllers::deployment
