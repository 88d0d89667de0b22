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
  Terminal(std::unique_ptr<http::WebSocket> socket, std::function<std::string(const Result<int>&)> status,
           std::function<void(Session*)> finish)
      : socket_(std::move(socket)),
        status_(std::move(status)),
        finish_(std::move(finish)),
        half_close_(socket_->subprotocol() == "v5.channel.k8s.io"),
        tells_status_(socket_->subprotocol() != "channel.k8s.io") {}

  void start(NodeAccess& nodes, const ContainerRef& container, ExecRequest request) {
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
    session_ = nodes.exec(container, std::move(request), std::move(e));
  }

  void stop() override {
    if (over_) return;
    over_ = true;
    session_.reset();
    socket_->close(1001, "the server is shutting down");
    finish_(this);
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
    finish_(this);
  }

  void exited(const Result<int>& exit) {
    if (tells_status_) send(kError, status_(exit));
    socket_->close(1000, "");  // closed() follows; without this frame clients report a failure
  }

  void closed() {
    if (over_) return;
    over_ = true;
    session_.reset();  // the client left: the command goes with it
    finish_(this);
  }

  std::unique_ptr<http::WebSocket> socket_;
  std::function<std::string(const Result<int>&)> status_;
  std::function<void(Session*)> finish_;
  std::unique_ptr<ExecSession> session_;
  bool half_close_, tells_status_, in_ = false, over_ = false;
};

}  // namespace

std::string exec_websocket_protocol(const http::Headers& headers) {
  return std::string(
      choose_protocol(headers, "Sec-WebSocket-Protocol", kProtocols, std::size(kProtocols), Prefer::server));
}

std::shared_ptr<Session> serve_exec(NodeAccess& nodes, std::unique_ptr<http::WebSocket> socket,
                                    const ContainerRef& container, ExecRequest request,
                                    std::function<std::string(const Result<int>&)> status,
                                    std::function<void(Session*)> finish) {
  auto t = std::make_shared<Terminal>(std::move(socket), std::move(status), std::move(finish));
  t->start(nodes, container, std::move(request));
  return t;
}

void exec_over_websocket(const CallPtr& call, const ContainerRef& container, ExecRequest request) {
  const std::string protocol = exec_websocket_protocol(call->request().headers);
  if (protocol.empty()) {
    return call->fail(status::bad_request(
        "Upgrade request required: SPDY/3.1, or a WebSocket with the subprotocol v5.channel.k8s.io"));
  }
  Result<std::unique_ptr<http::WebSocket>> socket = call->exchange().upgrade(protocol);
  if (!socket) return call->fail(status::bad_request(socket.error().message));
  call->mark_answered(101);
  // The session holds the call: it is under way as long.
  call->core.keep(serve_exec(*call->core.nodes, std::move(*socket), container, std::move(request),
                             exec_status, [call](Session* s) { call->core.finish(s); }));
}

}  // namespace limpet::api
