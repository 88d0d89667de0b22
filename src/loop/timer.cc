#include "loop/internal.h"

namespace limpet::loop {

struct Timer::Impl {
  uv_timer_t handle;
  const char* name;
  Task task;
  bool closing = false;
  uint32_t generation = 0;  // of start, repeat and stop

  static void fired(uv_timer_t* timer) noexcept {
    auto* self = static_cast<Impl*>(timer->data);
    // The task may re-arm, stop or destroy the timer; it must not be destroyed while it runs.
    Task task = std::move(self->task);
    const uint32_t generation = self->generation;
    task();
    if (!self->closing && self->generation == generation && uv_timer_get_repeat(timer) != 0) {
      self->task = std::move(task);
    }
  }

  void arm(uint64_t delay, uint64_t every, Task f) {
    ++generation;
    task = std::move(f);
    uv_update_time(handle.loop);  // the cached time is as old as the current callback is long
    uv_timer_start(&handle, fired, delay, every);
  }
};

Timer::Timer(Loop& loop, const char* name) : impl_(new Impl{.name = name}) {
  LIMPET_ASSERT(loop.in_loop_thread());
  uv_timer_init(loop.uv(), &impl_->handle);
  opened(impl_, loop);
}

Timer::~Timer() {
  impl_->closing = true;
  Task dropped = std::move(impl_->task);
  close_handle(impl_);
}

void Timer::start(int64_t delay_ms, Task f) {
  impl_->arm(delay_ms > 0 ? static_cast<uint64_t>(delay_ms) : 0, 0, std::move(f));
}

void Timer::repeat(int64_t every_ms, Task f) {
  const uint64_t every = every_ms > 0 ? static_cast<uint64_t>(every_ms) : 1;
  impl_->arm(every, every, std::move(f));
}

void Timer::stop() {
  ++impl_->generation;
  uv_timer_stop(&impl_->handle);
  Task dropped = std::move(impl_->task);
}

bool Timer::active() const { return uv_is_active(reinterpret_cast<uv_handle_t*>(&impl_->handle)) != 0; }
const char* Timer::name() const { return impl_->name; }

}  // namespace limpet::loop
