// Tells when the machine's clock was set (by the network, by a person, after a suspend): no polling.
//
// Owned by whoever wants to know, used on the loop. Source: timerfd_create(2), TFD_TIMER_CANCEL_ON_SET.
#pragma once

#include <memory>

#include "base/result.h"
#include "base/unique_fd.h"
#include "loop/poll.h"

namespace limpet::daemon {

class ClockWatch {
 public:
  static Result<std::unique_ptr<ClockWatch>> make(loop::Loop& loop, loop::Task changed);
  ClockWatch(const ClockWatch&) = delete;

 private:
  explicit ClockWatch(UniqueFd fd) : fd_(std::move(fd)) {}
  void look();

  UniqueFd fd_;
  loop::Task changed_;
  std::unique_ptr<loop::Poll> poll_;  // after fd_: goes first
};

}  // namespace limpet::daemon
