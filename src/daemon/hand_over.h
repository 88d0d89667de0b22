// A leader that is about to stop gives the lead to another voter, so that the cluster does not have to miss
// its heartbeats first.
//
// Owned by the store's part; goes before the store. Loop thread.
#pragma once

#include "loop/loop.h"
#include "store/consensus.h"

namespace limpet::daemon {

class HandOver {
 public:
  static constexpr int64_t limit_ms = 1'000;

  HandOver(loop::Loop& loop, store::Consensus& group) : group_(group), limit_(loop, "hand over") {}
  HandOver(const HandOver&) = delete;

  // `done` comes once: at once when there is nobody to give the lead to or nothing to give, else as soon as
  // another one leads, at the latest after limit_ms. Not from inside the store.
  void start(loop::Task done);

 private:
  bool ask();
  void end();

  store::Consensus& group_;
  loop::Timer limit_;
  loop::Task done_;
  store::Consensus::Subscription subscription_;
};

}  // namespace limpet::daemon
