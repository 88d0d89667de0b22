// The streams of a container and the connections to its shim.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <initializer_list>

#include "shim/container.h"

namespace limpet::shim {
namespace {

uint16_t u16(const char* p) {
  return static_cast<uint16_t>(static_cast<uint8_t>(p[0]) | static_cast<uint8_t>(p[1]) << 8);
}

}  // namespace

void Container::accept_client() {
  int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return;
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.uid != geteuid()) {
    close(fd);
    return;
  }
  for (int i = 0; i < max_clients; ++i) {
    if (clients_[i] != nullptr) continue;
    clients_[i] = Client::make(fd);
    if (clients_[i] != nullptr) watch(fd, EPOLLIN, tag_client + static_cast<uint32_t>(i), true);
    return;
  }
  close(fd);
}

void Container::accept_console() {
  int connection = accept4(console_listener_, nullptr, nullptr, SOCK_CLOEXEC);
  if (connection < 0) return;
  timeval limit{2, 0};
  setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  int master = receive_fd(connection);
  close(connection);
  close(console_listener_);
  console_listener_ = -1;
  unlink(wire::console_name);
  if (master < 0) return;
  fcntl(master, F_SETFL, O_NONBLOCK);
  out_.fd = master;
  stdin_fd_ = fcntl(master, F_DUPFD_CLOEXEC, 3);
}

void Container::drop(int index) {
  Client* client = clients_[index];
  if (client == nullptr) return;
  bool had_stdin = client->wants_stdin;
  clients_[index] = nullptr;
  client->destroy();
  if (starter_ == index) starter_ = -1;
  if (had_stdin && stdin_once_) release_stdin();
}

// Closes the container's stdin for good, as kubectl run -i without --leave-stdin-open asks.
void Container::release_stdin() {
  if (stdin_fd_ < 0 || tty_) return;
  close(stdin_fd_);
  stdin_fd_ = -1;
  stdin_watched_ = false;
}

void Container::serve(int index, uint32_t events) {
  Client* client = clients_[index];
  if (client == nullptr) return;
  if ((events & EPOLLIN) != 0 && !client->fill()) {
    drop(index);
    return;
  }
  if ((events & (EPOLLERR | EPOLLHUP)) != 0 && (events & EPOLLIN) == 0) {
    drop(index);
    return;
  }
  uint8_t type;
  const char* payload;
  size_t size;
  while (clients_[index] == client && starter_ != index && client->next(&type, &payload, &size)) {
    if (!handle(*client, type, payload, size)) break;
    client->drop_request();
  }
  if (clients_[index] == client) update_client(index);
}

void Container::update_client(int index) {
  Client* client = clients_[index];
  if (client == nullptr) return;
  if (!client->flush() || (client->doomed && !client->has_output())) {
    drop(index);
    return;
  }
  uint32_t events = client->stdin_blocked || starter_ == index ? 0u : static_cast<uint32_t>(EPOLLIN);
  if (client->has_output()) events |= EPOLLOUT;
  watch(client->fd(), events, tag_client + static_cast<uint32_t>(index), false);
}

void Container::answer(Client& client, const char* error) {
  if (error == nullptr) {
    client.send(wire::frame_ok, nullptr, 0);
  } else {
    client.send(wire::frame_error, error, strlen(error));
  }
}

// False: the request stays where it is and is tried again later.
bool Container::handle(Client& client, uint8_t type, const char* payload, size_t size) {
  switch (type) {
    case wire::frame_watch:
      client.watching = true;
      client.send(wire::frame_status, status_.data(), status_.size());
      return true;
    case wire::frame_start:
      if (state_ != State::created || command_ != Command::none) {
        answer(client, state_ == State::running ? "already started" : "not in state created");
      } else {
        client.drop_request();
        run_start(&client);
        return false;
      }
      return true;
    case wire::frame_kill:
      if (size == 1 && !over() && init_ != 0 && !init_gone_)
        kill(init_, static_cast<uint8_t>(payload[0]) & 0x7f);
      if (size == 1 && !over() && init_ == 0 && command_ == Command::create)
        command_deadline_ = monotonic_ms();
      answer(client, size == 1 ? nullptr : "malformed kill");
      return true;
    case wire::frame_attach:
      return handle_attach(client, payload, size);
    case wire::frame_stdin:
      return feed_stdin(client, payload, size);
    case wire::frame_close_stdin:
      if (client.wants_stdin && stdin_once_) release_stdin();
      client.wants_stdin = false;
      return true;
    case wire::frame_resize:
      if (size == 4 && tty_ && out_.fd >= 0) {
        winsize window{};
        window.ws_col = u16(payload);
        window.ws_row = u16(payload + 2);
        ioctl(out_.fd, TIOCSWINSZ, &window);
      }
      return true;
    case wire::frame_reopen_log:
      log_.reopen();
      answer(client, nullptr);
      return true;
    case wire::frame_shutdown:
      answer(client, over() ? nullptr : "the container lives");
      client.flush();
      done_ = over();
      return true;
    default:
      client.doomed = true;
      answer(client, "unknown request");
      return true;
  }
}

