#include "daemon/remote_node_access.h"

#include <optional>

#include "base/bytes.h"
#include "client/client.h"
#include "daemon/node_wire.h"

namespace limpet::daemon {
namespace {

constexpr size_t max_refusal_bytes = size_t{64} * 1024;
constexpr size_t stdin_chunk_bytes = size_t{32} * 1024;  // of one message

enum Channel : char { in = 0, out = 1, err = 2, status = 3, resizing = 4, closing = static_cast<char>(255) };

// Not `unavailable`, though it may work later: that would be a 503 with Retry-After, and clients would repeat
// the request by themselves many times before they show what is wrong.
Error unreachable(const std::string& node, const Error& why) {
  return {Errc::internal,
          "device \"" + node + "\" cannot be reached: " + why.message +
              ". Is it on and connected? See \"kubectl get node " + node +
              "\"; on the device itself \"limpet status\", \"limpet logs\" and \"limpet exec\" work without "
              "a connection",
          0};
}

Error broken(const std::string& node, const std::string& what) {
  return {Errc::internal, "the connection to device \"" + node + "\" broke: " + what, 0};
}

http::ClientRequest request(const std::string& node, std::string target) {
  http::ClientRequest r;
  r.origin.host = node;
  r.target = std::move(target);
  r.headers.add("User-Agent", "limpetd");
  r.idle_timeout_ms = 0;  // what a container says next may be hours away
  return r;
}

class Log final : public api::LogSession {
 public:
  Log(http::Client& client, std::string node, std::string target, Events events)
      : node_(std::move(node)), events_(std::move(events)) {
    http::CallEvents e;
    e.on_response = [this](const http::MessageHead& head) {
      status_ = head.status;
      if (status_ == 200 && events_.on_ready) events_.on_ready();
    };
    e.on_body = [this](std::string_view bytes) {
      if (status_ == 200) return events_.on_data(bytes);
      refusal_.append(bytes.substr(0, max_refusal_bytes - refusal_.size()));
    };
    e.on_end = [this](Result<> r) { end(r); };
    call_ = client.send(request(node_, std::move(target)), std::move(e));
  }
  void pause(bool paused) override {
    if (call_) call_->pause(paused);
  }

 private:
  void end(const Result<>& r) {
    const auto end = events_.on_end;  // destroys this
    if (!r && status_ == 200) return end(std::unexpected(broken(node_, "this is not the whole log")));
    if (!r) return end(std::unexpected(unreachable(node_, r.error())));
    if (status_ == 200) return end({});
    end(std::unexpected(client::Reply{status_, refusal_}.error()));
  }

  std::string node_;
  Events events_;
  std::string refusal_;
  int status_ = 0;
  std::unique_ptr<http::Call> call_;  // goes first: it calls back
};

class Exec final : public api::ExecSession {
 public:
  Exec(http::Client& client, std::string node, std::string target, Events events)
      : node_(std::move(node)), events_(std::move(events)) {
    call_ = client.websocket(
        request(node_, std::move(target)), node_exec_protocol,
        [this](Result<std::unique_ptr<http::WebSocket>> socket) { opened(std::move(socket)); },
        [this](http::Response refusal) {
          refusal_ = client::Reply{refusal.status, std::move(refusal.body)}.error();
        });
  }

  void write_stdin(std::string_view bytes) override {
    if (!socket_) {
      early_.append(bytes);
      return;
    }
    for (; !bytes.empty(); bytes.remove_prefix(std::min(bytes.size(), stdin_chunk_bytes)))
      send(Channel::in, bytes.substr(0, stdin_chunk_bytes));
  }
  void close_stdin() override {
    stdin_closed_ = true;
    if (socket_) send(Channel::closing, std::string_view("\0", 1));
  }
  void resize(int width, int height) override {
    size_ = strf("{\"Width\":%d,\"Height\":%d}", width, height);
    if (socket_) send(Channel::resizing, size_);
  }
  size_t stdin_queue_size() const override { return socket_ ? socket_->write_queue_size() : early_.size(); }
  void pause(bool paused) override {
    paused_ = paused;
    if (socket_) socket_->pause_reading(paused);
  }

