// How long to wait before the next attempt: doubled after each failure up to a limit, with jitter, so that
// devices that lost the same peer do not come back at the same moment. Pure.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/random.h"

namespace limpet::peer {

class Backoff {
 public:
  Backoff(int64_t min_ms, int64_t max_ms) : min_ms_(min_ms), max_ms_(max_ms) {}

  // Between half of the step and all of it.
  int64_t next(Random& random) {
    const int64_t step = std::min(max_ms_, min_ms_ << std::min(failures_, 20));
    ++failures_;
    return step - static_cast<int64_t>(random.below(static_cast<uint64_t>(step / 2 + 1)));
  }
  void reset() { failures_ = 0; }

 private:
  int64_t min_ms_;
  int64_t max_ms_;
  int failures_ = 0;
};

}  // namespace limpet::peer
