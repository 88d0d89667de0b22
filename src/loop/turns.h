// How long the turns of a loop take, the wait for events left out: what comes meanwhile waits as long.
// Counted as the loop turns, so that nothing wakes it to be measured.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace limpet::loop {

class Loop;

struct TurnStats {
  static constexpr std::array<double, 9> bounds_s = {0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5};
  std::array<uint64_t, bounds_s.size()> within{};  // turns that took at most so long
  uint64_t turns = 0;
  double busy_s = 0;  // of all turns
  double longest_s = 0;

  void add(double seconds);
};

const TurnStats& turn_stats(Loop& loop);

}  // namespace limpet::loop
