#include "scheduler/schedule.h"

#include <map>

#include "base/result.h"

namespace limpet::scheduler {

namespace {

// "1 Insufficient cpu, 2 node(s) were unschedulable": counted by reason, in the order of the text as upstream
// sorts it.
std::string explain(const std::map<std::string, int>& counts, size_t nodes) {
  std::string text = strf("0/%zu nodes are available: ", nodes);
  bool first = true;
  for (const auto& [reason, n] : counts) {
    if (!first) text += ", ";
    first = false;
    text += std::to_string(n) + " " + reason;
  }
  text += ".";
  return text;
}

int64_t total_score(const PodInfo& pod, const NodeInfo& node) {
  int64_t sum = 0;
  for (const Score& s : scores()) sum += s.weight * s.points(pod, node);
  return sum;
}

}  // namespace

Decision schedule(const PodInfo& pod, const Snapshot& snapshot) {
  if (snapshot.nodes.empty()) return {"", "no nodes available to schedule pods"};
  std::map<std::string, int> counts;
  const NodeInfo* best = nullptr;
  int64_t best_score = 0;
  for (const NodeInfo& node : snapshot.nodes) {
    Reasons reasons;
    for (const Filter& f : filters()) {
      f.check(pod, node, &reasons);
      if (!reasons.empty()) break;  // the first filter that objects speaks for the node
    }
    for (const std::string& r : reasons) counts[r]++;
    if (!reasons.empty()) continue;
    const int64_t score = total_score(pod, node);
    if (!best || score > best_score) {
      best = &node;
      best_score = score;
    }
  }
  if (best) return {best->name, ""};
  return {"", explain(counts, snapshot.nodes.size())};
}

void NodeInfo::add(const PodInfo& pod) {
  for (const auto& [resource, amount] : pod.requests) requested[resource] += amount;
  requested["pods"] += 1;
  used_ports.insert(used_ports.end(), pod.host_ports.begin(), pod.host_ports.end());
}

void NodeInfo::remove(const PodInfo& pod) {
  for (const auto& [resource, amount] : pod.requests) requested[resource] -= amount;
  requested["pods"] -= 1;
  for (const HostPort& p : pod.host_ports) {
    for (auto it = used_ports.begin(); it != used_ports.end(); ++it) {
      if (it->port == p.port && it->protocol == p.protocol && it->ip == p.ip) {
        used_ports.erase(it);
        break;
      }
    }
  }
}

}  // namespace limpet::scheduler
