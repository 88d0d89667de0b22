#include "cli/input.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>

namespace limpet::cli {

Input::Input(loop::Loop& loop, int fd, size_t chunk_bytes, OnBytes on_bytes)
    : fd_(fd), chunk_bytes_(chunk_bytes), on_bytes_(std::move(on_bytes)), timer_(loop, "input") {
  const std::string again = "/proc/self/fd/" + std::to_string(fd);
  own_.reset(open(again.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
  // A file opened anew would begin at its start again, not where the shell's reading stopped.
  if (own_ && lseek(own_.get(), 0, SEEK_CUR) >= 0 && lseek(fd, 0, SEEK_CUR) >= 0) own_.reset();
  if (!own_) old_flags_ = fcntl(fd, F_GETFL);
  auto poll = loop::Poll::make(loop, own_ ? own_.get() : fd_);
  if (poll) poll_ = std::move(*poll);
  arm();
}

Input::~Input() {
  poll_.reset();
  if (!own_ && old_flags_ >= 0) fcntl(fd_, F_SETFL, old_flags_);
}

void Input::pause(bool paused) {
  if (paused_ == paused) return;
  paused_ = paused;
  if (!paused) return arm();
  timer_.stop();
  if (poll_) poll_->stop();
}

void Input::arm() {
  if (ended_ || paused_) return;
  if (poll_) {
    poll_->start(true, false, [this](loop::PollEvents) { read_some(); });
  } else {
    timer_.start(0, [this] { read_some(); });
  }
}

void Input::read_some() {
  std::string buffer(chunk_bytes_, '\0');
  const ssize_t n = read(own_ ? own_.get() : fd_, buffer.data(), buffer.size());
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return arm();
  if (n > 0) {
    if (!poll_) arm();
  } else {
    ended_ = true;  // also when the terminal is gone (EIO)
    timer_.stop();
    if (poll_) poll_->stop();
  }
  const OnBytes f = on_bytes_;  // the call may destroy this
  f(std::string_view(buffer).substr(0, n > 0 ? static_cast<size_t>(n) : 0));
}

}  // namespace limpet::cli
