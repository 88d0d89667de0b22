// What becomes of the pods on a node that is tainted, unreachable or gone.
#include "controllers/nodelifecycle/conditions.h"
#include "controllers/nodelifecycle/controller.h"
#include "controllers/nodelifecycle/taints.h"

namespace limpet::controllers::nodelifecycle {
namespace {

constexpr const char* kEvictor = "taint-eviction-controller";

std::string pod_path(const Object& pod) { return "/api/v1/namespaces/" + pod.ns + "/pods/" + pod.name; }
client::ObjectRef ref(const Object& pod) { return {"Pod", pod.ns, pod.name, pod.uid, "", "v1"}; }

bool executes(const NodeView& node) {
  for (const Taint& t : node.taints) {
    if (t.effect == "NoExecute") return true;
  }
  return false;
}

// A pod that is gone, or another of its name, needs nothing any more.
Result<> settled(const Result<client::Reply>& reply, bool of_this_version = false) {
  if (reply || reply.error().code == Errc::not_found) return {};
  if (!of_this_version && reply.error().code == Errc::conflict) return {};
  return std::unexpected(reply.error());
}

}  // namespace

// Whether there may be something to do for pods on it; on most nodes there is not.
bool NodeLifecycle::troubled(const NodeView& node) const {
  return health.standing(node.name) == Standing::unreachable || executes(node) ||
         node.has_taint(kOutOfService);
}

void NodeLifecycle::wake_pods_of(const NodeView& node) {
  const bool all = troubled(node);
  if (!all && evictions.empty()) return;
  caches.pods.each([&](const PodView& pod) {
    if (pod.node == node.name && (all || evictions.has(pod.key()))) wake_pod(pod);
  });
}

void NodeLifecycle::sync_pod(const std::string& key, Driver::Done done) {
  const PodView* pod = caches.pods.get(key);
  const NodeView* node = pod ? caches.nodes.get(pod->node) : nullptr;
  if (!node || pod->deleting) evictions.cancel(key);
  if (!node) return done({});
  if (pod->deleting) {
    // An operator says so: nobody will confirm it. Else it stays until its device confirms.
    if (node->ready() || !node->has_taint(kOutOfService)) return done({});
    return remove_for_good(*pod, "DeletionByPodGC", "PodGC: node is out of service")(std::move(done));
  }
  std::vector<Step> steps;
  if (pod->ready && health.standing(node->name) == Standing::unreachable) steps.push_back(mark_unready(*pod));
  steps.push_back([this, key](Next next) {
    const PodView* p = caches.pods.get(key);
    const NodeView* n = p ? caches.nodes.get(p->node) : nullptr;
    n ? place(*p, *n, std::move(next)) : next({});
  });
  in_order(std::move(steps), std::move(done));
}

// ---- not ready

Step NodeLifecycle::mark_unready(const PodView& pod) {
  return [this, seen = static_cast<const Object&>(pod)](Next next) {
    calls.patch_lists(pod_path(seen) + "/status", unready_patch(seen, context.timing.wall()),
                      [this, seen, next](Result<client::Reply> reply) {
                        if (reply)
                          context.events.event("node-controller", ref(seen), true, "NodeNotReady",
                                               "Node is not ready");
                        next(settled(reply, true));
                      });
  };
}

// ---- evictions

void NodeLifecycle::place(const PodView& pod, const NodeView& node, Driver::Done done) {
  const std::vector<Taint> taints = evicting(node, health.standing(node.name), held);
  const std::optional<int64_t> allowance = allowance_ms(taints, json::Cursor(pod.tolerations()));
  if (!allowance) {
    stay(pod);
    return done({});
  }
  const int64_t due = evictions.schedule(pod.key(), pod.uid, *allowance, now_ms());
  if (evictions.was_sent(pod.key())) return done({});
  if (due <= now_ms()) return evict(pod, std::move(done));
  driver.add_after("pod " + pod.key(), due - now_ms());
  done({});
}

void NodeLifecycle::stay(const PodView& pod) {
  if (evictions.cancel(pod.key()))
    context.events.event(kEvictor, ref(pod), false, "TaintManagerEviction",
                         "Cancelling deletion of Pod " + pod.key());
}

void NodeLifecycle::evict(const PodView& pod, Driver::Done done) {
  const Object seen = pod;
  if (driver.failures("pod " + pod.key()) == 0)
    context.events.event(kEvictor, ref(pod), false, "TaintManagerEviction",
                         "Marking for deletion Pod " + pod.key());
  std::vector<Step> steps;
  steps.push_back([this, seen](Next next) {
    calls.patch_lists(
        pod_path(seen) + "/status",
        disruption_patch(seen, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint",
                         false, context.timing.wall()),
        [next](Result<client::Reply> reply) { next(settled(reply)); });
  });
  steps.push_back([this, seen](Next next) {
    calls.remove(pod_path(seen), seen.uid, [this, seen, next](Result<client::Reply> reply) {
      const Result<> r = settled(reply);
      if (r) evictions.sent(seen.key());
      next(r);
    });
  });
  in_order(std::move(steps), std::move(done));
}

// ---- removal for good

Step NodeLifecycle::remove_for_good(const PodView& pod, const char* reason, const char* message) {
  return
      [this, seen = static_cast<const Object&>(pod), failed = !pod.finished(), reason, message](Next next) {
        const auto remove = [this, seen, next] {
          calls.remove_now(pod_path(seen), seen.uid,
                           [next](Result<client::Reply> reply) { next(settled(reply)); });
        };
        if (!failed) return remove();
        calls.patch_lists(pod_path(seen) + "/status",
                          disruption_patch(seen, reason, message, true, context.timing.wall()),
                          [next, remove](Result<client::Reply> reply) {
                            const Result<> r = settled(reply);
                            r ? remove() : next(r);
                          });
      };
}

void NodeLifecycle::remove_orphans(const std::string& node, Driver::Done done) {
  std::vector<Step> steps;
  caches.pods.each([&](const PodView& pod) {
    if (pod.node == node)
      steps.push_back(remove_for_good(pod, "DeletionByPodGC", "PodGC: node no longer exists"));
  });
  in_order(std::move(steps), [this, node, done = std::move(done)](Result<> r) {
    if (r && !caches.nodes.get(node)) missing.erase(node);  // pods that come later wait anew
    done(std::move(r));
  });
}

}  // namespace limpet::controllers::nodelifecycle
