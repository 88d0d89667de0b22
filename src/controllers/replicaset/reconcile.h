// What a replica set needs, as a pure function of what is seen: which pods belong to it, how many are to be
// created, which are to go, and what its status says.
// https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "controllers/views.h"

namespace limpet::controllers::replicaset {

struct State {
  const ReplicaSetView& set;
  std::vector<const PodView*> pods;     // those of the set and the orphans of its namespace
  std::vector<const PodView*> related;  // of all replica sets with the same controller, this one's included
  bool caught_up = true;                // nothing of what was done before is still to be seen
  WallTime now;
};

struct Plan {
  std::vector<const PodView*> adopt, release, remove;
  int64_t create = 0;
  std::vector<const PodView*> active, terminating;  // what counts, adopted ones included
};
Plan plan(const State& state);

// What is done at once: at most 500 creations or deletions; the rest comes with the next sync.
inline constexpr int64_t kBurst = 500;
// Creations come in batches of 1, 2, 4 and so on, and end at the first batch that fails: what cannot work is
// not tried five hundred times.
int64_t next_batch(int64_t batch, int64_t left);

// The pods to delete first come first: those that are not assigned, pending, not ready, of lower deletion
// cost, beside more of their kin on their node, ready for a shorter time, restarted more often, younger.
// https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#scaling-a-replicaset
void rank_for_deletion(std::vector<const PodView*>& pods, const std::vector<const PodView*>& related,
                       WallTime now);

// The status after the plan was carried out; `failure` is what went wrong with it, empty if nothing.
ReplicaSetStatus status_of(const ReplicaSetView& set, const Plan& plan, const std::string& failure,
                           WallTime now);
std::string status_patch(const ReplicaSetView& set, const ReplicaSetStatus& status);

// In how many milliseconds a ready pod becomes available, -1 when none will by time alone.
int64_t next_availability_ms(const ReplicaSetView& set, const std::vector<const PodView*>& active,
                             WallTime now);

}  // namespace limpet::controllers::replicaset
