#include "node/runtime/shim_link.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace limpet::node {

std::string frame_bytes(uint8_t type, std::string_view payload) {
  std::string out(shim::header_bytes, '\0');
  uint32_t size = static_cast<uint32_t>(payload.size());
  memcpy(out.data(), &size, sizeof size);
  out[4] = static_cast<char>(type);
  out.append(payload);
  return out;
}

Result<std::unique_ptr<ShimLink>> ShimLink::connect(loop::Loop& loop, const std::string& dir, Events events) {
  UniqueFd dir_fd(open(dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!dir_fd) return fail_errno(errno, "open " + dir);
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno(errno, "socket");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", dir_fd.get(), shim::socket_name);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno(errno, "connect to limpet-shim");
  }
  Result<std::unique_ptr<loop::Stream>> stream = loop::adopt_stream(loop, std::move(fd));
  if (!stream) return std::unexpected(std::move(stream).error());
  std::unique_ptr<ShimLink> link(new ShimLink);
  link->stream_ = std::move(*stream);
  link->events_ = std::move(events);
  ShimLink* self = link.get();
  self->stream_->set_events({.on_read = [self](std::string_view bytes) { self->take(bytes); },
                             .on_eof = [self] { self->closed(); },
                             .on_error = [self](Error) { self->closed(); },
                             .on_drain =
                                 [self] {
                                   if (self->events_.on_drain) self->events_.on_drain();
                                 }});
  self->stream_->read_start();
  return link;
}

ShimLink::~ShimLink() { *alive_ = false; }

void ShimLink::send(uint8_t type, std::string_view payload) {
  if (stream_) stream_->write(frame_bytes(type, payload));
}

void ShimLink::ask(uint8_t type, std::string_view payload, Answer answer) {
  if (!stream_) {
    answer(fail(Errc::unavailable, "connection to limpet-shim is lost"));
    return;
  }
  waiting_.push_back(std::move(answer));
  send(type, payload);
}

size_t ShimLink::queued() const { return stream_ ? stream_->write_queue_size() : 0; }

void ShimLink::pause(bool paused) {
  if (!stream_) return;
  if (paused)
    stream_->read_stop();
  else
    stream_->read_start();
}

void ShimLink::closed() {
  std::shared_ptr<bool> alive = alive_;
  stream_.reset();
  std::deque<Answer> waiting = std::move(waiting_);
  waiting_.clear();
  for (Answer& answer : waiting) {
    answer(fail(Errc::unavailable, "connection to limpet-shim is lost"));
    if (!*alive) return;
  }
  std::function<void()> on_closed = std::move(events_.on_closed);
  if (on_closed) on_closed();
}

void ShimLink::take(std::string_view bytes) {
  std::shared_ptr<bool> alive = alive_;
  buffer_.append(bytes);
  size_t at = 0;
  while (buffer_.size() - at >= shim::header_bytes) {
    uint32_t size;
    memcpy(&size, buffer_.data() + at, sizeof size);
    if (size > shim::max_reply_bytes) {
      closed();
      return;
    }
    if (buffer_.size() - at < shim::header_bytes + size) break;
    uint8_t type = static_cast<uint8_t>(buffer_[at + 4]);
    // A copy: the callback may end this object.
    std::string payload = buffer_.substr(at + shim::header_bytes, size);
    at += shim::header_bytes + size;
    bool is_answer = type == shim::frame_ok || type == shim::frame_error;
    if (is_answer && !waiting_.empty()) {
      Answer answer = std::move(waiting_.front());
      waiting_.pop_front();
      answer(type == shim::frame_ok ? Result<>() : fail(Errc::internal, payload));
    } else if (!is_answer && events_.on_frame) {
      events_.on_frame(type, payload);
    }
    if (!*alive || !stream_) return;
  }
  buffer_.erase(0, at);
}

}  // namespace limpet::node
