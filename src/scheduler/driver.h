// The scheduler's driver: watches pods and nodes, asks schedule() for each pending pod, binds, and says why
// when it cannot. Nothing is polled: a pod that did not fit is tried again when a node or a bound pod
// changed.
//
// Owned by the daemon (on the leader alone, once there are several servers); loop thread.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/random.h"
#include "client/client.h"
#include "client/events.h"
#include "client/informer.h"
#include "loop/loop.h"
#include "scheduler/types.h"

namespace limpet::scheduler {

class Driver {
 public:
  Driver(loop::Loop& loop, Clock& clock, Random& random, client::Client& client,
         client::EventRecorder& events);
  ~Driver();
  void start();

 private:
  struct Pending;
  void pod_changed(const std::string& key, const SharedBytes& object);
  void pod_gone(const std::string& key);
  void node_changed(const std::string& key, const SharedBytes& object);
  void node_gone(const std::string& key);
  NodeInfo* find_node(std::string_view name);
  void retry_later(Pending& pending);
  void account(const std::string& key, const PodInfo* pod);
  void wake(bool room_changed);
  void run();
  void place(const std::string& key, Pending& pending);
  void bind(const std::string& key, Pending& pending, const std::string& node);
  void report(const std::string& key, Pending& pending, const std::string& message);

  loop::Loop& loop_;
  Clock& clock_;
  client::Client& client_;
  client::EventRecorder& events_;
  std::unique_ptr<client::Informer> pods_, nodes_;
  Snapshot snapshot_;                     // kept up to date in place: a pass over many pods copies no node
  std::map<std::string, PodInfo> bound_;  // what takes room on nodes, assumed bindings included
  std::map<std::string, std::unique_ptr<Pending>> pending_;
  bool planned_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace limpet::scheduler