bool Container::handle_attach(Client& client, const char* payload, size_t size) {
  if (size != 1) {
    client.doomed = true;
    answer(client, "malformed attach");
    return true;
  }
  client.attached = true;
  client.wants_stdin = (payload[0] & 1) != 0;
  client.wants_output = (payload[0] & 2) != 0;
  answer(client, nullptr);
  if (over()) {
    uint8_t code = static_cast<uint8_t>(exit_code_);
    client.send(wire::frame_exit, &code, 1);
    client.doomed = true;
  }
  return true;
}

bool Container::feed_stdin(Client& client, const char* payload, size_t size) {
  while (client.wants_stdin && stdin_fd_ >= 0 && client.stdin_sent < size) {
    ssize_t n = write(stdin_fd_, payload + client.stdin_sent, size - client.stdin_sent);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) {
      client.stdin_blocked = true;
      if (!stdin_watched_) watch(stdin_fd_, EPOLLOUT | EPOLLET, tag_stdin, true);
      stdin_watched_ = true;
      return false;
    }
    if (n < 0) break;  // the container closed its end: the rest is lost, as with any pipe
    client.stdin_sent += static_cast<size_t>(n);
  }
  client.stdin_sent = 0;
  client.stdin_blocked = false;
  return true;
}

// ---- output
// ---------------------------------------------------------------------------------------------------------

void Container::read_output(Output& output) {
  if (output.fd < 0) return;
  char* from = output.lines.room();
  ssize_t n = read(output.fd, from, output.lines.room_size());
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) {  // end of file, or EIO from a terminal nobody has open any more
    if (tty_ && n < 0 && errno == EIO && !init_gone_) {
      // Nobody holds the other side any more. Reporting that without end would only burn time; the master
      // stays open until the container is gone, since closing it would hang up its session.
      epoll_ctl(epoll_, EPOLL_CTL_DEL, output.fd, nullptr);
      output.in_epoll = false;
      output.enabled = true;
      hung_up_ = true;
      return;
    }
    close_output(output);
    if (init_gone_ && drain_deadline_ != 0 && out_.fd < 0 && err_.fd < 0) finish_exit();
    return;
  }
  for (int i = 0; i < max_clients; ++i) {
    Client* client = clients_[i];
    if (client == nullptr || !client->attached || !client->wants_output) continue;
    if (client->send(&output == &err_ ? wire::frame_err : wire::frame_out, from, static_cast<size_t>(n))) {
      update_client(i);
    } else {
      drop(i);
    }
  }
  output.lines.commit(static_cast<size_t>(n), log_);
}

// What is in the pipe when the container is over goes to the log, whether or not an attached peer keeps up.
void Container::drain(Output& output) {
  for (int i = 0; i < 16 && output.fd >= 0; ++i) {
    ssize_t n = read(output.fd, output.lines.room(), output.lines.room_size());
    if (n <= 0) return;
    output.lines.commit(static_cast<size_t>(n), log_);
  }
}

void Container::close_output(Output& output) {
  output.lines.finish(log_);
  if (output.fd >= 0) close(output.fd);
  output.fd = -1;
  output.in_epoll = false;
}

// Reading starts when the container exists (until then the runtime itself may write there) and pauses while
// an attached peer has no room: for a moment the container waits, then the peer goes (check_deadlines).
void Container::update_outputs() {
  if (state_ == State::creating) return;
  bool enabled = true;
  for (const Client* client : clients_) {
    if (client != nullptr && client->attached && client->wants_output &&
        client->output_room() < wire::header_bytes + LineBuffer::capacity) {
      enabled = false;
    }
  }
  if (hung_up_ && init_gone_) {
    close_output(out_);
    hung_up_ = false;
    if (drain_deadline_ != 0) finish_exit();
  }
  for (Output* output : {&out_, &err_}) {
    if (output->fd < 0 || hung_up_ || (output->in_epoll && output->enabled == enabled)) continue;
    watch(output->fd, enabled ? static_cast<uint32_t>(EPOLLIN) : 0u, output == &out_ ? tag_out : tag_err,
          !output->in_epoll);
    output->in_epoll = true;
    output->enabled = enabled;
  }
}

}  // namespace limpet::shim
