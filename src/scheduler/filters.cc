// The hard predicates, in the order in which they are asked.
#include <algorithm>
#include <charconv>

#include "base/result.h"
#include "scheduler/schedule.h"

namespace limpet::scheduler {

namespace {

constexpr std::string_view kUnschedulableTaint = "node.kubernetes.io/unschedulable";

// Objections that stay whatever pods leave the node, and one that may go with them.
Verdict for_good(const char* reason) { return {{reason}, true}; }
Verdict for_now(const char* reason) { return {{reason}, false}; }

Verdict check_unschedulable(const PodInfo& pod, const NodeInfo& node) {
  if (!node.unschedulable) return {};
  if (tolerates(pod, {std::string(kUnschedulableTaint), "", "NoSchedule"})) return {};
  return for_good("node(s) were unschedulable");
}

Verdict check_taints(const PodInfo& pod, const NodeInfo& node) {
  for (const Taint& t : node.taints) {
    if (t.effect != "NoSchedule" && t.effect != "NoExecute") continue;
    if (!tolerates(pod, t)) return for_good("node(s) had untolerated taint(s)");
  }
  return {};
}

Verdict check_affinity(const PodInfo& pod, const NodeInfo& node) {
  bool ok = true;
  for (const auto& [key, value] : pod.node_selector) {
    const auto it = node.labels.find(key);
    if (it == node.labels.end() || it->second != value) ok = false;
  }
  if (ok && pod.has_required_affinity) {
    ok = std::any_of(pod.required.begin(), pod.required.end(),
                     [&](const SelectorTerm& term) { return matches(term, node); });
  }
  return ok ? Verdict() : for_good("node(s) didn't match Pod's node affinity/selector");
}

bool ports_clash(const HostPort& a, const HostPort& b) {
  const auto any = [](const std::string& ip) { return ip.empty() || ip == "0.0.0.0" || ip == "::"; };
  return a.port == b.port && a.protocol == b.protocol && (any(a.ip) || any(b.ip) || a.ip == b.ip);
}

Verdict check_ports(const PodInfo& pod, const NodeInfo& node) {
  for (const HostPort& wanted : pod.host_ports) {
    for (const HostPort& used : node.used_ports) {
      if (ports_clash(wanted, used))
        return for_now("node(s) didn't have free ports for the requested pod ports");
    }
  }
  return {};
}

int64_t amount(const Amounts& a, std::string_view name) {
  const auto it = a.find(name);
  return it == a.end() ? 0 : it->second;
}

// More than the node has at all is for good, more than is left is not.
Verdict check_resources(const PodInfo& pod, const NodeInfo& node) {
  Verdict v;
  if (amount(node.requested, "pods") + 1 > amount(node.allocatable, "pods"))
    v.reasons.push_back("Too many pods");
  for (const auto& [name, wanted] : pod.requests) {
    const int64_t whole = amount(node.allocatable, name);
    if (wanted == 0 || wanted <= whole - amount(node.requested, name)) continue;
    v.reasons.push_back("Insufficient " + name);
    v.unresolvable = v.unresolvable || wanted > whole;
  }
  return v;
}

bool integer(const std::string& s, int64_t* out) {
  const auto r = std::from_chars(s.data(), s.data() + s.size(), *out);
  return r.ec == std::errc() && r.ptr == s.data() + s.size();
}

bool requirement_holds(const Requirement& r, const std::string* value) {
  const auto listed = [&] {
    return value && std::find(r.values.begin(), r.values.end(), *value) != r.values.end();
  };
  if (r.op == "In") return listed();
  if (r.op == "NotIn") return !listed();
  if (r.op == "Exists") return value != nullptr;
  if (r.op == "DoesNotExist") return value == nullptr;
  int64_t have = 0, bound = 0;
  if (!value || r.values.size() != 1 || !integer(*value, &have) || !integer(r.values[0], &bound))
    return false;
  return r.op == "Gt" ? have > bound : r.op == "Lt" && have < bound;
}

}  // namespace

bool tolerates(const PodInfo& pod, const Taint& taint) {
  return std::any_of(pod.tolerations.begin(), pod.tolerations.end(), [&](const Toleration& t) {
    if (!t.effect.empty() && t.effect != taint.effect) return false;
    if (t.key.empty()) return t.op == "Exists";
    if (t.key != taint.key) return false;
    return t.op == "Exists" || ((t.op.empty() || t.op == "Equal") && t.value == taint.value);
  });
}

bool matches(const SelectorTerm& term, const NodeInfo& node) {
  if (term.all_of.empty()) return false;  // an empty term matches nothing
  return std::all_of(term.all_of.begin(), term.all_of.end(), [&](const Requirement& r) {
    if (r.field) return r.key == "metadata.name" && requirement_holds(r, &node.name);
    const auto it = node.labels.find(r.key);
    return requirement_holds(r, it == node.labels.end() ? nullptr : &it->second);
  });
}

const std::vector<Filter>& filters() {
  static const std::vector<Filter> list = {
      {"NodeUnschedulable", check_unschedulable}, {"TaintToleration", check_taints},
      {"NodeAffinity", check_affinity},           {"NodePorts", check_ports},
      {"NodeResourcesFit", check_resources},
  };
  return list;
}

}  // namespace limpet::scheduler
