// What a cluster's leader does without being asked: the built-in namespaces, garbage collection, the end of
// namespaces, old events, the cluster's CA in each namespace.
//
// Begins where and when this server leads, once the state here holds all that was acknowledged in earlier
// terms; ends with the term. Its writes happen in that term or not at all (Core::work_term). Owned by
// ApiServer.
#pragma once

#include <functional>
#include <memory>

#include "api/context.h"
#include "api/sweeper.h"

namespace limpet::api {

// Done once this server leads with all of earlier terms in its state; at once when that was so before in this
// term. `unavailable`: it does not lead, or not any more.
void settle(Core& core, std::function<void(Result<>)> done);

class Background {
 public:
  explicit Background(Core& core) : core_(core), sweeper_(core), timer_(core.loop, "api background") {}

  // `done`: the built-in namespaces are there, made here or come from the leader. An error on a device alone
  // only; elsewhere it is tried again.
  void start(std::function<void(Result<>)> done);
  void stop();
  void leadership_changed() { look(); }
  bool working() const { return phase_ == Phase::working; }

 private:
  enum class Phase { off, idle, beginning, working };

  void look();
  void begin();
  void settled(Result<> settled);
  void made(Result<> made);
  void again();
  void end();
  void wait_for_namespaces();
  void tell(Result<> r);
  // Wraps a callback: not called once what it belongs to has ended.
  template <class F>
  auto guarded(F f) {
    return [alive = std::weak_ptr<int>(alive_), f = std::move(f)](auto&&... args) mutable {
      if (!alive.expired()) f(std::forward<decltype(args)>(args)...);
    };
  }

  Core& core_;
  Sweeper sweeper_;
  loop::Timer timer_;
  std::function<void(Result<>)> done_;
  Phase phase_ = Phase::off;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace limpet::api
