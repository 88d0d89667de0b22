#include "daemon/stream_service.h"

#include <map>
#include <utility>

#include "client/bundle_wire.h"
#include "daemon/local_api.h"
#include "loop/stream.h"

namespace limpet::daemon {

using client::BundleKind;

// One stream as the API's handler sees it.
class StreamService::Stream final : public http::Exchange {
 public:
  Stream(std::weak_ptr<Bundle> bundle, uint32_t id, http::Request request)
      : bundle_(std::move(bundle)), id_(id), request_(std::move(request)) {}
  ~Stream() override;  // one that was not answered is told as broken off

  const http::Request& request() const override { return request_; }
  void respond(http::Response response) override {
    if (answered) return;
    begin(response.status, {});
    write(response.body);
    end();
  }
  void begin(int status, http::Headers) override;
  void write(std::string_view bytes) override;
  void end() override { last(BundleKind::end); }
  void abort() override { last(BundleKind::broken); }
  size_t write_queue_size() const override;
  void on_gone(std::function<void()> f) override { gone_ = std::move(f); }
  void on_drain(std::function<void()> f) override { drain_ = std::move(f); }
  Result<std::unique_ptr<loop::Stream>> take_over(std::string_view, http::Headers) override {
    return fail(Errc::unsupported, "no connection of its own");
  }
  Result<std::unique_ptr<http::WebSocket>> upgrade(std::string_view) override {
    return fail(Errc::unsupported, "no connection of its own");
  }

  void drained() {
    if (const auto f = drain_; f && !over_) f();
  }
  // The device closed it, or is gone.
  void lose() {
    if (std::exchange(over_, true)) return;
    if (const auto f = std::exchange(gone_, nullptr)) f();
  }

 private:
  void last(BundleKind kind);

  std::weak_ptr<Bundle> bundle_;
  uint32_t id_;
  http::Request request_;
  std::function<void()> gone_, drain_;
  bool over_ = false;
};

class StreamService::Bundle : public std::enable_shared_from_this<Bundle> {
 public:
  Bundle(StreamService& owner, std::unique_ptr<http::WebSocket> socket, http::Peer peer, http::Handler api)
      : owner_(owner), socket_(std::move(socket)), peer_(std::move(peer)), api_(std::move(api)) {}

  void start() {
    http::WebSocket::Events events;
    events.on_message = [this](std::string_view m, bool binary) { message(m, binary); };
    events.on_close = [this](int, std::string_view) { stop(); };
    events.on_drain = [this] { drained(); };
    socket_->set_events(std::move(events));
  }
  // Nothing more in either direction.
  void stop() {
    const auto self = shared_from_this();
    if (std::exchange(over_, true)) return;
    for (const auto& [id, weak] : std::exchange(streams_, {})) {
      if (const auto stream = weak.lock()) stream->lose();
    }
    owner_.finish(this);
  }
  void close(int code, std::string_view why) {
    if (!over_) socket_->close(code, why);
    stop();
  }

  void send(const std::string& message) {
    if (over_) return;
    socket_->send(message, true);
    if (socket_->write_queue_size() > queue_bound) close(1008, "what was sent is not read");
  }
  size_t queued() const { return over_ ? 0 : socket_->write_queue_size(); }
  void forget(uint32_t id) { streams_.erase(id); }

 private:
  void message(std::string_view text, bool binary) {
    const auto ask = client::decode_ask(text);
    if (binary || !ask) return close(1003, "no message of a bundle of streams");
    if (!ask->target.empty()) return open(*ask);
    const auto it = streams_.find(ask->id);
    if (it == streams_.end()) return;  // it has ended meanwhile
    const auto stream = it->second.lock();
    streams_.erase(it);
    if (stream) stream->lose();
  }

