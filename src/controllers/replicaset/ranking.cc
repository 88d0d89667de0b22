#include <algorithm>
#include <bit>
#include <map>

#include "controllers/replicaset/reconcile.h"

namespace limpet::controllers::replicaset {
namespace {

struct Ranked {
  const PodView* pod;
  int64_t kin;  // related pods on its node
};

int phase_order(Phase phase) {
  if (phase == Phase::pending) return 0;
  return phase == Phase::unknown ? 1 : 2;
}

// Ages are compared by their order of magnitude (the binary logarithm of nanoseconds, as upstream), so that
// among pods of about the same age chance decides, here their uid, and not always the node of the youngest
// pays.
int64_t magnitude(int64_t since_s, WallTime now) {
  if (since_s == 0) return -2;  // not known: as if just now
  const int64_t ns = (now.seconds - since_s) * 1'000'000'000 + now.nanos;
  return ns <= 0 ? -1 : std::bit_width(static_cast<uint64_t>(ns)) - 1;
}

bool goes_first(const Ranked& a, const Ranked& b, WallTime now) {
  const PodView &p = *a.pod, &q = *b.pod;
  if (p.node.empty() != q.node.empty()) return p.node.empty();
  if (phase_order(p.phase) != phase_order(q.phase)) return phase_order(p.phase) < phase_order(q.phase);
  if (p.ready != q.ready) return !p.ready;
  if (p.deletion_cost != q.deletion_cost) return p.deletion_cost < q.deletion_cost;
  if (a.kin != b.kin) return a.kin > b.kin;
  if (p.ready) {
    const int64_t since_p = magnitude(p.ready_s, now), since_q = magnitude(q.ready_s, now);
    if (since_p != since_q) return since_p < since_q;
  }
  if (p.restarts != q.restarts) return p.restarts > q.restarts;
  if (p.sidecar_restarts != q.sidecar_restarts) return p.sidecar_restarts > q.sidecar_restarts;
  const int64_t age_p = magnitude(p.created_s, now), age_q = magnitude(q.created_s, now);
  return age_p != age_q ? age_p < age_q : p.uid < q.uid;
}

}  // namespace

void rank_for_deletion(std::vector<const PodView*>& pods, const std::vector<const PodView*>& related,
                       WallTime now) {
  std::map<std::string, int64_t> on_node;
  for (const PodView* pod : related) {
    if (pod->active()) on_node[pod->node]++;
  }
  std::vector<Ranked> ranked;
  for (const PodView* pod : pods) ranked.push_back({pod, on_node[pod->node]});
  std::stable_sort(ranked.begin(), ranked.end(),
                   [now](const Ranked& a, const Ranked& b) { return goes_first(a, b, now); });
  for (size_t i = 0; i < pods.size(); i++) pods[i] = ranked[i].pod;
}

}  // namespace limpet::controllers::replicaset
