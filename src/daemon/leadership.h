// Whether this server leads its cluster, told to the parts whose work only the leader does: scheduler,
// controllers, the API's own background work.
//
// A device alone leads from its start on. Owned by the store's part; the parts that follow it go before it.
// Loop thread.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>

#include "loop/loop.h"
#include "store/consensus.h"

namespace limpet::daemon {

class Leadership {
 public:
  struct Work {
    // This server leads in that raft term, and its state holds all that was acknowledged before: what is
    // decided now goes by the newest.
    std::function<void(uint64_t term)> begin;
    std::function<void()> end;  // it leads no more, or in another term; only after begin
  };
  // Ends what it began, when destroyed.
  class Follower {
   public:
    virtual ~Follower() = default;
  };

  Leadership(loop::Loop& loop, store::Consensus& group);
  ~Leadership();
  Leadership(const Leadership&) = delete;

  // The term in which this server leads and is up to date; 0: it does not lead, or is not there yet.
  uint64_t term() const { return settled_; }
  // begin() comes on a later turn of the loop, never from inside.
  [[nodiscard]] std::unique_ptr<Follower> follow(Work work);

 private:
  struct Entry {
    Work work;
    bool working = false;
  };
  class Handle;

  void look();
  void settle();
  void begin(const std::shared_ptr<Entry>& entry);
  void end_all();

  loop::Loop& loop_;
  store::Consensus& group_;
  std::list<std::shared_ptr<Entry>> entries_;
  bool looks_ = false;    // on a later turn
  uint64_t leads_ = 0;    // in this term, maybe not up to date yet
  uint64_t settled_ = 0;  // the same, up to date
  loop::Timer retry_;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
  store::Consensus::Subscription subscription_;
};

}  // namespace limpet::daemon
