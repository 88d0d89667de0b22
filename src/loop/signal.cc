#include "loop/signal.h"

#include "loop/internal.h"

namespace limpet::loop {

struct Signal::Impl {
  uv_signal_t handle;
  std::shared_ptr<Task> task;
};

Result<std::unique_ptr<Signal>> Signal::make(Loop& loop, int signum, Task f) {
  LIMPET_ASSERT(loop.in_loop_thread());
  auto* impl = new Impl;
  uv_signal_init(loop.uv(), &impl->handle);
  opened(impl, loop);
  impl->task = std::make_shared<Task>(std::move(f));
  const auto received = [](uv_signal_t* signal, int) noexcept {
    const auto task = static_cast<Impl*>(signal->data)->task;
    if (task) (*task)();
  };
  if (const int r = uv_signal_start(&impl->handle, received, signum); r < 0) {
    close_handle(impl);
    return fail_uv(r, "watch signal");
  }
  return std::unique_ptr<Signal>(new Signal(impl));
}

Signal::~Signal() {
  auto dropped = std::move(impl_->task);
  close_handle(impl_);
}

}  // namespace limpet::loop