  void open(const client::BundleAsk& ask) {
    if (ask.id <= last_) return close(1008, "an id was used twice");
    last_ = ask.id;
    http::Request request;
    request.method = "GET";
    request.target = ask.target;
    const auto split = http::split_target(ask.target, &request.path, &request.query);
    const bool watch = split && request.path.starts_with("/api") && request.query.get("watch") == "true";
    if (!watch) return refuse(ask.id, 400, "BadRequest", "a bundle carries watches only");
    if (streams_.size() >= max_streams)
      return refuse(ask.id, 429, "TooManyRequests", "too many streams in one bundle");
    request.headers.add("Accept", "application/json");
    request.headers.add("User-Agent", "limpetd");
    request.peer = peer_;
    const auto stream = std::make_shared<Stream>(weak_from_this(), ask.id, std::move(request));
    streams_[ask.id] = stream;
    const auto api = api_;
    api(stream);
  }

  void refuse(uint32_t id, int status, const char* reason, const char* why) {
    send(client::encode_head(id, status));
    send(client::encode_piece(id, BundleKind::data, local_failure(status, reason, why).body));
    send(client::encode_piece(id, BundleKind::end));
  }

  void drained() {
    const auto self = shared_from_this();
    const auto streams = streams_;  // what they write may end some
    for (const auto& [id, weak] : streams) {
      if (const auto stream = weak.lock()) stream->drained();
    }
  }

  StreamService& owner_;
  std::unique_ptr<http::WebSocket> socket_;
  http::Peer peer_;
  http::Handler api_;
  std::map<uint32_t, std::weak_ptr<Stream>> streams_;
  uint32_t last_ = 0;
  bool over_ = false;
};

StreamService::Stream::~Stream() { last(BundleKind::broken); }

void StreamService::Stream::begin(int status, http::Headers) {
  answered = true;
  if (const auto bundle = bundle_.lock(); bundle && !over_) bundle->send(client::encode_head(id_, status));
}

void StreamService::Stream::write(std::string_view bytes) {
  const auto bundle = bundle_.lock();
  for (; bundle && !over_ && !bytes.empty();
       bytes.remove_prefix(std::min(bytes.size(), client::max_bundle_piece)))
    bundle->send(client::encode_piece(id_, BundleKind::data, bytes.substr(0, client::max_bundle_piece)));
}

void StreamService::Stream::last(BundleKind kind) {
  if (std::exchange(over_, true)) return;
  answered = true;
  const auto bundle = bundle_.lock();
  if (!bundle) return;
  bundle->forget(id_);
  bundle->send(client::encode_piece(id_, kind));
}

size_t StreamService::Stream::write_queue_size() const {
  const auto bundle = bundle_.lock();
  return bundle ? bundle->queued() : 0;
}

StreamService::~StreamService() {
  for (const auto& bundle : std::set<std::shared_ptr<Bundle>>(bundles_))
    bundle->close(1001, "the server is stopping");
}

http::Handler StreamService::over(http::Handler api) {
  return [this, api = std::move(api)](http::ExchangePtr exchange) {
    if (exchange->request().path == client::bundle_path) return accept(exchange, api);
    api(std::move(exchange));
  };
}

void StreamService::accept(const http::ExchangePtr& exchange, const http::Handler& api) {
  const http::Request& request = exchange->request();
  if (request.peer.client_certificate_der.empty())
    return exchange->respond(local_failure(401, "Unauthorized", "devices show their certificate here"));
  if (!request.headers.has_token("Sec-WebSocket-Protocol", client::bundle_protocol))
    return exchange->respond(local_failure(400, "BadRequest", "a WebSocket of limpet-streams.v1 is wanted"));
  const http::Peer peer = request.peer;
  auto socket = exchange->upgrade(client::bundle_protocol);
  if (!socket) return exchange->respond(local_failure(400, "BadRequest", socket.error().message));
  const auto bundle = std::make_shared<Bundle>(*this, std::move(*socket), peer, api);
  bundles_.insert(bundle);
  bundle->start();
}

void StreamService::finish(Bundle* bundle) {
  for (auto it = bundles_.begin(); it != bundles_.end(); ++it) {
    if (it->get() != bundle) continue;
    // A callback of its socket may be on the stack.
    loop_.defer([gone = std::move(bundles_.extract(it).value())] {});
    return;
  }
}

}  // namespace limpet::daemon
