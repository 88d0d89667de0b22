// exec and attach over WebSocket: channels in the first byte of each message, a Status at the end.
//
// v5.channel.k8s.io (with half-close), v4.channel.k8s.io, and channel.k8s.io, which tells nothing but output.
// https://kubernetes.io/docs/reference/using-api/ and KEP-4006.
#include "api/exec.h"
#include "api/status.h"

namespace limpet::api {
namespace {

enum Channel : char {
  kStdin = 0,
  kStdout = 1,
  kStderr = 2,
  kError = 3,
  kResize = 4,
  kClose = static_cast<char>(255)
};

constexpr std::string_view kProtocols[] = {"v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"};

class Terminal : public Session {
 public:
  Terminal(CallPtr call, std::unique_ptr<http::WebSocket> socket, std::string_view protocol)
      : call_(std::move(call)),
        socket_(std::move(socket)),
        half_close_(protocol == "v5.channel.k8s.io"),
        tells_status_(protocol != "channel.k8s.io") {}

  void start(const ContainerRef& container, ExecRequest request) {
    std::weak_ptr<Session> weak = weak_from_this();
    auto alive = [weak, this] { return !weak.expired() && !over_; };
    http::WebSocket::Events s;
    s.on_message = [alive, this](std::string_view m, bool binary) {
      if (alive()) message(m, binary);
    };
    s.on_close = [weak, this](int, std::string_view) {
      if (std::shared_ptr<Session> keep = weak.lock()) closed();
    };
    s.on_drain = [alive, this] {
      if (alive() && session_) session_->pause(false);
    };
    in_ = request.in;
    socket_->set_events(std::move(s));
    if (!tells_status_) announce(request);
    ExecSession::Events e;
    e.on_output = [alive, this](bool err, std::string_view bytes) {
      if (alive()) send(err ? kStderr : kStdout, bytes);
    };
    e.on_exit = [alive, this](Result<int> exit) {
      if (alive()) exited(exit);
    };
    e.on_drain = [alive, this] {
      if (alive()) socket_->pause_reading(false);
    };
    session_ = call_->core.nodes->exec(container, std::move(request), std::move(e));
  }

  void stop() override {
    if (over_) return;
    over_ = true;
    session_.reset();
    socket_->close(1001, "the server is shutting down");
    call_->core.finish(this);
  }

 private:
  // The oldest protocol opens each stream with an empty message.
  void announce(const ExecRequest& r) {
    if (r.out) send(kStdout, "");
    if (r.err && !r.tty) send(kStderr, "");
    send(kError, "");
  }

  void send(char channel, std::string_view bytes) {
    std::string m(1, channel);
    m.append(bytes);
    socket_->send(m, true);
    if (session_ && socket_->write_queue_size() > exec_queue_bound) session_->pause(true);
  }

  void message(std::string_view m, bool binary) {
    if (!binary) return refuse("text messages are not part of this protocol");
    if (m.empty() || !session_) return;
    std::string_view rest = m.substr(1);
    switch (m[0]) {
      case kStdin:
        if (!in_ || rest.empty()) return;
        session_->write_stdin(rest);
        if (session_->stdin_queue_size() > exec_queue_bound) socket_->pause_reading(true);
        return;
      case kResize:
        return resize_terminal(*session_, rest);
      case kClose:
        if (half_close_ && !rest.empty() && rest[0] == kStdin && in_) {
          in_ = false;
          session_->close_stdin();
        }
        return;
      default:
        return;
    }
  }

  void refuse(std::string_view why) {
    over_ = true;
    session_.reset();
    socket_->close(1003, why);
    call_->core.finish(this);
  }

  void exited(const Result<int>& exit) {
    if (tells_status_) send(kError, exec_status(exit));
    socket_->close(1000, "");  // closed() follows; without this frame clients report a failure
  }

  void closed() {
    if (over_) return;
    over_ = true;
    session_.reset();  // the client left: the command goes with it
    call_->core.finish(this);
  }

  CallPtr call_;
  std::unique_ptr<http::WebSocket> socket_;
  std::unique_ptr<ExecSession> session_;
  bool half_close_, tells_status_, in_ = false, over_ = false;
};

}  // namespace

void exec_over_websocket(const CallPtr& call, const ContainerRef& container, ExecRequest request) {
  const std::string protocol(choose_protocol(call->request().headers, "Sec-WebSocket-Protocol", kProtocols,
                                             std::size(kProtocols), Prefer::server));
  if (protocol.empty()) {
    return call->fail(status::bad_request(
        "Upgrade request required: SPDY/3.1, or a WebSocket with the subprotocol v5.channel.k8s.io"));
  }
  Result<std::unique_ptr<http::WebSocket>> socket = call->exchange().upgrade(protocol);
  if (!socket) return call->fail(status::bad_request(socket.error().message));
  call->mark_answered(101);
  auto t = std::make_shared<Terminal>(call, std::move(*socket), protocol);
  call->core.keep(t);
  t->start(container, std::move(request));
}

}  // namespace limpet::api
