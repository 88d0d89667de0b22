// Virtual time and the events of one simulated run, in an order that the seed alone decides.
#pragma once

#include <cstdint>
#include <functional>
#include <queue>
#include <vector>

#include "base/random.h"

namespace sim {

using Time = uint64_t;  // microseconds since the run began
constexpr Time kMs = 1000, kSecond = 1000 * kMs;

class Clockwork {
 public:
  explicit Clockwork(uint64_t seed) : random_(seed) {}

  Time now() const { return now_; }
  limpet::Random& random() { return random_; }
  uint64_t below(uint64_t bound) { return random_.below(bound); }
  bool chance(uint64_t permille) { return random_.below(1000) < permille; }
  // Uniform in [low, high].
  uint64_t between(uint64_t low, uint64_t high) { return low + random_.below(high - low + 1); }

  void after(Time delay, std::function<void()> what) {
    events_.push({now_ + delay, next_++, std::move(what)});
  }
  // Runs the next event. False: there is none before `end`, and it is that late now.
  bool step(Time end) {
    if (events_.empty() || events_.top().at > end) {
      now_ = end;
      return false;
    }
    const auto what = std::move(const_cast<Event&>(events_.top()).what);
    now_ = events_.top().at;
    events_.pop();
    what();
    return true;
  }

 private:
  struct Event {
    Time at;
    uint64_t order;
    std::function<void()> what;
    bool operator<(const Event& other) const { return at != other.at ? at > other.at : order > other.order; }
  };
  limpet::SeededRandom random_;
  std::priority_queue<Event> events_;
  Time now_ = 0;
  uint64_t next_ = 0;
};

}  // namespace sim
