#include "loop/stream.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>

#include "loop/internal.h"

namespace limpet::loop {
namespace {

class UvStream;

struct StreamHandle {
  uv_pipe_t handle;  // any descriptor that reads and writes as a stream
  UvStream* owner;   // null from the owner's destruction on
};

struct WriteRequest {
  uv_write_t request;
  std::string bytes;
  size_t left;  // when queued
};

class UvStream final : public Stream {
 public:
  UvStream(Loop& loop, StreamHandle* handle, int fd, std::string peer)
      : loop_(loop), h_(handle), fd_(fd), peer_(std::move(peer)) {
    h_->owner = this;
  }

  ~UvStream() override {
    if (self_) *self_ = nullptr;
    if (h_ == nullptr) return;
    h_->owner = nullptr;
    close_handle(h_);
  }

  void set_events(Events events) override { events_ = std::make_shared<Events>(std::move(events)); }

  void read_start() override {
    if (dead_ || eof_ || reading_ || h_ == nullptr) return;
    reading_ = uv_read_start(stream(), on_alloc, on_read) == 0;
  }

  void read_stop() override {
    if (!reading_) return;
    reading_ = false;
    uv_read_stop(stream());
  }

  void write(std::string bytes) override;
  void shutdown() override;
  size_t write_queue_size() const override { return queued_; }
  std::string peer() const override { return peer_; }
  int fd() const override { return fd_; }

 private:
  uv_stream_t* stream() { return reinterpret_cast<uv_stream_t*>(&h_->handle); }
  static UvStream* owner_of(uv_stream_t* stream) { return static_cast<StreamHandle*>(stream->data)->owner; }

  static void on_alloc(uv_handle_t* handle, size_t, uv_buf_t* buf) noexcept {
    *buf = uv_buf_init(impl_of(handle->loop).buffer(), Loop::Impl::read_buffer_size);
  }
  static void on_read(uv_stream_t* stream, ssize_t n, const uv_buf_t* buf) noexcept;
  static void on_written(uv_write_t* request, int status) noexcept;

  void end_of_file();
  void fail_later(int status);
  void report_failure(int status);
  void close_write_end();

  Loop& loop_;
  StreamHandle* h_;  // null once the write end of a pipe was shut down
  int fd_;
  std::shared_ptr<Events> events_ = std::make_shared<Events>();  // shared: a callback may replace it
  std::shared_ptr<UvStream*> self_;  // for deferred calls; nulled by the destructor
  size_t queued_ = 0;
  std::string peer_;
  bool reading_ = false;
  bool eof_ = false;
  bool shut_ = false;  // shutdown() was called
  bool dead_ = false;  // failed; on_error was or will be called
};

void UvStream::on_read(uv_stream_t* stream, ssize_t n, const uv_buf_t* buf) noexcept {
  UvStream* self = owner_of(stream);
  if (self == nullptr || n == 0) return;
  if (n > 0) {
    const auto events = self->events_;
    if (events->on_read) events->on_read({buf->base, static_cast<size_t>(n)});
  } else if (n == UV_EOF || n == UV_EIO) {  // EIO: the last user of a pty is gone
    self->end_of_file();
  } else {
    self->reading_ = false;
    self->fail_later(static_cast<int>(n));
  }
}

void UvStream::end_of_file() {
  reading_ = false;
  uv_read_stop(stream());
  if (eof_) return;
  eof_ = true;
  const auto events = events_;
  if (events->on_eof) events->on_eof();
}

void UvStream::write(std::string bytes) {
  if (dead_ || shut_ || bytes.empty()) return;
  size_t sent = 0;
  if (queued_ == 0) {
    const uv_buf_t buf = uv_buf_init(bytes.data(), static_cast<unsigned>(bytes.size()));
    const int n = uv_try_write(stream(), &buf, 1);
    if (n < 0 && n != UV_EAGAIN) return fail_later(n);
    if (n > 0) sent = static_cast<size_t>(n);
    if (sent == bytes.size()) return;
  }
  auto* request = new WriteRequest{{}, std::move(bytes), 0};
  request->request.data = request;
  request->left = request->bytes.size() - sent;
  const uv_buf_t buf = uv_buf_init(request->bytes.data() + sent, static_cast<unsigned>(request->left));
  if (const int r = uv_write(&request->request, stream(), &buf, 1, on_written); r < 0) {
    delete request;
    return fail_later(r);
  }
  queued_ += request->left;
}

void UvStream::on_written(uv_write_t* uv_request, int status) noexcept {
  const std::unique_ptr<WriteRequest> request(static_cast<WriteRequest*>(uv_request->data));
  UvStream* self = owner_of(uv_request->handle);
  if (self == nullptr) return;
  self->queued_ -= request->left;
  if (status < 0) return self->fail_later(status);
  if (self->queued_ != 0 || self->dead_) return;
  const auto events = self->events_;
  if (events->on_drain) events->on_drain();
}

void UvStream::shutdown() {
  if (dead_ || shut_) return;
  shut_ = true;
  auto* request = new uv_shutdown_t;
  // Errors are not worth a report: a socket that is gone already says so on reading.
  const auto done = [](uv_shutdown_t* r, int status) noexcept {
    UvStream* self = owner_of(r->handle);
    if (self != nullptr && status == UV_ENOTSOCK) self->close_write_end();
    delete r;
  };
  if (uv_shutdown(request, stream(), done) < 0) delete request;
}

// A pipe has no half-close: only closing tells its reader. The object lives on without a handle.
void UvStream::close_write_end() {
  const int flags = fcntl(fd_, F_GETFL);
  if (h_ == nullptr || flags < 0 || (flags & O_ACCMODE) != O_WRONLY) return;
  fd_ = -1;
  h_->owner = nullptr;
  close_handle(std::exchange(h_, nullptr));
}

void UvStream::fail_later(int status) {
  if (dead_) return;
  dead_ = true;
  self_ = std::make_shared<UvStream*>(this);
  loop_.defer([self = self_, status] {
    if (*self != nullptr) (*self)->report_failure(status);
  });
}

// The peer may have said why it closed (an early HTTP answer) before our write failed: hand that on first.
void UvStream::report_failure(int status) {
  const auto alive = self_;
  for (int turns = 0; turns < 64 && reading_; ++turns) {
    char* buffer = loop_.impl().buffer();
    const ssize_t n = ::read(fd_, buffer, Loop::Impl::read_buffer_size);
    if (n <= 0) break;
    const auto events = events_;
    if (events->on_read) events->on_read({buffer, static_cast<size_t>(n)});
    if (*alive == nullptr) return;
  }
  read_stop();
  const auto events = events_;
  if (events->on_error) events->on_error(fail_uv(status, peer_.empty() ? "stream" : peer_).error());
}

std::string address_text(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    return strf("%s:%u", text, ntohs(v4.sin_port));
  }
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
  if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
    inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], text, sizeof text);
    return strf("%s:%u", text, ntohs(v6.sin6_port));
  }
  inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
  return strf("[%s]:%u", text, ntohs(v6.sin6_port));
}

