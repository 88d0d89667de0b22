// Time comes in through this interface, so that pure cores never read a clock and simulations own one.
//
// Monotonic time drives timeouts and back-off and counts suspended time (CLOCK_BOOTTIME). Wall time is for
// people and certificates only; it has a floor (see WallFloor), since many boards start in 1970.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace limpet {

struct WallTime {
  int64_t seconds = 0;  // since 1970-01-01T00:00:00Z
  int32_t nanos = 0;
  auto operator<=>(const WallTime&) const = default;
};

class Clock {
 public:
  virtual ~Clock() = default;
  virtual int64_t monotonic_ms() = 0;
  virtual WallTime wall() = 0;
};

// The kernel's clocks; wall() never goes below the floor. Owned by main, used from any thread that owns it.
class SystemClock final : public Clock {
 public:
  explicit SystemClock(int64_t floor_seconds = build_time());
  int64_t monotonic_ms() override;
  WallTime wall() override;
  // Raises the floor (the time of the last commit found in the store, for example). Never lowers it.
  void raise_floor(int64_t seconds);
  // The date of the source this program was built from, in seconds.
  static int64_t build_time();

 private:
  int64_t floor_;
};

// A clock that moves when told, for tests and simulation.
class ManualClock final : public Clock {
 public:
  int64_t monotonic_ms() override { return now_ms_; }
  WallTime wall() override { return wall_; }
  void advance_ms(int64_t ms);
  void set_wall(WallTime t) { wall_ = t; }

 private:
  int64_t now_ms_ = 0;
  WallTime wall_{1767225600, 0};  // 2026-01-01T00:00:00Z
};

// RFC 3339 in UTC. Kubernetes writes Time without and MicroTime with six fractional digits; nano is for log
// lines.
std::string rfc3339(WallTime t);
std::string rfc3339_micro(WallTime t);
std::string rfc3339_nano(WallTime t);
// Accepts any RFC 3339 offset and up to nine fractional digits.
Result<WallTime> parse_rfc3339(std::string_view text);

}  // namespace limpet
