// What becomes of a node: conditions that nobody confirms any more, taints that follow the conditions, and
// the pods of nodes that are gone.
#include "controllers/nodelifecycle/conditions.h"
#include "controllers/nodelifecycle/controller.h"
#include "controllers/nodelifecycle/taints.h"

namespace limpet::controllers::nodelifecycle {
namespace {

std::string node_path(const std::string& name) { return "/api/v1/nodes/" + name; }

}  // namespace

// One write at a time: the change that it makes brings the node here again.
void NodeLifecycle::sync_node(const std::string& name, Driver::Done done) {
  const NodeView* node = caches.nodes.get(name);
  if (!node) return sync_missing(name, std::move(done));
  wake_pods_of(*node);
  const WallTime now = context.timing.wall();
  if (health.standing(name) == Standing::unreachable) {
    if (std::optional<std::string> body = plan_unknown(*node, now)) {
      return calls.patch_lists(node_path(name) + "/status", std::move(*body),
                               [this, seen = *node, done](Result<client::Reply> reply) {
                                 if (!reply) return done(std::unexpected(reply.error()));
                                 if (seen.ready())
                                   tell_node(seen, false, "NodeNotReady",
                                             "Node " + seen.name + " status is now: NodeNotReady");
                                 done({});
                               });
    }
  }
  const std::optional<std::string> taints = plan_taints(*node, held, now);
  if (!taints) return done({});
  json::Writer w = begin_patch(*node);
  w.end_object().key("spec").begin_object().key("taints").raw(*taints).end_object().end_object();
  calls.patch(node_path(name), w.take(), [done](Result<client::Reply> reply) {
    done(reply ? Result<>() : std::unexpected(reply.error()));
  });
}

// ---- nodes that are not there

void NodeLifecycle::quarantine(const std::string& node) {
  if (!missing.try_emplace(node, now_ms()).second) return;
  driver.add_after("node " + node, kQuarantineMs);
}

// The cache may be behind: the API is asked before anything is removed.
void NodeLifecycle::sync_missing(const std::string& name, Driver::Done done) {
  const auto it = missing.find(name);
  if (it == missing.end()) return done({});
  const int64_t left = it->second + kQuarantineMs - now_ms();
  if (left > 0) {
    driver.add_after("node " + name, left);
    return done({});
  }
  calls.get(node_path(name), [this, name, done](Result<client::Reply> reply) {
    if (!reply && reply.error().code == Errc::not_found) return remove_orphans(name, done);
    if (!reply) return done(std::unexpected(reply.error()));
    // It is there after all, as the cache will show.
    missing.erase(name);
    if (!caches.nodes.get(name)) quarantine(name);
    done({});
  });
}

}  // namespace limpet::controllers::nodelifecycle
