// The queue of handshake steps in front of the pool, and who may have how much of it. Internal.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <list>
#include <memory>

#include "base/clock.h"
#include "loop/loop.h"
#include "tls/session.h"
#include "tls/tls.h"

namespace limpet::tls {

// One step waiting for a pool thread. It is dropped when its owner has gone.
struct Job {
  std::shared_ptr<Config> config;
  bool first = false;  // its session is made when the step runs: waiting costs nothing
  std::weak_ptr<void> owner;
  std::function<std::shared_ptr<Session>()> session;  // on the loop; null: the owner gave up
  std::function<void(Session::Step)> done;            // on the loop, unless the owner has gone
};

// A connection to a server that has sent nothing yet. Anybody on the network can open any number of them.
class Silent {
 public:
  virtual void give_way() = 0;

 protected:
  ~Silent() = default;
};

struct Engine::Impl {
  Impl(loop::Loop& l, Clock& c, Limits lim) : loop(l), clock(c), limits(lim) {}

  // False when too many wait; a handshake that has begun is never turned away.
  bool submit(Job job);
  // Room for one more connection to a server: the longest silent one gives way for it. False when there is
  // none.
  bool admit();
  // Whether a connection waits for a session that another one holds.
  bool starved() const;
  void session_ended();
  std::shared_ptr<Session> new_session(std::shared_ptr<Config> config) {
    return std::make_shared<Session>(std::move(config), connections);
  }

  loop::Loop& loop;
  Clock& clock;
  Limits limits;
  Stats counts;
  std::shared_ptr<std::atomic<int64_t>> connections = std::make_shared<std::atomic<int64_t>>(0);

  std::list<Silent*> silent;  // the longest first
  size_t open = 0;            // connections to servers in the handshake
  size_t sessions = 0;        // those of them that have a session

  size_t waiting() const {
    return queues_[0].size() + queues_[1].size() + queues_[2].size() + queues_[3].size();
  }

 private:
  struct Lane {
    loop::Work work;
    bool busy = false;
  };
  void pump();
  bool take(Job& out);
  bool may_run(const Job& job) const;
  bool run(Lane& lane, Job job);

  Lane lanes_[2];
  // In this order: urgent and begun, urgent and new, begun, new. What has begun comes to its end before
  // anything else begins: all of them a step at a time would be done at once, when the patience of all is
  // over.
  std::deque<Job> queues_[4];
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace limpet::tls
