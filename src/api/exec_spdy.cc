// exec and attach over SPDY/3.1, as kubectl up to 1.30 speaks it, and later ones when a WebSocket is refused.
//
// The client opens one stream for each of error, stdin, stdout, stderr and resize that its request is about
// and names it in the header "streamtype"; the command starts when all are there. The end of the command is
// told on the error stream: a Status as JSON since v4.channel.k8s.io, before that the message of a failure.
// v5 differs from v4 over WebSocket only. k8s.io/apimachinery/pkg/util/httpstream,
// k8s.io/client-go/tools/remotecommand.
#include "api/exec.h"
#include "api/status.h"
#include "http/spdy_connection.h"

namespace limpet::api {
namespace {

constexpr std::string_view kSpdy = "SPDY/3.1";
constexpr std::string_view kProtocols[] = {"v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io",
                                           "v2.channel.k8s.io", "channel.k8s.io"};
constexpr int64_t kStreamsTimeoutMs = 30'000;  // as long as clients wait for the answer to one
constexpr size_t kMaxStreams = 8;
constexpr size_t kMaxResize = 1024;  // of one line {"Width":80,"Height":24}

class SpdyTerminal : public Session {
 public:
  SpdyTerminal(CallPtr call, std::unique_ptr<loop::Stream> stream, std::string_view protocol)
      : call_(std::move(call)),
        connection_(call_->core.loop, std::move(stream), kMaxStreams),
        timer_(call_->core.loop, "exec-streams"),
        tells_status_(protocol == kProtocols[0] || protocol == kProtocols[1]),
        resizes_(tells_status_ || protocol == kProtocols[2]) {}

  void start(const ContainerRef& container, ExecRequest request) {
    container_ = container;
    request_ = std::move(request);
    wanted_[kError] = true;
    wanted_[kStdin] = request_.in;
    wanted_[kStdout] = request_.out;
    wanted_[kStderr] = request_.err;
    wanted_[kResize] = request_.tty && resizes_;
    std::weak_ptr<Session> weak = weak_from_this();
    auto alive = [weak, this] { return !weak.expired() && !over_; };
    http::SpdyConnection::Events e;
    e.on_stream = [alive, this](uint32_t id, const http::Headers& h) {
      if (alive()) opened(id, h.get("streamtype"));
    };
    e.on_data = [alive, this](uint32_t id, std::string_view bytes) {
      if (alive()) received(id, bytes);
    };
    e.on_end = [alive, this](uint32_t id) {
      if (alive()) ended(id);
    };
    e.on_reset = e.on_end;  // what is sent on a stream that was reset goes nowhere
    e.on_close = [alive, weak, this](std::string_view) {
      const std::shared_ptr<Session> keep = weak.lock();
      if (alive()) finish();
    };
    e.on_drain = [alive, this] {
      if (alive() && session_) session_->pause(false);
    };
    connection_.set_events(std::move(e));
    timer_.start(kStreamsTimeoutMs, [alive, weak, this] {
      const std::shared_ptr<Session> keep = weak.lock();
      if (alive()) leave();
    });
  }

  void stop() override {
    if (!over_) leave();
  }

 private:
  enum Kind { kError, kStdin, kStdout, kStderr, kResize, kKinds };
  static constexpr std::string_view kNames[kKinds] = {"error", "stdin", "stdout", "stderr", "resize"};

  void opened(uint32_t id, std::string_view type) {
    for (int kind = 0; kind < kKinds; ++kind) {
      if (kNames[kind] != type || !wanted_[kind] || ids_[kind] != 0) continue;
      ids_[kind] = id;
      connection_.reply(id);
      if (complete()) run();
      return;
    }
    connection_.reset(id, http::SpdyReset::refused);  // of no kind that was asked for, or there already
  }

  bool complete() const {
    for (int kind = 0; kind < kKinds; ++kind) {
      if (wanted_[kind] && ids_[kind] == 0) return false;
    }
    return true;
  }

