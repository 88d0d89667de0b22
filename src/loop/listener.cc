#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>

#include "loop/internal.h"
#include "loop/poll.h"
#include "loop/socket.h"
#include "loop/stream.h"

namespace limpet::loop {
namespace {

constexpr int accepts_per_turn = 16;  // other handles get their turn
constexpr int64_t exhaustion_pause_ms = 100;

class PollListener final : public Listener {
 public:
  PollListener(Loop& loop, UniqueFd fd, std::unique_ptr<Poll> poll, uint16_t port, std::string path,
               OnConnection f)
      : loop_(loop),
        fd_(std::move(fd)),
        poll_(std::move(poll)),
        resume_(loop, "accept-resume"),
        port_(port),
        path_(std::move(path)),
        callback_(std::make_shared<OnConnection>(std::move(f))) {
    listen_on();
  }

  ~PollListener() override {
    if (!path_.empty()) unlink(path_.c_str());
    *alive_ = false;
  }

  uint16_t port() const override { return port_; }

  void pause(bool paused) override {
    paused_ = paused;
    resume_.stop();
    if (paused) {
      poll_->stop();
    } else {
      listen_on();
    }
  }

 private:
  void listen_on() {
    poll_->start(true, false, [this](PollEvents) { accept_some(); });
  }

  void accept_some() {
    const auto alive = alive_;
    const auto callback = callback_;
    for (int i = 0; i < accepts_per_turn && *alive && !paused_; ++i) {
      UniqueFd fd(accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!fd) {
        if (errno == EINTR || errno == ECONNABORTED) continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK) back_off();
        return;
      }
      tune_tcp(fd.get());
      if (auto stream = adopt_stream(loop_, std::move(fd))) (*callback)(std::move(*stream));
    }
  }

  // Out of descriptors or memory: the socket stays readable, so polling on would only burn the CPU.
  void back_off() {
    poll_->stop();
    resume_.start(exhaustion_pause_ms, [this] { listen_on(); });
  }

  Loop& loop_;
  UniqueFd fd_;
  std::unique_ptr<Poll> poll_;  // after fd_: goes first
  Timer resume_;
  uint16_t port_;
  std::string path_;
  std::shared_ptr<OnConnection> callback_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  bool paused_ = false;
};

Result<std::unique_ptr<Listener>> start(Loop& loop, UniqueFd fd, uint16_t port, std::string path,
                                        Listener::OnConnection f) {
  if (listen(fd.get(), 512) != 0) return fail_errno(errno, "listen");
  TRY(auto poll, Poll::make(loop, fd.get()));
  return std::unique_ptr<Listener>(
      new PollListener(loop, std::move(fd), std::move(poll), port, std::move(path), std::move(f)));
}

uint16_t bound_port(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  if (address.ss_family == AF_INET) return ntohs(reinterpret_cast<sockaddr_in&>(address).sin_port);
  if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<sockaddr_in6&>(address).sin6_port);
  return 0;
}

// A socket file that refuses connections was left by a process that died.
Result<> remove_stale(const std::string& path, const sockaddr_un& address) {
  struct stat st{};
  if (lstat(path.c_str(), &st) != 0) {
    if (errno == ENOENT) return {};
    return fail_errno(errno, path);
  }
  if (!S_ISSOCK(st.st_mode)) return fail(Errc::already_exists, path + " exists and is no socket");
  UniqueFd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return fail_errno(errno, "socket");
  if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
      errno == EAGAIN) {
    return fail(Errc::already_exists, path + " is in use: another process listens on it");
  }
  if (errno != ECONNREFUSED) return fail_errno(errno, path);
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno(errno, "remove " + path);
  return {};
}

}  // namespace

Result<sockaddr_un> unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path || path.find('\0') != std::string::npos) {
    return fail(Errc::invalid_argument,
                strf("socket path '%s' must have 1 to %zu bytes", path.c_str(), sizeof address.sun_path - 1));
  }
  path.copy(address.sun_path, path.size());
  return address;
}

namespace {

bool set_probes(int fd, const KeepAlive& keep) {
  if (setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &keep.idle_s, sizeof keep.idle_s) != 0) return false;
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &keep.interval_s, sizeof keep.interval_s);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &keep.count, sizeof keep.count);
  return true;
}

}  // namespace

void tune_tcp(int fd) {
  const int on = 1;
  if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) return;  // not TCP
  const KeepAlive keep;
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  set_probes(fd, keep);
}

void set_keep_alive(const Stream& stream, const KeepAlive& keep) {
  const int fd = stream.fd();
  if (fd < 0 || !set_probes(fd, keep)) return;
  const unsigned limit_ms = static_cast<unsigned>(keep.limit_s()) * 1000;
  setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit_ms, sizeof limit_ms);
}

Result<std::unique_ptr<Listener>> Listener::tcp(Loop& loop, const std::string& address, uint16_t port,
                                                OnConnection f) {
  sockaddr_storage where{};
  socklen_t size = 0;
  auto& v4 = reinterpret_cast<sockaddr_in&>(where);
  auto& v6 = reinterpret_cast<sockaddr_in6&>(where);
  if (inet_pton(AF_INET, address.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    size = sizeof v4;
  } else if (inet_pton(AF_INET6, address.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    size = sizeof v6;
  } else {
    return fail(Errc::invalid_argument, strf("'%s' is no IP address", address.c_str()));
  }
  UniqueFd fd(socket(where.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno(errno, "socket");
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&where), size) != 0) {
    return fail_errno(errno, strf("listen on %s port %u", address.c_str(), port));
  }
  const uint16_t bound = bound_port(fd.get());
  return start(loop, std::move(fd), bound, "", std::move(f));
}

Result<std::unique_ptr<Listener>> Listener::unix_socket(Loop& loop, const std::string& path, uint32_t mode,
                                                        OnConnection f) {
  TRY(const sockaddr_un address, unix_address(path));
  CHECK_OK(remove_stale(path, address));
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno(errno, "socket");
  // Nobody can connect before listen(), so the mode is right before the first connection.
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno(errno, "listen on " + path);
  }
  if (chmod(path.c_str(), mode) != 0) {
    const int err = errno;
    unlink(path.c_str());
    return fail_errno(err, "chmod " + path);
  }
  return start(loop, std::move(fd), 0, path, std::move(f));
}

Result<std::unique_ptr<Listener>> Listener::adopt(Loop& loop, UniqueFd fd, OnConnection f) {
  const int flags = fcntl(fd.get(), F_GETFL);
  if (flags < 0 || fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) != 0 ||
      fcntl(fd.get(), F_SETFD, FD_CLOEXEC) != 0) {
    return fail_errno(errno, "adopt listening socket");
  }
  const uint16_t bound = bound_port(fd.get());
  return start(loop, std::move(fd), bound, "", std::move(f));
}

}  // namespace limpet::loop
