#include "http/client.h"

#include <algorithm>

#include "http/client_impl.h"
#include "http/websocket.h"

namespace limpet::http {
namespace {

constexpr size_t max_refusal_body = 64 * 1024;

// A request for another protocol, up to the 101 or the refusal.
struct Switching {
  std::string protocol;
  const char* handshake;  // what it is called in errors
  // Takes the connection and what came behind the head.
  std::function<Result<>(const MessageHead& head, ClientCall& call)> switched;
  std::function<void(Error)> failed;
  std::function<void(Response)> refused;
  Response refusal{.status = 0, .headers = {}, .body = {}};
  std::weak_ptr<ClientCall> call;

  Error refusal_error(int status) const {
    return {Errc::unavailable, strf("the server answers %d to the %s handshake", status, handshake), 0};
  }
  void fail_now(Error error) {
    call.lock()->cancel();
    failed(std::move(error));
  }
  void head(const MessageHead& head) {
    if (head.status != 101) {
      if (!refused) return fail_now(refusal_error(head.status));
      refusal.status = head.status;  // the body tells why
      refusal.headers = head.headers;
      return;
    }
    if (!head.headers.has_token("Upgrade", protocol) || !head.headers.has_token("Connection", "upgrade"))
      return fail_now({Errc::unavailable, strf("the server's %s handshake is wrong", handshake), 0});
    if (Result<> r = switched(head, *call.lock()); !r) fail_now(std::move(r).error());
  }
  void body(std::string_view bytes) {
    refusal.body.append(bytes.substr(0, max_refusal_body - refusal.body.size()));
  }
  void end(Result<> result) {
    if (!result) return failed(std::move(result).error());
    const int status = refusal.status;
    refused(std::move(refusal));
    failed(refusal_error(status));
  }
};

std::shared_ptr<ClientCall> start_switching(std::shared_ptr<Client::Impl> client, ClientRequest request,
                                            std::shared_ptr<Switching> state) {
  request.headers.set("Upgrade", state->protocol);
  request.headers.set("Connection", "Upgrade");
  CallEvents events;
  events.on_response = [state](const MessageHead& head) { state->head(head); };
  events.on_body = [state](std::string_view bytes) { state->body(bytes); };
  events.on_end = [state](Result<> result) { state->end(std::move(result)); };
  auto call = std::make_shared<ClientCall>(std::move(client), std::move(request), std::move(events));
  state->call = call;
  call->start();
  return call;
}

class PlainDial final : public Dialer::Dial {
 public:
  loop::Connect connect;
};

// A stream cannot be had; says so on the next turn.
class FailedDial final : public Dialer::Dial {
 public:
  FailedDial(loop::Loop& loop, Dialer::Done done) : timer_(loop, "dial") {
    timer_.start(0, [done = std::move(done)] { done(fail(Errc::unsupported, "TLS is not available here")); });
  }

 private:
  loop::Timer timer_;
};

class CallHandle final : public Call {
 public:
  explicit CallHandle(std::shared_ptr<ClientCall> call) : call_(std::move(call)) {}
  ~CallHandle() override { call_->cancel(); }
  void pause(bool paused) override { call_->pause(paused); }

