// The scores of nodes that fit, each from 0 to 100.
#include <algorithm>
#include <cstdlib>

#include "scheduler/schedule.h"

namespace limpet::scheduler {

namespace {

// Share of a resource that would be taken with the pod on the node, in percent; -1 when the node has none of
// it.
int64_t used_percent(const PodInfo& pod, const NodeInfo& node, std::string_view name) {
  const auto all = node.allocatable.find(name);
  if (all == node.allocatable.end() || all->second <= 0) return -1;
  const auto had = node.requested.find(name);
  const auto more = pod.requests.find(name);
  const double used = static_cast<double>(had == node.requested.end() ? 0 : had->second) +
                      static_cast<double>(more == pod.requests.end() ? 0 : more->second);
  return std::clamp<int64_t>(static_cast<int64_t>(100.0 * used / static_cast<double>(all->second)), 0, 100);
}

int64_t least_allocated(const PodInfo& pod, const NodeInfo& node) {
  int64_t sum = 0, n = 0;
  for (std::string_view name : {"cpu", "memory"}) {
    const int64_t used = used_percent(pod, node, name);
    if (used < 0) continue;
    sum += 100 - used;
    n++;
  }
  return n ? sum / n : 0;
}

int64_t balanced(const PodInfo& pod, const NodeInfo& node) {
  const int64_t cpu = used_percent(pod, node, "cpu");
  const int64_t memory = used_percent(pod, node, "memory");
  return cpu < 0 || memory < 0 ? 0 : 100 - std::abs(cpu - memory);
}

int64_t preferred_affinity(const PodInfo& pod, const NodeInfo& node) {
  int64_t all = 0, got = 0;
  for (const PreferredTerm& p : pod.preferred) {
    all += p.weight;
    if (matches(p.term, node)) got += p.weight;
  }
  return all ? 100 * got / all : 0;
}

int64_t soft_taints(const PodInfo& pod, const NodeInfo& node) {
  const auto n = std::count_if(node.taints.begin(), node.taints.end(), [&](const Taint& t) {
    return t.effect == "PreferNoSchedule" && !tolerates(pod, t);
  });
  return std::max<int64_t>(0, 100 - 25 * n);
}

}  // namespace

const std::vector<Score>& scores() {
  static const std::vector<Score> list = {
      {"NodeResourcesFit", least_allocated, 1},
      {"NodeResourcesBalancedAllocation", balanced, 1},
      {"NodeAffinity", preferred_affinity, 2},
      {"TaintToleration", soft_taints, 3},
  };
  return list;
}

}  // namespace limpet::scheduler
