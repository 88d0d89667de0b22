#include "daemon/clock_watch.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <limits>

namespace limpet::daemon {

Result<std::unique_ptr<ClockWatch>> ClockWatch::make(loop::Loop& loop, loop::Task changed) {
  UniqueFd fd(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!fd) return fail_errno(errno, "timerfd_create");
  itimerspec never{};
  never.it_value.tv_sec = std::numeric_limits<time_t>::max();
  if (timerfd_settime(fd.get(), TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, nullptr) != 0)
    return fail_errno(errno, "timerfd_settime");
  std::unique_ptr<ClockWatch> watch(new ClockWatch(std::move(fd)));
  watch->changed_ = std::move(changed);
  TRY(watch->poll_, loop::Poll::make(loop, watch->fd_.get()));
  watch->poll_->start(true, false, [w = watch.get()](loop::PollEvents) { w->look(); });
  return watch;
}

// The kernel reports each setting of the clock once, as a failed read, and goes on watching.
void ClockWatch::look() {
  uint64_t expirations = 0;
  if (read(fd_.get(), &expirations, sizeof expirations) < 0 && errno == ECANCELED) changed_();
}

}  // namespace limpet::daemon
