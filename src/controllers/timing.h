// Time as the controllers see it: the loop's in the daemon, a virtual one in tests and simulations. Loop
// thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/clock.h"
#include "loop/loop.h"

namespace limpet::controllers {

// One shot; starting again replaces, destroying disarms.
class Alarm {
 public:
  virtual ~Alarm() = default;
  virtual void start(int64_t delay_ms, std::function<void()> f) = 0;
  virtual void stop() = 0;
};

class Timing {
 public:
  virtual ~Timing() = default;
  virtual int64_t now_ms() = 0;  // monotonic
  virtual WallTime wall() = 0;
  virtual void defer(std::function<void()> f) = 0;  // after the current callback
  virtual std::unique_ptr<Alarm> alarm(const char* name) = 0;
};

class LoopTiming final : public Timing {
 public:
  LoopTiming(loop::Loop& loop, Clock& clock) : loop_(loop), clock_(clock) {}
  int64_t now_ms() override { return clock_.monotonic_ms(); }
  WallTime wall() override { return clock_.wall(); }
  void defer(std::function<void()> f) override { loop_.defer(std::move(f)); }
  std::unique_ptr<Alarm> alarm(const char* name) override;

 private:
  loop::Loop& loop_;
  Clock& clock_;
};

}  // namespace limpet::controllers
