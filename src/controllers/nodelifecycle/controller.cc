#include "controllers/nodelifecycle/controller.h"

#include <algorithm>

#include "base/log.h"

namespace limpet::controllers::nodelifecycle {
namespace {

constexpr const char* kName = "node-controller";
constexpr const char* kJudge = "judge";
// Judgements are gathered: at most one a second.
constexpr int64_t kGatherMs = 1000;
// A judgement that comes later than this after its time: the process stood still (stopped, a machine that
// slept), and what devices sent meanwhile is still to be read.
constexpr int64_t kStoodStillMs = 3000;

}  // namespace

NodeLifecycle::NodeLifecycle(const Context& c, Caches& all, const NodeOptions& o)
    : Shell(c, all, kName, [this](const std::string& key, Driver::Done done) { sync(key, std::move(done)); }),
      options(o),
      health(o.own_device, o.grace_ms) {
  caches.nodes.listen([this](const NodeView* old, const NodeView* now) { node_changed(old, now); });
  caches.leases.listen([this](const LeaseView* old, const LeaseView* now) { lease_changed(old, now); });
  caches.pods.listen([this](const PodView* old, const PodView* now) { pod_changed(old, now); });
}

void NodeLifecycle::start() {
  if (started) return;
  started = true;
  health.restart(now_ms());
  plan_judgement(now_ms());
  caches.nodes.each([this](const NodeView& node) { wake_node(node.name); });
  caches.pods.each([this](const PodView& pod) {
    if (!pod.node.empty() && !caches.nodes.get(pod.node)) quarantine(pod.node);
  });
  driver.start();
}

// ---- what comes in

void NodeLifecycle::tell_node(const Object& node, bool warning, const char* reason,
                              const std::string& message) {
  context.events.event(kName, {"Node", "", node.name, node.uid, "", "v1"}, warning, reason, message);
}

void NodeLifecycle::node_changed(const NodeView* old, const NodeView* now) {
  if (old && (!now || now->uid != old->uid)) {
    health.gone(old->name);
    const std::string& name = old->name;
    tell_node(*old, false, "RemovingNode",
              "Node " + name + " event: Removing Node " + name + " from Controller");
    // Its pods have no node any more, for a while or for good.
    if (started && !now)
      caches.pods.each([&](const PodView& pod) {
        if (pod.node == name) quarantine(name);
      });
    old = nullptr;
  }
  if (!now) return look_at_hold();
  health.seen(now->name, now_ms());
  missing.erase(now->name);
  if (!old) {
    tell_node(*now, false, "RegisteredNode",
              "Node " + now->name + " event: Registered Node " + now->name + " in Controller");
    plan_judgement(now_ms());
  } else if (old->heartbeat != now->heartbeat) {
    heard(now->name);  // a device that says how it is can be reached
  }
  look_at_hold();
  wake_node(now->name);
}

// The first sight of a lease says nothing of when it was written, unless it came after everything else.
void NodeLifecycle::lease_changed(const LeaseView* old, const LeaseView* now) {
  if (now && (old || started)) heard(now->name);
}

void NodeLifecycle::pod_changed(const PodView* old, const PodView* now) {
  if (!now) evictions.cancel(old->key());
  if (!started || !now || now->node.empty()) return;
  const NodeView* node = caches.nodes.get(now->node);
  if (!node) return quarantine(now->node);
  if (troubled(*node) || evictions.has(now->key())) wake_pod(*now);
}

void NodeLifecycle::heard(const std::string& node) {
  if (!health.heard(node, now_ms())) return;
  plan_judgement(now_ms());
  look_at_hold();
  wake_node(node);
}

// ---- judgement

void NodeLifecycle::plan_judgement(int64_t not_before_ms) {
  if (!started) return;
  const std::optional<int64_t> next = health.next_ms();
  if (!next) return;
  const int64_t at = std::max(*next, not_before_ms);
  if (judge_ms < 0 || at < judge_ms) judge_ms = at;
  driver.add_after(kJudge, judge_ms - now_ms());
}

void NodeLifecycle::judge() {
  const int64_t now = now_ms();
  const bool stood_still = judge_ms >= 0 && now - judge_ms > kStoodStillMs;
  judge_ms = -1;
  if (stood_still) {
    log::notice("this process stood still: every device gets its grace period anew", {{"controller", kName}});
    health.restart(now);
  }
  for (const std::string& name : health.judge(now)) {
    log::warning("a device is not heard of any more", {{"node", name}, {"after_ms", options.grace_ms}});
    wake_node(name);
  }
  look_at_hold();
  plan_judgement(now + kGatherMs);
}

void NodeLifecycle::look_at_hold() {
  if (health.suspect() == held) return;
  held = !held;
  const std::string many = std::to_string(health.unreachable()) + " of " + std::to_string(health.size()) +
                           " devices are unreachable: ";
  const std::string text =
      many + (held ? "evictions stop, since rather the uplink of this device is gone" : "evictions go on");
  held ? log::warning(text, {{"controller", kName}}) : log::notice(text, {{"controller", kName}});
  if (const NodeView* own = caches.nodes.get(options.own_device))
    tell_node(*own, held, held ? "EvictionsStopped" : "EvictionsResumed", text);
  caches.nodes.each([this](const NodeView& node) { wake_node(node.name); });
}

// ---- syncs

void NodeLifecycle::sync(const std::string& key, Driver::Done done) {
  if (key == kJudge) {
    judge();
    return done({});
  }
  const size_t space = key.find(' ');
  const std::string rest = key.substr(space + 1);
  key.starts_with("node ") ? sync_node(rest, std::move(done)) : sync_pod(rest, std::move(done));
}

std::unique_ptr<Controller> make_controller(const Context& context, Caches& caches,
                                            const NodeOptions& options) {
  return std::make_unique<NodeLifecycle>(context, caches, options);
}

}  // namespace limpet::controllers::nodelifecycle
