#include "loop/poll.h"

#include "loop/internal.h"

namespace limpet::loop {

struct Poll::Impl {
  uv_poll_t handle;
  std::shared_ptr<OnEvents> callback;

  static void ready(uv_poll_t* poll, int status, int events) noexcept {
    auto* self = static_cast<Impl*>(poll->data);
    const auto callback = self->callback;  // the call may replace it
    if (!callback || !*callback) return;
    (*callback)({.readable = (events & UV_READABLE) != 0,
                 .writable = (events & UV_WRITABLE) != 0,
                 .hangup = (events & UV_DISCONNECT) != 0,
                 .error = status < 0 ? -status : 0});
  }
};

Result<std::unique_ptr<Poll>> Poll::make(Loop& loop, int fd) {
  LIMPET_ASSERT(loop.in_loop_thread());
  auto impl = std::make_unique<Impl>();
  if (const int r = uv_poll_init(loop.uv(), &impl->handle, fd); r < 0) return fail_uv(r, "poll descriptor");
  opened(impl.get(), loop);
  return std::unique_ptr<Poll>(new Poll(impl.release()));
}

Poll::~Poll() {
  auto dropped = std::move(impl_->callback);
  close_handle(impl_);
}

void Poll::start(bool readable, bool writable, OnEvents f) {
  impl_->callback = std::make_shared<OnEvents>(std::move(f));
  uv_poll_start(&impl_->handle, (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0) | UV_DISCONNECT,
                Impl::ready);
}

void Poll::stop() {
  uv_poll_stop(&impl_->handle);
  auto dropped = std::move(impl_->callback);
}

}  // namespace limpet::loop
