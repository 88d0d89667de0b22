// What a deployment needs, as a pure function of what is seen: a new replica set, other sizes of those that
// are there, old ones that may go, and its status. One file per concern: reconcile.cc (the order of things),
// revision.cc (annotations), scaling.cc (how many pods where), progress.cc (status and conditions).
// https://kubernetes.io/docs/concepts/workloads/controllers/deployment/
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "controllers/views.h"

namespace limpet::controllers::deployment {

struct State {
  const DeploymentView& deployment;
  std::vector<ReplicaSetView> sets;  // those that belong to it
  std::set<std::string> with_pods;   // uids of sets that have pods which run or end
  WallTime now;
};

struct NewSet {
  std::string name, hash;
  int64_t replicas = 0;
  Annotations annotations;
  std::string revision;
};

// A patch of a replica set as it was seen.
struct Change {
  ReplicaSetView before;
  int64_t replicas = 0;     // wanted
  Annotations annotations;  // to be set
  std::optional<int64_t> min_ready_s;
  bool resized() const { return replicas != before.replicas; }
};

struct Plan {
  std::optional<NewSet> create;  // then the status waits for the next sync
  std::vector<Change> changes;   // in this order
  std::vector<ReplicaSetView> remove;
  DeploymentStatus status;
  std::string revision;   // of the deployment's annotation, empty: as it is
  int64_t again_ms = -1;  // when time alone may change something, -1 for never
};

Plan plan(State state);

// The status after the new set was created, was there already, or could not be created; after a collision of
// names.
DeploymentStatus status_created(const DeploymentView& d, const std::string& set, WallTime now);
DeploymentStatus status_create_failed(const DeploymentView& d, const std::string& message, WallTime now);
DeploymentStatus status_collided(const DeploymentView& d);
std::string status_patch(const DeploymentView& d, const DeploymentStatus& status,
                         const std::string& revision);
std::string set_patch(const Change& change);

// ---- parts of plan()

struct Planner {
  const DeploymentView& d;
  std::vector<ReplicaSetView>& sets;
  const std::set<std::string>& with_pods;
  WallTime now;
  ReplicaSetView* fresh = nullptr;  // with the deployment's template
  std::vector<ReplicaSetView*> old;
  DeploymentStatus base;  // the status as it is, with what was found on the way
  Plan out;

  // revision.cc
  void split();          // fresh and old
  void keep_revision();  // of the set that is there
  NewSet new_set() const;
  // scaling.cc
  void scale();  // to another number of replicas
  void roll();
  void recreate();
  int64_t new_set_replicas() const;
  int64_t max_surge() const;
  int64_t max_unavailable() const;
  // progress.cc
  void note_pause();
  DeploymentStatus counted() const;
  void report();  // of a rollout
  bool complete(const DeploymentStatus& status) const;

  std::vector<ReplicaSetView*> all() const;
  Change& change_of(const ReplicaSetView& set);
  // To this size; true when it had another.
  bool resize(ReplicaSetView& set, int64_t replicas, bool note_anyway = false);
  void clean_up();
};

inline constexpr const char* kRevision = "deployment.kubernetes.io/revision";
inline constexpr const char* kHistory = "deployment.kubernetes.io/revision-history";
inline constexpr const char* kDesired = "deployment.kubernetes.io/desired-replicas";
inline constexpr const char* kMax = "deployment.kubernetes.io/max-replicas";

int64_t total(const std::vector<ReplicaSetView*>& sets);  // of wanted replicas
std::vector<ReplicaSetView*> active(const std::vector<ReplicaSetView*>& sets);
int64_t revision_of(const ReplicaSetView& set);
// The value of a counting annotation; nullopt when absent or not a number.
std::optional<int64_t> count_in(const ReplicaSetView& set, const char* annotation);
void set_condition(DeploymentStatus& status, const char* type, const char* value, const std::string& reason,
                   const std::string& message, WallTime now);
void by_creation(std::vector<ReplicaSetView*>& sets);  // the oldest first

}  // namespace limpet::controllers::deployment
