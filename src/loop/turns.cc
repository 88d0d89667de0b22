#include "loop/turns.h"

#include <algorithm>

#include "loop/internal.h"

namespace limpet::loop {

void TurnStats::add(double seconds) {
  ++turns;
  busy_s += seconds;
  longest_s = std::max(longest_s, seconds);
  for (size_t i = 0; i < bounds_s.size(); ++i) {
    if (seconds <= bounds_s[i]) ++within[i];
  }
}

const TurnStats& turn_stats(Loop& loop) { return loop.impl().turns; }

void Loop::Impl::measure_from_here() {
  turn_began_ns = uv_hrtime();
  idle_ns = uv_metrics_idle_time(&loop);
}

void Loop::Impl::turn_ended() {
  const uint64_t began = turn_began_ns, idle_before = idle_ns;
  measure_from_here();
  const uint64_t passed = turn_began_ns - began, waited = idle_ns - idle_before;
  turns.add(passed > waited ? static_cast<double>(passed - waited) / 1e9 : 0);
}

}  // namespace limpet::loop