 private:
  void send(char channel, std::string_view bytes) {
    socket_->send(std::string(1, channel).append(bytes), true);
  }

  void opened(Result<std::unique_ptr<http::WebSocket>> socket) {
    if (!socket) return end(std::unexpected(refusal_.value_or(unreachable(node_, socket.error()))));
    if ((*socket)->subprotocol() != node_exec_protocol)
      return end(std::unexpected(broken(node_, "it does not speak " + std::string(node_exec_protocol))));
    socket_ = std::move(*socket);
    http::WebSocket::Events e;
    e.on_message = [this](std::string_view m, bool binary) { message(m, binary); };
    e.on_close = [this](int, std::string_view) {
      end(std::unexpected(broken(node_, "how the command ended is unknown, it may still run")));
    };
    e.on_drain = [this] {
      if (events_.on_drain) events_.on_drain();
    };
    socket_->set_events(std::move(e));
    if (paused_) socket_->pause_reading(true);
    if (!size_.empty()) send(Channel::resizing, size_);
    const bool had_input = !early_.empty();
    write_stdin(std::exchange(early_, {}));
    if (stdin_closed_) send(Channel::closing, std::string_view("\0", 1));
    // Who was told to wait with more is told to go on: by on_drain, unless all went out at once.
    if (had_input && socket_->write_queue_size() == 0 && events_.on_drain) events_.on_drain();
  }

  void message(std::string_view m, bool binary) {
    if (!binary || m.empty()) return;
    const std::string_view rest = m.substr(1);
    if (m[0] == Channel::status) return end(read_exec_end(rest));
    if ((m[0] == Channel::out || m[0] == Channel::err) && !rest.empty())
      events_.on_output(m[0] == Channel::err, rest);
  }

  void end(Result<int> exit) {
    const auto f = events_.on_exit;  // destroys this
    if (socket_) socket_->set_events({});
    f(std::move(exit));
  }

  std::string node_;
  Events events_;
  std::optional<Error> refusal_;
  std::string early_, size_;  // what came before the socket was there
  bool stdin_closed_ = false, paused_ = false;
  std::unique_ptr<http::WebSocket> socket_;
  std::unique_ptr<http::Call> call_;
};

http::ClientOptions client_options(int64_t patience_ms) {
  http::ClientOptions o;
  o.connect_timeout_ms = o.first_byte_timeout_ms = patience_ms;
  o.max_idle_connections = 0;  // a stream was opened for one session
  return o;
}

}  // namespace

// Makes connections out of opened streams, which are secured already; the host of an origin is the device's
// name.
class RemoteNodeAccess::Opener final : public http::PlainDialer {
 public:
  explicit Opener(OpenNodeStream open) : open_(std::move(open)) {}
  std::unique_ptr<Dial> connect(loop::Loop&, const http::Origin& to, int64_t, Done done) override {
    return open_(to.host, std::move(done));
  }

 private:
  OpenNodeStream open_;
};

RemoteNodeAccess::RemoteNodeAccess(loop::Loop& loop, OpenNodeStream open, int64_t patience_ms)
    : opener_(std::make_unique<Opener>(std::move(open))),
      client_(loop, *opener_, client_options(patience_ms)) {}

RemoteNodeAccess::~RemoteNodeAccess() = default;

std::unique_ptr<api::LogSession> RemoteNodeAccess::logs(const api::ContainerRef& container,
                                                        api::LogOptions options,
                                                        api::LogSession::Events events) {
  return std::make_unique<Log>(client_, container.node, node_target(container, options), std::move(events));
}

std::unique_ptr<api::ExecSession> RemoteNodeAccess::exec(const api::ContainerRef& container,
                                                         api::ExecRequest request,
                                                         api::ExecSession::Events events) {
  return std::make_unique<Exec>(client_, container.node, node_target(container, request), std::move(events));
}

}  // namespace limpet::daemon
