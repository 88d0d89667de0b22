// exec and attach over WebSocket: channels in the first byte of each message, a Status at the end.
//
// v5.channel.k8s.io (with half-close), v4.channel.k8s.io, and channel.k8s.io, which tells nothing but output.
// https://kubernetes.io/docs/reference/using-api/ and KEP-4006.
#include "api/pod_target.h"
#include "api/subresources.h"
#include "base/json.h"

namespace limpet::api {
namespace {

constexpr size_t kQueueBound = 256 * 1024;
enum Channel : char {
  kStdin = 0,
  kStdout = 1,
  kStderr = 2,
  kError = 3,
  kResize = 4,
  kClose = static_cast<char>(255)
};

constexpr std::string_view kProtocols[] = {"v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"};

std::vector<std::string_view> offered(const http::Headers& headers) {
  std::vector<std::string_view> out;
  for (std::string_view line : headers.all("Sec-WebSocket-Protocol")) {
    while (!line.empty()) {
      size_t comma = line.find(',');
      std::string_view item = line.substr(0, comma);
      while (!item.empty() && item.front() == ' ') item.remove_prefix(1);
      while (!item.empty() && item.back() == ' ') item.remove_suffix(1);
      out.push_back(item);
      line.remove_prefix(comma == std::string_view::npos ? line.size() : comma + 1);
    }
  }
  return out;
}

std::string_view choose(const http::Headers& headers) {
  std::vector<std::string_view> wanted = offered(headers);
  for (std::string_view ours : kProtocols) {
    for (std::string_view w : wanted) {
      if (w == ours) return ours;
    }
  }
  return {};
}

std::string exit_status(const Result<int>& exit) {
  Status s;
  if (exit && *exit == 0) {
    json::Writer w;
    w.begin_object().key("metadata").begin_object().end_object().field("status", "Success").end_object();
    return w.take();
  }
  if (exit) {
    json::Writer w;
    w.begin_object().key("metadata").begin_object().end_object().field("status", "Failure");
    w.field("message", "command terminated with non-zero exit code: exit status " + std::to_string(*exit));
    w.field("reason", "NonZeroExitCode").key("details").begin_object().key("causes").begin_array();
    w.begin_object().field("reason", "ExitCode").field("message", std::to_string(*exit)).end_object();
    w.end_array().end_object().end_object();
    return w.take();
  }
  s = status::internal(exit.error().message);
  s.message = exit.error().message;
  return s.json();
}

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
    if (session_ && socket_->write_queue_size() > kQueueBound) session_->pause(true);
  }

  void message(std::string_view m, bool binary) {
    if (!binary) return refuse("text messages are not part of this protocol");
    if (m.empty() || !session_) return;
    std::string_view rest = m.substr(1);
    switch (m[0]) {
      case kStdin:
        if (!in_ || rest.empty()) return;
        session_->write_stdin(rest);
        if (session_->stdin_queue_size() > kQueueBound) socket_->pause_reading(true);
        return;
      case kResize:
        return resize(rest);
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

  void resize(std::string_view text) {
    Result<json::Value> v = json::parse(text);
    if (!v) return;
    int64_t w = v->ref()["Width"].integer(), h = v->ref()["Height"].integer();
    if (w > 0 && h > 0 && w < 65536 && h < 65536) session_->resize(static_cast<int>(w), static_cast<int>(h));
  }

  void refuse(std::string_view why) {
    over_ = true;
    session_.reset();
    socket_->close(1003, why);
    call_->core.finish(this);
  }

  void exited(const Result<int>& exit) {
    if (tells_status_) send(kError, exit_status(exit));
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

Outcome<ExecRequest> read_request(const Call& call) {
  ExecRequest r;
  const http::Query& q = call.query();
  r.in = truthy(q, "stdin");
  r.out = truthy(q, "stdout");
  r.tty = truthy(q, "tty");
  r.err = truthy(q, "stderr") && !r.tty;
  if (!r.in && !r.out && !r.err) {
    return std::unexpected(status::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
  }
  if (call.info.subresource == "attach") return r;
  for (std::string_view arg : q.all("command")) r.command.emplace_back(arg);
  if (r.command.empty()) return std::unexpected(status::bad_request("you must specify at least 1 command"));
  return r;
}

}  // namespace

void pod_exec(CallPtr call) {
  Outcome<ExecRequest> request = read_request(*call);
  if (!request) return call->fail(request.error());
  find_container(call, [call, request = std::move(*request)](Outcome<ContainerRef> c) mutable {
    if (!c) return call->fail(c.error());
    if (call->answered()) return;
    std::string protocol(choose(call->request().headers));
    if (protocol.empty()) {
      return call->fail(status::bad_request(
          "Upgrade request required: a WebSocket with the subprotocol v5.channel.k8s.io"));
    }
    Result<std::unique_ptr<http::WebSocket>> socket = call->exchange().upgrade(protocol);
    if (!socket) return call->fail(status::bad_request(socket.error().message));
    call->mark_answered(101);
    auto t = std::make_shared<Terminal>(call, std::move(*socket), protocol);
    call->core.keep(t);
    t->start(*c, std::move(request));
  });
}

}  // namespace limpet::api
