#include "controllers/nodelifecycle/taints.h"

#include <algorithm>

namespace limpet::controllers::nodelifecycle {
namespace {

constexpr std::string_view kNoSchedule = "NoSchedule", kNoExecute = "NoExecute";
constexpr int64_t kLongestS = 100LL * 365 * 86'400;  // beyond it sums of milliseconds could overflow

struct Rule {
  std::string_view condition, status, taint;
};
// As upstream's nodeConditionToTaintKeyStatusMap.
constexpr Rule kRules[] = {
    {"Ready", "False", kNotReady},
    {"Ready", "Unknown", kUnreachable},
    {"MemoryPressure", "True", "node.kubernetes.io/memory-pressure"},
    {"DiskPressure", "True", "node.kubernetes.io/disk-pressure"},
    {"NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"},
    {"PIDPressure", "True", "node.kubernetes.io/pid-pressure"},
};
constexpr std::string_view kUnschedulable = "node.kubernetes.io/unschedulable";

bool life_cycle(std::string_view key) { return key == kNotReady || key == kUnreachable; }

// Whether the taint is this controller's to put on and take off.
bool ours(const Taint& t) {
  if (t.effect == kNoExecute) return life_cycle(t.key);
  if (t.effect != kNoSchedule) return false;
  return t.key == kUnschedulable ||
         std::any_of(std::begin(kRules), std::end(kRules), [&t](const Rule& r) { return r.taint == t.key; });
}

using Wanted = std::vector<std::pair<std::string_view, std::string_view>>;  // key, effect

Wanted wanted_taints(const NodeView& node, bool held) {
  Wanted out;
  for (const Rule& r : kRules) {
    if (node.condition(r.condition) == r.status) out.emplace_back(r.taint, kNoSchedule);
  }
  if (node.unschedulable) out.emplace_back(kUnschedulable, kNoSchedule);
  const std::string_view ready = node.condition("Ready");
  if (ready == "True") return out;
  const bool has = node.has_taint(kNotReady, kNoExecute) || node.has_taint(kUnreachable, kNoExecute);
  if (held && !has) return out;
  if (ready == "False") out.emplace_back(kNotReady, kNoExecute);
  if (ready == "Unknown") out.emplace_back(kUnreachable, kNoExecute);
  return out;
}

bool tolerates(json::Cursor toleration, const Taint& taint) {
  const json::Cursor effect = toleration["effect"], op = toleration["operator"];
  if (effect && !effect.str_equals("") && !effect.str_equals(taint.effect)) return false;
  const std::string key = toleration["key"].str();
  if (op.str_equals("Exists")) return key.empty() || key == taint.key;
  if (op && !op.str_equals("") && !op.str_equals("Equal")) return false;
  return key == taint.key && toleration["value"].str() == taint.value;
}

}  // namespace

std::optional<std::string> plan_taints(const NodeView& node, bool held, WallTime now) {
  Wanted missing = wanted_taints(node, held);
  json::Writer w;
  w.begin_array();
  bool changed = false;
  for (const Taint& t : node.taints) {
    const auto it =
        std::find_if(missing.begin(), missing.end(), [&t](const auto& m) { return t.is(m.first, m.second); });
    if (it != missing.end()) {
      missing.erase(it);
    } else if (ours(t)) {
      changed = true;
      continue;
    }
    w.raw(t.raw);
  }
  for (const auto& [key, effect] : missing) {
    w.begin_object().field("key", key).field("effect", effect);
    w.field("timeAdded", rfc3339(now)).end_object();
  }
  w.end_array();
  if (!changed && missing.empty()) return std::nullopt;
  return w.take();
}

std::vector<Taint> evicting(const NodeView& node, Standing standing, bool held) {
  std::vector<Taint> out;
  for (const Taint& t : node.taints) {
    if (t.effect != kNoExecute) continue;
    if (life_cycle(t.key) && held) continue;
    if (t.key == kUnreachable && standing != Standing::unreachable) continue;
    if (t.key == kNotReady && standing == Standing::unheard) continue;
    out.push_back(t);
  }
  return out;
}

std::optional<int64_t> allowance_ms(const std::vector<Taint>& taints, json::Cursor tolerations) {
  std::optional<int64_t> shortest_s;
  for (const Taint& taint : taints) {
    bool tolerated = false;
    tolerations.each([&](std::string_view, json::Cursor t) {
      tolerated = tolerates(t, taint);
      if (!tolerated) return true;
      if (const json::Cursor s = t["tolerationSeconds"]) {
        const int64_t seconds = std::clamp<int64_t>(s.integer(), 0, kLongestS);
        shortest_s = std::min(shortest_s.value_or(seconds), seconds);
      }
      return false;
    });
    if (!tolerated) return 0;
  }
  if (!shortest_s) return std::nullopt;
  return *shortest_s * 1000;
}

}  // namespace limpet::controllers::nodelifecycle
