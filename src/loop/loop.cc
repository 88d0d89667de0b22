#include "loop/loop.h"

#include <csignal>
#include <string>

#include "loop/internal.h"

namespace limpet::loop {

char* Loop::Impl::buffer() {
  if (!read_buffer) read_buffer = std::make_unique_for_overwrite<char[]>(read_buffer_size);
  return read_buffer.get();
}

void Loop::Impl::run_deferred() {
  // Tasks deferred by these tasks run on the next turn, so that a task that defers itself starves nobody.
  std::vector<Task> tasks;
  tasks.swap(deferred);
  for (Task& task : tasks) task();
  if (deferred.empty()) uv_idle_stop(&idle);
}

void Loop::Impl::run_posted() {
  Posted* newest = posted.exchange(nullptr, std::memory_order_acquire);
  Posted* oldest = nullptr;
  while (newest != nullptr) {
    Posted* next = newest->next;
    newest->next = oldest;
    oldest = newest;
    newest = next;
  }
  while (oldest != nullptr) {
    std::unique_ptr<Posted> item(oldest);
    oldest = oldest->next;
    item->task();
  }
}

Loop::Loop() : impl_(std::make_unique<Impl>()), uv_(&impl_->loop) {
  signal(SIGPIPE, SIG_IGN);
  signal(SIGCHLD, SIG_DFL);
  impl_->thread = pthread_self();
  LIMPET_ASSERT(uv_loop_init(uv_) == 0);
  uv_->data = impl_.get();
  LIMPET_ASSERT(uv_loop_configure(uv_, UV_METRICS_IDLE_TIME) == 0);
  LIMPET_ASSERT(
      uv_async_init(uv_, &impl_->async, [](uv_async_t* a) noexcept { impl_of(a->loop).run_posted(); }) == 0);
  uv_unref(reinterpret_cast<uv_handle_t*>(&impl_->async));
  uv_idle_init(uv_, &impl_->idle);
  uv_check_init(uv_, &impl_->check);
  uv_check_start(&impl_->check, [](uv_check_t* c) noexcept {
    Impl& impl = impl_of(c->loop);
    if (!impl.deferred.empty()) impl.run_deferred();
    impl.turn_ended();
  });
  uv_unref(reinterpret_cast<uv_handle_t*>(&impl_->check));
}

Loop::~Loop() {
  impl_->parked.clear();
  // Deferred and posted tasks may own objects with handles: drop them first.
  std::vector<Task>().swap(impl_->deferred);
  uv_idle_stop(&impl_->idle);
  for (Impl::Posted* p = impl_->posted.exchange(nullptr); p != nullptr;) delete std::exchange(p, p->next);
  uv_close(reinterpret_cast<uv_handle_t*>(&impl_->async), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&impl_->idle), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&impl_->check), nullptr);
  uv_->stop_flag = 0;
  size_t open = 0;
  uv_walk(
      uv_,
      [](uv_handle_t* handle, void* n) noexcept {
        if (!uv_is_closing(handle)) ++*static_cast<size_t*>(n);
      },
      &open);
  LIMPET_ASSERT(open == impl_->lingering);  // else an owner outlives the loop
  while (impl_->live > 0 && uv_run(uv_, UV_RUN_ONCE) != 0) {
  }
  uv_run(uv_, UV_RUN_NOWAIT);
  LIMPET_ASSERT(uv_loop_close(uv_) == 0);
}

void Loop::run() {
  impl_->thread = pthread_self();
  impl_->measure_from_here();
  uv_run(uv_, UV_RUN_DEFAULT);
}

void Loop::stop() {
  LIMPET_ASSERT(in_loop_thread());
  uv_stop(uv_);
}

bool Loop::run_until(const std::function<bool()>& done, int64_t limit_ms) {
  if (done()) return true;
  Timer guard(*this, "run-until");
  bool expired = false;
  guard.start(limit_ms, [&] { expired = true; });
  impl_->measure_from_here();
  while (!expired) {
    uv_run(uv_, UV_RUN_ONCE);
    if (done()) return true;
  }
  return false;
}

void Loop::defer(Task f) {
  LIMPET_ASSERT(in_loop_thread());
  impl_->deferred.push_back(std::move(f));
  if (impl_->deferred.size() == 1) {
    uv_idle_start(&impl_->idle, [](uv_idle_t* i) noexcept { impl_of(i->loop).run_deferred(); });
  }
}

void Loop::post(Task f) {
  auto* item = new Impl::Posted{std::move(f), impl_->posted.load(std::memory_order_relaxed)};
  while (!impl_->posted.compare_exchange_weak(item->next, item, std::memory_order_release,
                                              std::memory_order_relaxed)) {
  }
  uv_async_send(&impl_->async);
}

int64_t Loop::now_ms() const { return static_cast<int64_t>(uv_now(uv_)); }
bool Loop::in_loop_thread() const { return pthread_equal(pthread_self(), impl_->thread) != 0; }
size_t Loop::live_handles() const { return impl_->live; }

std::unexpected<Error> fail_uv(int status, std::string_view context) {
  if (status < 0 && status > UV_EAI_ADDRFAMILY)
    return fail_errno(-status, context);  // UV_EAI_* and UV_EOF lie below
  std::string text(context);
  text.append(": ").append(uv_strerror(status));
  return fail(status == UV_EAI_MEMORY ? Errc::exhausted : Errc::unavailable, std::move(text));
}

}  // namespace limpet::loop
