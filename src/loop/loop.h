// The event loop: libuv handles with one close protocol.
//
// One Loop per daemon, owned by main, used by one thread (asserted). Every object that holds a uv handle goes
// initialised -> closing -> closed and frees the handle in its close callback only, so that destroying the
// C++ owner is always safe, also from inside its own callback. Loop::run returns when nothing is left or
// after stop(). The Loop is destroyed last: its destructor waits for closing handles and running pool work,
// and asserts that nothing else is left.
//
// Callbacks are std::function without exceptions; nothing thrown crosses libuv. Making a Loop ignores SIGPIPE
// and sets SIGCHLD to its default for the whole process: a broken pipe is an Error, and children are waited
// for by pid.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/result.h"

struct uv_loop_s;

namespace limpet::loop {

using Task = std::function<void()>;

class Loop {
 public:
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;

  uv_loop_s* uv() { return uv_; }
  void run();
  void stop();
  // Turns the loop until done() or for limit_ms; true when done. For tests and for start-up, never in a
  // callback.
  bool run_until(const std::function<bool()>& done, int64_t limit_ms);
  // Runs f on the loop after the current callback. From the loop's own thread only.
  void defer(Task f);
  // Runs f on the loop's thread. From any thread; the only way in from outside. Does not keep run() from
  // returning.
  void post(Task f);
  int64_t now_ms() const;  // monotonic, as of this turn of the loop
  bool in_loop_thread() const;
  // Handles and pool requests not yet closed, for leak checks at the end of tests. Closing takes a turn of
  // the loop.
  size_t live_handles() const;

  struct Impl;
  Impl& impl() { return *impl_; }  // for the files of this room

 private:
  std::unique_ptr<Impl> impl_;
  uv_loop_s* uv_ = nullptr;
};

// One-shot or repeating timer; re-arming replaces. Destroying or stop() disarms. Named for logs and /metrics.
class Timer {
 public:
  Timer(Loop& loop, const char* name);
  ~Timer();
  Timer(const Timer&) = delete;
  void start(int64_t delay_ms, Task f);
  void repeat(int64_t every_ms, Task f);
  void stop();
  bool active() const;
  const char* name() const;

 private:
  struct Impl;
  Impl* impl_;
};

// Blocking work on libuv's pool as a tracked request: `work` runs on a pool thread and may touch only what it
// owns, `done` runs on the loop unless the Work object was destroyed before (a late result is dropped). One
// request at a time (asserted); start again from within done() is fine.
class Work {
 public:
  Work() = default;
  ~Work();
  Work(const Work&) = delete;
  void start(Loop& loop, Task work, Task done);
  bool busy() const;
  void forget();  // as destruction

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace limpet::loop
