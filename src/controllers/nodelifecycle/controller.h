// The life cycle of nodes, after upstream's node life cycle controller, taint eviction controller and the
// part of its pod garbage collector that looks after nodes that are gone:
//
//   a lease that does not change for the grace period -> conditions Unknown, pods not ready
//   conditions -> taints;  NoExecute taints -> evictions, when tolerations are used up
//   more than 55 % of the devices unreachable -> no evictions for that
//   a Node that was removed -> its pods are removed for good after a quarantine
//
// It remembers nothing of before its leadership and reads no time that others wrote. One timer, for what is
// due next. In three files: what comes in and who is heard of (controller.cc), what becomes of a node
// (nodes.cc) and of a pod on it (pods.cc).
#pragma once

#include <map>
#include <string>

#include "controllers/nodelifecycle/evictions.h"
#include "controllers/nodelifecycle/health.h"
#include "controllers/shell.h"

namespace limpet::controllers::nodelifecycle {

struct NodeLifecycle final : Shell {
  // How long a Node must be missing before its pods are removed, as upstream's podgc.
  static constexpr int64_t kQuarantineMs = 40'000;

  NodeOptions options;
  Health health;
  Evictions evictions;
  std::map<std::string, int64_t> missing;  // nodes that pods name and that are not there -> since when
  bool started = false;
  bool held = false;      // evictions stand still: this device's own uplink is the suspect
  int64_t judge_ms = -1;  // when judge() was to run next

  NodeLifecycle(const Context& c, Caches& all, const NodeOptions& o);
  void start() override;

  // ---- who is heard of
  void node_changed(const NodeView* old, const NodeView* now);
  void lease_changed(const LeaseView* old, const LeaseView* now);
  void pod_changed(const PodView* old, const PodView* now);
  void heard(const std::string& node);
  void plan_judgement(int64_t not_before_ms);
  void judge();
  void look_at_hold();
  void tell_node(const Object& node, bool warning, const char* reason, const std::string& message);

  // ---- syncs; a key is "judge", "node NAME" or "pod NAMESPACE/NAME"
  void sync(const std::string& key, Driver::Done done);
  void sync_node(const std::string& name, Driver::Done done);
  void sync_pod(const std::string& key, Driver::Done done);
  void wake_node(const std::string& name) { driver.add("node " + name); }
  void wake_pod(const Object& pod) { driver.add("pod " + pod.key()); }
  void wake_pods_of(const NodeView& node);

  // ---- pods
  bool troubled(const NodeView& node) const;
  void quarantine(const std::string& node);
  void sync_missing(const std::string& name, Driver::Done done);
  void remove_orphans(const std::string& node, Driver::Done done);
  Step remove_for_good(const PodView& pod, const char* reason, const char* message);
  Step mark_unready(const PodView& pod);
  void place(const PodView& pod, const NodeView& node, Driver::Done done);
  void evict(const PodView& pod, Driver::Done done);
  void stay(const PodView& pod);
};

}  // namespace limpet::controllers::nodelifecycle