 private:
  std::shared_ptr<ClientCall> call_;
};

}  // namespace

std::string Origin::authority() const {
  std::string out = host.find(':') != std::string::npos ? "[" + host + "]" : host;
  if (port != (tls ? 443 : 80)) out.append(":").append(std::to_string(port));
  return out;
}

std::string Origin::key() const {
  return unix_path.empty() ? strf("%s://%s:%u", tls ? "https" : "http", host.c_str(), port)
                           : "unix:" + unix_path;
}

Result<Url> parse_url(std::string_view text) {
  Url url;
  if (text.starts_with("https://")) {
    url.origin.tls = true;
    url.origin.port = 443;
  } else if (!text.starts_with("http://")) {
    return fail(Errc::invalid_argument, "the URL must begin with http:// or https://");
  }
  for (const char c : text) {
    if (c <= 0x20 || c > 0x7e || c == '#')
      return fail(Errc::invalid_argument, "forbidden character in the URL");
  }
  text.remove_prefix(text.find("://") + 3);
  const size_t end = std::min(text.find_first_of("/?"), text.size());
  std::string_view authority = text.substr(0, end);
  url.target = text.substr(end);
  if (!url.target.starts_with('/')) url.target.insert(0, "/");
  std::string_view port;
  if (authority.starts_with('[')) {
    const size_t close = authority.find(']');
    if (close == std::string_view::npos) return fail(Errc::invalid_argument, "malformed host in the URL");
    url.origin.host = authority.substr(1, close - 1);
    port = authority.substr(close + 1);
  } else {
    const size_t colon = std::min(authority.find(':'), authority.size());
    url.origin.host = authority.substr(0, colon);
    port = authority.substr(colon);
  }
  if (url.origin.host.empty() || url.origin.host.find_first_of("@[]\\\"<>^`{|}%") != std::string::npos) {
    return fail(Errc::invalid_argument, "malformed host in the URL");
  }
  if (port.empty()) return url;
  port.remove_prefix(1);
  unsigned value = 0;
  for (const char c : port)
    value = c >= '0' && c <= '9' && value < 65536 ? value * 10 + static_cast<unsigned>(c - '0') : 70000;
  if (port.empty() || value == 0 || value > 65535)
    return fail(Errc::invalid_argument, "malformed port in the URL");
  url.origin.port = static_cast<uint16_t>(value);
  return url;
}

std::unique_ptr<Dialer::Dial> PlainDialer::connect(loop::Loop& loop, const Origin& where, int64_t timeout_ms,
                                                   Done done) {
  auto dial = std::make_unique<PlainDial>();
  if (where.unix_path.empty()) {
    dial->connect.tcp(loop, where.host, where.port, timeout_ms, std::move(done), where.reach);
  } else {
    dial->connect.unix_socket(loop, where.unix_path, timeout_ms, std::move(done));
  }
  return dial;
}

std::unique_ptr<Dialer::Dial> PlainDialer::secure(loop::Loop& loop, std::unique_ptr<loop::Stream>,
                                                  const Origin&, Done done) {
  return std::make_unique<FailedDial>(loop, std::move(done));
}

std::unique_ptr<loop::Stream> Client::Impl::take_idle(const std::string& key) {
  for (auto it = idle.rbegin(); it != idle.rend(); ++it) {
    if (it->key != key) continue;
    auto stream = std::move(it->stream);
    idle.erase(std::next(it).base());
    return stream;
  }
  return nullptr;
}

void Client::Impl::keep(const std::string& key, std::unique_ptr<loop::Stream> stream) {
  if (options.max_idle_connections == 0) return;
  if (idle.size() >= options.max_idle_connections) idle.pop_front();
  idle.push_back({key, std::move(stream), std::make_unique<loop::Timer>(loop, "http-idle")});
  const auto it = std::prev(idle.end());
  // Whatever happens on an idle connection ends it. The erased Idle takes its callbacks along: not from
  // inside them.
  const auto drop = [weak = weak_from_this(), stream_id = it->stream.get()] {
    const auto self = weak.lock();
    if (!self) return;
    std::erase_if(self->idle, [&](const Idle& i) { return i.stream.get() == stream_id; });
  };
  it->stream->set_events({.on_read = [drop](std::string_view) { drop(); },
                          .on_eof = drop,
                          .on_error = [drop](Error) { drop(); },
                          .on_drain = {}});
  it->stream->read_start();
  it->timer->start(options.keep_idle_ms, drop);
}

Client::Client(loop::Loop& loop, Dialer& dialer, ClientOptions options)
    : impl_(std::make_shared<Impl>(loop, dialer, std::move(options))) {}
Client::~Client() { impl_->idle.clear(); }
size_t Client::idle_connections() const { return impl_->idle.size(); }

void Client::drop_idle() {
  ++impl_->drops;
  // Not at once: their own callbacks may be on the stack.
  impl_->loop.defer([gone = std::make_shared<std::list<Impl::Idle>>(std::move(impl_->idle))] {});
  impl_->idle.clear();
}

std::unique_ptr<Call> Client::send(ClientRequest request, CallEvents events) {
  auto call = std::make_shared<ClientCall>(impl_, std::move(request), std::move(events));
  call->start();
  return std::make_unique<CallHandle>(std::move(call));
}

std::unique_ptr<Call> Client::fetch(ClientRequest request, size_t max_body,
                                    std::function<void(Result<Response>)> done) {
  struct State {
    Response response;
    bool too_large = false;
    std::function<void(Result<Response>)> done;
    std::weak_ptr<ClientCall> call;
  };
  auto state = std::make_shared<State>();
  state->done = std::move(done);
  CallEvents events;
  events.on_response = [state](const MessageHead& head) {
    state->response.status = head.status;
    state->response.headers = head.headers;
  };
  events.on_body = [state, max_body](std::string_view bytes) {
    if (state->too_large) return;
    state->too_large = state->response.body.size() + bytes.size() > max_body;
    if (!state->too_large) {
      state->response.body.append(bytes);
      return;
    }
    // Not another byte of it.
    if (auto call = state->call.lock()) call->cancel();
    state->done(fail(Errc::too_large, strf("the answer is larger than %zu bytes", max_body)));
  };
  events.on_end = [state](Result<> result) {
    if (!result) return state->done(std::unexpected(std::move(result).error()));
    state->done(std::move(state->response));
  };
  auto call = std::make_shared<ClientCall>(impl_, std::move(request), std::move(events));
  state->call = call;
  call->start();
  return std::make_unique<CallHandle>(std::move(call));
}

std::unique_ptr<Call> Client::websocket(ClientRequest request, std::string subprotocols,
                                        std::function<void(Result<std::unique_ptr<WebSocket>>)> done,
                                        std::function<void(Response)> refused) {
  const std::string key = websocket_new_key();
  request.headers.set("Sec-WebSocket-Version", "13");
  request.headers.set("Sec-WebSocket-Key", key);
  if (!subprotocols.empty()) request.headers.set("Sec-WebSocket-Protocol", subprotocols);
  auto state = std::make_shared<Switching>();
  state->protocol = "websocket";
  state->handshake = "WebSocket";
  state->refused = std::move(refused);
  state->failed = [done](Error e) { done(std::unexpected(std::move(e))); };
  state->switched = [done, key, subprotocols, &loop = impl_->loop](const MessageHead& head,
                                                                   ClientCall& call) -> Result<> {
    if (head.headers.get("Sec-WebSocket-Accept") != websocket_accept_key(key))
      return fail(Errc::unavailable, "the server's WebSocket handshake is wrong");
    const std::string chosen(head.headers.get("Sec-WebSocket-Protocol"));
    if (!chosen.empty() && !has_token(subprotocols, chosen))
      return fail(Errc::unavailable, "the server chose a subprotocol of its own");
    WebSocketSetup setup{
        .role = WebSocketRole::client, .subprotocol = chosen, .received = {}, .on_destroyed = {}};
    auto stream = call.take_stream(&setup.received);
    done(make_websocket(loop, std::move(stream), std::move(setup)));
    return {};
  };
  return std::make_unique<CallHandle>(start_switching(impl_, std::move(request), std::move(state)));
}

std::unique_ptr<Call> Client::upgrade(ClientRequest request, std::string protocol,
                                      std::function<void(Result<std::unique_ptr<loop::Stream>>)> done,
                                      std::function<void(Response)> refused) {
  auto state = std::make_shared<Switching>();
  state->protocol = std::move(protocol);
  state->handshake = "upgrade";
  state->refused = std::move(refused);
  state->failed = [done](Error e) { done(std::unexpected(std::move(e))); };
  state->switched = [done](const MessageHead&, ClientCall& call) -> Result<> {
    std::string early;
    auto stream = call.take_stream(&early);
    if (!early.empty()) return fail(Errc::corrupt, "the server spoke before it was asked");
    stream->read_stop();
    done(std::move(stream));
    return {};
  };
  return std::make_unique<CallHandle>(start_switching(impl_, std::move(request), std::move(state)));
}

}  // namespace limpet::http
