// A signal as a callback on the loop (SIGTERM, SIGHUP...). SIGCHLD is not for this: children are watched by
// pid.
#pragma once

#include "loop/loop.h"

namespace limpet::loop {

class Signal {
 public:
  static Result<std::unique_ptr<Signal>> make(Loop& loop, int signum, Task f);
  ~Signal();
  Signal(const Signal&) = delete;

 private:
  struct Impl;
  explicit Signal(Impl* impl) : impl_(impl) {}
  Impl* impl_;
};

}  // namespace limpet::loop
