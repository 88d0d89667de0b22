// All controllers of a server with the caches they share. Owned by the daemon; loop thread only.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/random.h"
#include "client/client.h"
#include "client/events.h"
#include "controllers/cache.h"
#include "controllers/timing.h"
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

  explicit Caches(const Context& c);
};

class Manager {
 public:
  explicit Manager(Context context);
  ~Manager();
  void start();
  bool synced() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace limpet::controllers
