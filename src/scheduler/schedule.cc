#include "scheduler/schedule.h"

#include <algorithm>
#include <map>

#include "base/result.h"

namespace limpet::scheduler {

namespace {

// "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.": counted by reason, in the
// order of the text as upstream sorts it.
std::string explain(const std::map<std::string, int>& counts, size_t nodes) {
  std::vector<std::string> parts;
  for (const auto& [reason, n] : counts) parts.push_back(std::to_string(n) + " " + reason);
  std::sort(parts.begin(), parts.end());
  std::string text = strf("0/%zu nodes are available:", nodes);
  for (size_t i = 0; i < parts.size(); i++) text += (i == 0 ? " " : ", ") + parts[i];
  return text + ".";
}

// The first filter that objects speaks for the node.
Verdict judge(const PodInfo& pod, const NodeInfo& node) {
  for (const Filter& f : filters()) {
    if (Verdict v = f.check(pod, node); !v.reasons.empty()) return v;
  }
  return {};
}

void subtract(Amounts* from, const Amounts& amounts) {
  for (const auto& [resource, amount] : amounts) (*from)[resource] -= amount;
}

void remove_ports(std::vector<HostPort>* from, const std::vector<HostPort>& ports) {
  for (const HostPort& p : ports) {
    const auto it = std::find_if(from->begin(), from->end(), [&](const HostPort& o) {
      return o.port == p.port && o.protocol == p.protocol && o.ip == p.ip;
    });
    if (it != from->end()) from->erase(it);
  }
}

// What an attempt to make room on the node would come to.
Reasons preempt_on(const PodInfo& pod, const NodeInfo& node, const Verdict& verdict) {
  if (verdict.unresolvable) return {"Preemption is not helpful for scheduling"};
  if (node.shares.empty() || node.shares.begin()->first >= pod.priority)
    return {"No preemption victims found for incoming pod"};
  NodeInfo without = node;
  for (const auto& [priority, share] : node.shares) {
    if (priority >= pod.priority) break;
    subtract(&without.requested, share.requested);
    remove_ports(&without.used_ports, share.ports);
  }
  const Verdict left = judge(pod, without);
  if (!left.reasons.empty()) return left.reasons;
  return {"node(s) have pods of lower priority, which are not evicted for others"};
}

int64_t total_score(const PodInfo& pod, const NodeInfo& node) {
  int64_t sum = 0;
  for (const Score& s : scores()) sum += s.weight * s.points(pod, node);
  return sum;
}

}  // namespace

Decision schedule(const PodInfo& pod, const Snapshot& snapshot) {
  if (snapshot.nodes.empty()) return {"", "no nodes available to schedule pods"};
  std::vector<Verdict> verdicts;
  verdicts.reserve(snapshot.nodes.size());
  const NodeInfo* best = nullptr;
  int64_t best_score = 0;
  for (const NodeInfo& node : snapshot.nodes) {
    verdicts.push_back(judge(pod, node));
    if (!verdicts.back().reasons.empty()) continue;
    const int64_t score = total_score(pod, node);
    if (!best || score > best_score) {
      best = &node;
      best_score = score;
    }
  }
  if (best) return {best->name, ""};
  std::map<std::string, int> counts;
  for (const Verdict& v : verdicts) {
    for (const std::string& r : v.reasons) counts[r]++;
  }
  return {"", explain(counts, snapshot.nodes.size()) + " " + preemption_message(pod, snapshot, verdicts)};
}

std::string preemption_message(const PodInfo& pod, const Snapshot& snapshot,
                               const std::vector<Verdict>& verdicts) {
  if (pod.never_preempts) return "preemption: not eligible due to preemptionPolicy=Never.";
  std::map<std::string, int> counts;
  for (size_t i = 0; i < snapshot.nodes.size(); i++) {
    for (const std::string& r : preempt_on(pod, snapshot.nodes[i], verdicts[i])) counts[r]++;
  }
  return "preemption: " + explain(counts, snapshot.nodes.size());
}

void NodeInfo::add(const PodInfo& pod) {
  Share& share = shares[pod.priority];
  for (Amounts* sum : {&requested, &share.requested}) {
    for (const auto& [resource, amount] : pod.requests) (*sum)[resource] += amount;
    (*sum)["pods"] += 1;
  }
  for (std::vector<HostPort>* ports : {&used_ports, &share.ports})
    ports->insert(ports->end(), pod.host_ports.begin(), pod.host_ports.end());
}

void NodeInfo::remove(const PodInfo& pod) {
  Share& share = shares[pod.priority];
  for (Amounts* sum : {&requested, &share.requested}) {
    subtract(sum, pod.requests);
    (*sum)["pods"] -= 1;
  }
  for (std::vector<HostPort>* ports : {&used_ports, &share.ports}) remove_ports(ports, pod.host_ports);
  if (share.requested["pods"] <= 0) shares.erase(pod.priority);
}

}  // namespace limpet::scheduler
