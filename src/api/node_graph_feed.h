// Keeps a NodeGraph in step with the pods of the store: one list, then one watch of the durable space, on any
// server.
//
// A server may be a little behind the one that a device heard of its pod from. So a refusal that rests on the
// graph is not final before the graph has seen everything that was acknowledged anywhere (catch_up). Owned by
// ApiServer, on the loop's thread.
#pragma once

#include <functional>
#include <list>
#include <memory>

#include "api/context.h"
#include "api/node_graph.h"

namespace limpet::api {

class NodeGraphFeed {
 public:
  explicit NodeGraphFeed(Core& core);
  ~NodeGraphFeed();
  void start();
  void stop();  // who still waits is told `unavailable`

  const NodeGraph& graph() const { return graph_; }
  // Calls f when the graph holds at least what any server acknowledged before the call, perhaps before it
  // returns. `unavailable`: nobody could say so.
  void catch_up(std::function<void(Result<>)> f);

 private:
  struct Waiting {
    store::Revision revision;
    std::function<void(Result<>)> f;
  };
  struct Load;
  void load();
  void next_page(std::shared_ptr<Load> load);
  void follow(store::Revision after);
  void on_event(const store::Event& e);
  void wait(store::Revision revision, std::function<void(Result<>)> f);
  void look();
  // Wraps a callback: not called after stop().
  template <class F>
  auto guarded(F f) {
    return [alive = std::weak_ptr<int>(alive_), f = std::move(f)](auto&&... args) mutable {
      if (!alive.expired()) f(std::forward<decltype(args)>(args)...);
    };
  }

  Core& core_;
  NodeGraph graph_;
  std::unique_ptr<store::Watch> watch_;  // none while the list is read
  std::list<Waiting> waiting_;
  loop::Timer reload_, look_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace limpet::api