  void run() {
    timer_.stop();
    std::weak_ptr<Session> weak = weak_from_this();
    auto alive = [weak, this] { return !weak.expired() && !over_; };
    ExecSession::Events e;
    e.on_output = [alive, this](bool err, std::string_view bytes) {
      if (alive()) send(err ? kStderr : kStdout, bytes);
    };
    e.on_exit = [alive, this](Result<int> exit) {
      if (alive()) exited(exit);
    };
    e.on_drain = [alive, this] {
      if (alive()) connection_.pause_reading(false);
    };
    session_ = call_->core.nodes->exec(container_, request_, std::move(e));
    if (input_over_) session_->close_stdin();
  }

  void send(Kind kind, std::string_view bytes) {
    connection_.send(ids_[kind], bytes);
    if (session_ && connection_.write_queue_size() > exec_queue_bound) session_->pause(true);
  }

  void received(uint32_t id, std::string_view bytes) {
    if (id == ids_[kResize]) return resize(bytes);
    if (id != ids_[kStdin]) return;
    if (!session_) return leave();  // no client of the protocol does so, and nobody may have it stored
    session_->write_stdin(bytes);
    if (session_->stdin_queue_size() > exec_queue_bound) connection_.pause_reading(true);
  }

  // Lines of JSON, wherever the frames are cut.
  void resize(std::string_view bytes) {
    size_.append(bytes);
    for (size_t end = size_.find('\n'); end != std::string::npos; end = size_.find('\n')) {
      if (session_) resize_terminal(*session_, std::string_view(size_).substr(0, end));
      size_.erase(0, end + 1);
    }
    if (size_.size() > kMaxResize) leave();
  }

  void ended(uint32_t id) {
    if (id != ids_[kStdin] || std::exchange(input_over_, true)) return;
    if (session_) session_->close_stdin();
  }

  void exited(const Result<int>& exit) {
    connection_.finish(ids_[kStdout]);
    connection_.finish(ids_[kStderr]);
    connection_.send(ids_[kError], tells_status_ ? exec_status(exit) : exec_message(exit));
    connection_.finish(ids_[kError]);
    connection_.close();  // closed() follows when the client has left
  }

  void leave() {
    connection_.close();
    finish();
  }

  // The command goes with the client.
  void finish() {
    over_ = true;
    timer_.stop();
    session_.reset();
    call_->core.finish(this);
  }

  CallPtr call_;
  http::SpdyConnection connection_;
  loop::Timer timer_;  // until all streams are there
  ContainerRef container_;
  ExecRequest request_;
  std::unique_ptr<ExecSession> session_;
  bool wanted_[kKinds] = {};
  uint32_t ids_[kKinds] = {};  // 0: not there
  std::string size_;           // of the terminal, a line that is not complete
  bool tells_status_, resizes_, input_over_ = false, over_ = false;
};

}  // namespace

bool wants_spdy(const http::Headers& headers) { return headers.has_token("Upgrade", kSpdy); }

void exec_over_spdy(const CallPtr& call, const ContainerRef& container, ExecRequest request) {
  const std::string protocol(choose_protocol(call->request().headers, "X-Stream-Protocol-Version", kProtocols,
                                             std::size(kProtocols), Prefer::client));
  if (protocol.empty()) {
    std::string served;
    for (std::string_view p : kProtocols) {
      call->add_header("X-Accepted-Stream-Protocol-Versions", std::string(p));
      served.append(served.empty() ? "" : ", ").append(p);
    }
    Status s =
        status::bad_request("no X-Stream-Protocol-Version of the client is served; served are " + served);
    s.code = 403;  // as upstream answers
    s.reason = "Forbidden";
    return call->fail(s);
  }
  http::Headers headers;
  headers.add("X-Stream-Protocol-Version", protocol);
  Result<std::unique_ptr<loop::Stream>> stream = call->exchange().take_over(kSpdy, std::move(headers));
  if (!stream) return call->fail(status::bad_request(stream.error().message));
  call->mark_answered(101);
  auto t = std::make_shared<SpdyTerminal>(call, std::move(*stream), protocol);
  call->core.keep(t);
  t->start(container, std::move(request));
}

}  // namespace limpet::api
