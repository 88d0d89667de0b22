// The queue of handshake steps in front of the pool. Internal.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>

#include "base/clock.h"
#include "loop/loop.h"
#include "tls/session.h"
#include "tls/tls.h"

namespace limpet::tls {

// One step waiting for a pool thread. It is dropped when its owner has gone.
struct Job {
  std::shared_ptr<Session> session;
  std::weak_ptr<void> owner;
  std::function<void(Session::Step)> done;  // on the loop, unless the owner has gone
};

struct Engine::Impl {
  Impl(loop::Loop& l, Clock& c, Limits lim) : loop(l), clock(c), limits(lim) {}

  // False when too many wait; a handshake that has begun is never turned away.
  bool submit(Job job, bool first_step);
  std::shared_ptr<Session> new_session(std::shared_ptr<Config> config) {
    return std::make_shared<Session>(std::move(config), connections);
  }

  loop::Loop& loop;
  Clock& clock;
  Limits limits;
  Stats counts;
  std::shared_ptr<std::atomic<int64_t>> connections = std::make_shared<std::atomic<int64_t>>(0);

  size_t waiting() const { return queues_[0].size() + queues_[1].size() + queues_[2].size(); }

 private:
  struct Lane {
    loop::Work work;
    bool busy = false;
  };
  void pump();
  bool take(Job& out);
  void run(Lane& lane, Job job);

  Lane lanes_[2];
  std::deque<Job> queues_[3];  // urgent; begun; new: in this order
};

}  // namespace limpet::tls
