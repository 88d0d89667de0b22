#include "loop/internal.h"

namespace limpet::loop {

struct Work::Impl {
  uv_work_t request;
  Task work;
  Task done;
  bool finished = false;
  std::shared_ptr<Impl> self;  // held while the request is with the pool

  static void run(uv_work_t* request) noexcept { static_cast<Impl*>(request->data)->work(); }

  static void after(uv_work_t* request, int status) noexcept {
    auto keep = std::move(static_cast<Impl*>(request->data)->self);
    --impl_of(request->loop).live;
    keep->finished = true;
    Task work = std::move(keep->work);  // captured values die on the loop's thread
    Task f = std::move(keep->done);
    if (f && status == 0) f();
  }
};

Work::~Work() { forget(); }

void Work::start(Loop& loop, Task work, Task done) {
  LIMPET_ASSERT(loop.in_loop_thread());
  LIMPET_ASSERT(!busy());
  impl_ = std::make_shared<Impl>();
  impl_->work = std::move(work);
  impl_->done = std::move(done);
  impl_->request.data = impl_.get();
  impl_->self = impl_;
  ++loop.impl().live;
  LIMPET_ASSERT(uv_queue_work(loop.uv(), &impl_->request, Impl::run, Impl::after) == 0);
}

bool Work::busy() const { return impl_ && !impl_->finished; }

void Work::forget() {
  if (!impl_) return;
  auto dropped = std::move(impl_);
  if (dropped->finished) return;
  Task done = std::move(dropped->done);
  uv_cancel(reinterpret_cast<uv_req_t*>(&dropped->request));  // only helps while it waits for a thread
}

}  // namespace limpet::loop