Result<PeerCredentials> credentials_of(int fd) {
  ucred cred{};
  socklen_t size = sizeof cred;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) != 0) return fail_errno(errno, "SO_PEERCRED");
  return PeerCredentials{cred.pid, cred.uid, cred.gid};
}

std::string describe_peer(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return "";
  if (address.ss_family == AF_INET || address.ss_family == AF_INET6) return address_text(address);
  if (address.ss_family != AF_UNIX) return "";
  const auto cred = credentials_of(fd);
  return cred ? strf("unix:pid=%d,uid=%u", cred->pid, cred->uid) : "unix";
}

// epoll refuses the rest, and libuv aborts when epoll does.
bool streamable(int fd) {
  struct stat st{};
  if (fstat(fd, &st) != 0) return false;
  return S_ISSOCK(st.st_mode) || S_ISFIFO(st.st_mode) || (S_ISCHR(st.st_mode) && isatty(fd));
}

}  // namespace

Result<std::unique_ptr<Stream>> adopt_stream(Loop& loop, UniqueFd fd) {
  LIMPET_ASSERT(loop.in_loop_thread());
  if (!streamable(fd.get())) return fail(Errc::invalid_argument, "not a socket, pipe or terminal");
  auto* handle = new StreamHandle{};
  uv_pipe_init(loop.uv(), &handle->handle, 0);
  opened(handle, loop);
  if (const int r = uv_pipe_open(&handle->handle, fd.get()); r < 0) {
    close_handle(handle);
    return fail_uv(r, "adopt descriptor");
  }
  const int number = fd.release();
  return std::unique_ptr<Stream>(new UvStream(loop, handle, number, describe_peer(number)));
}

Result<std::pair<std::unique_ptr<Stream>, std::unique_ptr<Stream>>> stream_pair(Loop& loop) {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0)
    return fail_errno(errno, "socketpair");
  UniqueFd first(fds[0]), second(fds[1]);
  TRY(auto a, adopt_stream(loop, std::move(first)));
  TRY(auto b, adopt_stream(loop, std::move(second)));
  return std::pair(std::move(a), std::move(b));
}

bool peer_has_closed(const Stream& stream) {
  char byte = 0;
  const ssize_t n = stream.fd() < 0 ? 1 : recv(stream.fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return n == 0 || (n < 0 && (errno == ECONNRESET || errno == EPIPE || errno == ETIMEDOUT));
}

Result<PeerCredentials> peer_credentials(const Stream& stream) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  const int fd = stream.fd();
  if (fd < 0 || getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
      address.ss_family != AF_UNIX) {
    return PeerCredentials{};
  }
  return credentials_of(fd);
}

}  // namespace limpet::loop
