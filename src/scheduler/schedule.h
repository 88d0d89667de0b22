// schedule(pod, snapshot): the one decision of the scheduler, as a pure function.
//
// Hard predicates (filters) rule nodes out, each with the reason people know from `kubectl describe`; scores
// order what is left; equal scores go to the first name, so that a decision can be repeated. A new rule is a
// new function in filters.cc or scores.cc and a line in its list. Source:
// https://kubernetes.io/docs/concepts/scheduling-eviction/kube-scheduler/
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "scheduler/types.h"

namespace limpet::scheduler {

struct Decision {
  std::string node;     // empty: nothing fits
  std::string message;  // why not: "0/1 nodes are available: 1 Insufficient cpu. preemption: ..."
};

Decision schedule(const PodInfo& pod, const Snapshot& snapshot);

// Why a node cannot take the pod; several reasons may come from one filter ("Insufficient cpu", "Insufficient
// memory").
using Reasons = std::vector<std::string>;
struct Verdict {
  Reasons reasons;            // none: the filter has no objection
  bool unresolvable = false;  // and no pod that left the node would change that
};
struct Filter {
  std::string_view name;
  Verdict (*check)(const PodInfo& pod, const NodeInfo& node);
};
const std::vector<Filter>& filters();

struct Score {
  std::string_view name;
  int64_t (*points)(const PodInfo& pod, const NodeInfo& node);  // 0 to 100
  int64_t weight;
};
const std::vector<Score>& scores();

// The end of the message: whether it would help if pods of lower priority left, in Kubernetes' words. limpet
// evicts no pod for another, which is said where Kubernetes would do it. One verdict per node of the
// snapshot, in its order.
std::string preemption_message(const PodInfo& pod, const Snapshot& snapshot,
                               const std::vector<Verdict>& verdicts);

bool tolerates(const PodInfo& pod, const Taint& taint);
bool matches(const SelectorTerm& term, const NodeInfo& node);

}  // namespace limpet::scheduler
