// All controllers of a server with the caches they share. Owned by the daemon; loop thread only.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/random.h"
#include "client/client.h"
#include "client/events.h"
#include "controllers/cache.h"
#include "controllers/nodelifecycle/node.h"
#include "controllers/timing.h"
#include "controllers/tokencleaner/token.h"
#include "controllers/views.h"

namespace limpet::controllers {

// Where controllers tell what they did: "SuccessfulCreate", "Created pod: web-x".
class EventSink {
 public:
  virtual ~EventSink() = default;
  // `component`: the controller that speaks.
  virtual void event(const char* component, const client::ObjectRef& about, bool warning,
                     const std::string& reason, const std::string& message) = 0;
};

// What every controller gets.
struct Context {
  loop::Loop& loop;
  Timing& timing;
  Random& random;
  client::Client& client;
  EventSink& events;
};

struct Caches {
  Cache<PodView> pods;
  Cache<ReplicaSetView> replica_sets;
  Cache<DeploymentView> deployments;
  Cache<NodeView> nodes;
  Cache<LeaseView> leases;  // of the nodes
  Cache<TokenView> tokens;  // with which devices join

  explicit Caches(const Context& c);
};

struct NodeOptions {
  std::string own_device;  // name of this device's Node: it never counts as unreachable here
  // A device that is not heard of for so long is unreachable. Four times the interval of its lease, at least:
  // 40 s where that is 10 s (as upstream), minutes on metered links.
  int64_t grace_ms = 40'000;
};

class Manager {
 public:
  explicit Manager(Context context, NodeOptions nodes = {});
  ~Manager();
  void start();
  bool synced() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace limpet::controllers
