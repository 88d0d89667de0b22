// Two streams joined: what comes on the one goes out on the other, both ways, at the pace of the slower. The
// end of one direction is passed on; when both have ended, or one stream breaks, both are closed.
//
// Owned by whoever joined them. Destroying it closes both at once. Loop thread only.
#pragma once

#include <functional>
#include <memory>

#include "loop/loop.h"
#include "loop/stream.h"

namespace limpet::daemon {

class Splice {
 public:
  static constexpr size_t queue_bound = size_t{128} * 1024;  // in each direction, and one read

  // on_end comes once, last, never from inside; the Splice may be destroyed in it.
  Splice(loop::Loop& loop, std::unique_ptr<loop::Stream> a, std::unique_ptr<loop::Stream> b,
         std::function<void()> on_end);
  ~Splice();
  Splice(const Splice&) = delete;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace limpet::daemon
