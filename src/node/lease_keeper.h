// Says at even intervals that the device is alive: POST /limpet/v1/heartbeat, which renews its lease in the
// leader's memory (api/heartbeat.h). Nothing is written anywhere for it.
//
// One timer, one small request; an idle device wakes for it once an interval. A server that does not answer,
// or refuses, is asked again after a second, then later and later, at the latest after an interval. Owned by
// the daemon, on the loop's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/random.h"
#include "client/client.h"
#include "loop/loop.h"

namespace limpet::node {

struct Heartbeat {
  int64_t interval_ms = 10'000;
  int64_t lease_s = 40;  // after which silence the leader, which has the same profile, holds it for dead

  // As the kubelet: four are missed before anybody acts.
  static Heartbeat lan() { return {10'000, 40}; }
  // A link that costs by the byte: about 40 KB an hour.
  static Heartbeat metered() { return {60'000, 300}; }
};

class LeaseKeeper {
 public:
  // Called from inside an answer.
  struct Hooks {
    std::function<void()> heard_again;  // after it was not
    std::function<void()> unknown;  // the servers have no Node of this device; again with each such answer
  };
  LeaseKeeper(loop::Loop& loop, Random& random, client::Client& client, Heartbeat heartbeat,
              Hooks hooks = {});
  ~LeaseKeeper();
  // The first heartbeat at once.
  void start();
  int64_t heard_ms() const {
    return heard_ms_;
  }  // of the loop's clock, the last one that was heard; -1: none
  const std::string& problem() const { return problem_; }  // why the last one was not; empty when it was
  uint64_t heard() const { return heard_; }
  uint64_t failed() const { return failed_; }

 private:
  void beat();
  void answered(const Result<client::Reply>& reply);
  void plan(int64_t delay_ms);

  loop::Loop& loop_;
  Random& random_;
  client::Client& client_;
  Heartbeat heartbeat_;
  Hooks hooks_;
  loop::Timer timer_;
  std::unique_ptr<client::Pending> call_;
  int64_t due_ms_ = 0;  // when the beat under way should have begun
  int failures_ = 0;    // since the last answer
  int64_t heard_ms_ = -1;
  uint64_t heard_ = 0, failed_ = 0;
  std::string problem_;
};

}  // namespace limpet::node
