// Time comes in through this interface, so that pure cores never read a clock and simulations own one.
//
// Monotonic time drives timeouts and back-off and counts suspended time (CLOCK_BOOTTIME). Wall time is for
// people and certificates only; the machine's clock is not simply believed (see TimeKeeper), since many
// boards start in 1970.
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

// Decides what time it is, from what the machine's clock reads, what was known before, and monotonic time.
// Pure. The rule, with its reasons in docs/decisions/0013-time.md:
//
// - A clock that reads earlier than the program was built is wrong: time goes on from what was known.
// - A clock that is ahead of what was known is right: a device may have been off for any time.
// - A clock that is behind by more than a day was set right: what was known came from a clock that was ahead.
// - A clock that is behind by less lost some time at a power cut, or is slewed: time does not go back but
//   runs at half speed until the clock has caught up.
class TimeKeeper {
 public:
  static constexpr int64_t correction_seconds = 86'400;

  // It is certainly not before this.
  TimeKeeper(int64_t earliest_seconds, int64_t monotonic_ns);
  WallTime now(WallTime machine, int64_t monotonic_ns);
  // It was at least this late once, as a clock of then said.
  void remember(int64_t seconds, int64_t monotonic_ns);

 private:
  int64_t passed(int64_t monotonic_ns);

  int64_t earliest_s_;
  int64_t believed_ns_;  // since 1970, as of at_ns_
  int64_t at_ns_;        // monotonic
};

// The kernel's clocks behind a TimeKeeper. Owned by main, used from any thread that owns it.
class SystemClock final : public Clock {
 public:
  explicit SystemClock(int64_t earliest_seconds = build_time());
  int64_t monotonic_ms() override;
  WallTime wall() override;
  // What the machine's clock reads, right or wrong: other programs of the device go by it.
  static WallTime machine();
  // The time of the last commit found in the store, for example.
  void remember(int64_t seconds);
  // The date of the source this program was built from, in seconds.
  static int64_t build_time();

 private:
  TimeKeeper keeper_;
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

// Seconds since 1970 of a date and time in UTC, in 64 bits also where time_t has 32.
int64_t unix_seconds(int64_t year, int month, int day, int hour, int minute, int second);

// RFC 3339 in UTC. Kubernetes writes Time without and MicroTime with six fractional digits; nano is for log
// lines.
std::string rfc3339(WallTime t);
std::string rfc3339_micro(WallTime t);
std::string rfc3339_nano(WallTime t);
// Accepts any RFC 3339 offset and up to nine fractional digits.
Result<WallTime> parse_rfc3339(std::string_view text);

}  // namespace limpet
