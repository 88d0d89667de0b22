#include <algorithm>

#include "http/server_impl.h"

namespace limpet::http {
namespace {

constexpr size_t max_unread = 64 * 1024;          // pipelined input that waits; above, reading stops
constexpr size_t max_queued = 256 * 1024;         // answers not taken; above, no further request is begun
constexpr size_t first_body_reserve = 64 * 1024;  // memory follows bytes received, not lengths claimed
constexpr int64_t linger_ms = 2000;

}  // namespace

Connection::Connection(Server::Impl& server, std::unique_ptr<loop::Stream> stream, Peer peer)
    : keep_(server.shared_from_this()),
      server_(server),
      stream_(std::move(stream)),
      peer_(std::move(peer)),
      parser_(Parser::Kind::request, server.options.limits) {}

Connection::~Connection() = default;

void Connection::start() {
  const auto weak = weak_from_this();
  stream_->set_events({
      .on_read =
          [weak](std::string_view s) {
            if (auto self = weak.lock()) self->received(s);
          },
      .on_eof =
          [weak] {
            if (auto self = weak.lock()) self->ended();
          },
      .on_error =
          [weak](Error) {
            if (auto self = weak.lock()) self->close();
          },
      .on_drain =
          [weak] {
            if (auto self = weak.lock()) self->drained();
          },
  });
  set_phase(Phase::idle);
  stream_->read_start();
}

// Now; the handler hears that its client is gone.
void Connection::close() {
  if (closed()) return;
  const auto self = shared_from_this();
  ServerExchange* exchange = std::exchange(exchange_, nullptr);
  leave();
  stream_.reset();
  if (exchange != nullptr) exchange->connection_gone();
  server_.check_stopped();
}

// Politely; whoever calls this has dealt with the exchange.
void Connection::close_after_sending() {
  if (closed()) return;
  const auto self = shared_from_this();
  exchange_ = nullptr;
  leave();
  loop::close_gently(server_.loop, std::move(stream_), linger_ms, eof_);
  server_.check_stopped();
}

// The server's list gives up its reference; callers up the stack hold their own.
void Connection::leave() {
  forget_body();
  request_.reset();
  unread_ = std::string();
  deadline_ms_ = stall_deadline_ms_ = 0;
  --server_.counters.open_connections;
  server_.connections.erase(place);
}

void Connection::refuse(int status, std::string_view message) {
  if (closed()) return;
  Response response = server_.error_response(status, message);
  std::string out = strf("HTTP/1.1 %d ", status);
  out.append(reason_phrase(status)).append("\r\n").append(server_.date());
  for (const Header& h : response.headers.list())
    out.append(h.name).append(": ").append(h.value).append("\r\n");
  out.append("Content-Length: ").append(std::to_string(response.body.size()));
  out.append("\r\nConnection: close\r\n\r\n").append(response.body);
  send(std::move(out));
  close_after_sending();
}

void Connection::stop() {
  stopping_ = true;
  if (phase_ == Phase::idle) close_after_sending();
}

void Connection::send(std::string bytes) {
  if (closed()) return;
  sent_ += static_cast<int64_t>(bytes.size());
  server_.counters.bytes_out += static_cast<int64_t>(bytes.size());
  stream_->write(std::move(bytes));
  if (stall_deadline_ms_ == 0 && stream_->write_queue_size() > 0) note_stall();
}

void Connection::note_stall() {
  stall_progress_ = sent_ - static_cast<int64_t>(stream_->write_queue_size());
  stall_deadline_ms_ = server_.loop.now_ms() + server_.options.write_stall_ms;
  server_.want_sweep(stall_deadline_ms_);
}

void Connection::drained() {
  const auto self = shared_from_this();
  stall_deadline_ms_ = 0;
  if (exchange_ != nullptr) exchange_->drained();
  if (!closed() && exchange_ == nullptr) resume();
}

void Connection::set_phase(Phase phase) {
  phase_ = phase;
  switch (phase) {
    case Phase::idle:
      return set_deadline(server_.options.idle_timeout_ms);
    case Phase::header:
      return set_deadline(server_.options.header_timeout_ms);
    case Phase::body:
      return set_deadline(server_.options.body_timeout_ms);
    case Phase::handling:
      deadline_ms_ = 0;
      return;
  }
}

void Connection::set_deadline(int64_t after_ms) {
  deadline_ms_ = server_.loop.now_ms() + after_ms;
  server_.want_sweep(deadline_ms_);
}

void Connection::check_deadline(int64_t now_ms) {
  if (closed()) return;
  if (stall_deadline_ms_ != 0 && now_ms >= stall_deadline_ms_) {
    if (sent_ - static_cast<int64_t>(stream_->write_queue_size()) == stall_progress_) {
      ++server_.counters.timeouts;
      return close();
    }
    note_stall();
  }
  if (deadline_ms_ == 0 || now_ms < deadline_ms_) return;
  if (phase_ == Phase::idle) return close_after_sending();
  ++server_.counters.timeouts;
  refuse(408,
         phase_ == Phase::header ? "the request headers took too long" : "the request body took too long");
}

void Connection::received(std::string_view bytes) {
  server_.counters.bytes_in += static_cast<int64_t>(bytes.size());
  const bool waiting = phase_ == Phase::handling || input_ != nullptr || !unread_.empty();
  if (waiting) {
    unread_.append(bytes);
    if (unread_.size() > max_unread) stream_->read_stop();
    if (phase_ != Phase::handling) resume();
    return;
  }
  parse(bytes);
  if (!closed() && !bytes.empty()) unread_.assign(bytes);
}

// Goes on with the input that waited for the exchange to end, unless the client does not take its answers.
void Connection::resume() {
  if (closed() || input_ != nullptr || phase_ == Phase::handling) return;
  if (queued() > max_queued) return stream_->read_stop();
  const auto self = shared_from_this();
  if (!unread_.empty()) {
    std::string bytes = std::exchange(unread_, std::string());
    std::string_view view = bytes;
    parse(view);
    if (closed()) return;
    if (!view.empty()) unread_.insert(0, view);
  }
  if (unread_.size() <= max_unread) stream_->read_start();
  if (eof_ && unread_.empty() && phase_ != Phase::handling) close_after_sending();
}

// Parses until the input ends or an exchange takes over.
void Connection::parse(std::string_view& input) {
  const auto self = shared_from_this();
  input_ = &input;
  bool more = true;
  while (more && !closed() && phase_ != Phase::handling && queued() <= max_queued) {
    if (phase_ == Phase::idle && !input.empty()) set_phase(Phase::header);
    switch (parser_.next(input)) {
      case Parser::Step::need_more:
        more = false;
        break;
      case Parser::Step::head:
        more = begin_request();
        break;
      case Parser::Step::body:
        more = take_body(parser_.body());
        break;
      case Parser::Step::complete:
        handle();
        break;
      case Parser::Step::error:
        ++server_.counters.bad_requests;
        refuse(parser_.error_status(), parser_.error_text());
        more = false;
        break;
    }
  }
  input_ = nullptr;
  // Forgiven empty lines between requests are no beginning of one.
  if (!closed() && phase_ == Phase::header && parser_.idle()) phase_ = Phase::idle;
}

// The head is complete. False when the request is refused already.
bool Connection::begin_request() {
  MessageHead& head = parser_.head();
  request_ = std::make_unique<Request>();
  request_->method = std::move(head.method);
  request_->target = std::move(head.target);
  request_->headers = std::move(head.headers);
  request_->peer = peer_;
  keep_alive_ = head.keep_alive;
  if (request_->target != "*") {
    if (auto split = split_target(request_->target, &request_->path, &request_->query); !split) {
      ++server_.counters.bad_requests;
      refuse(400, split.error().message);
      return false;
    }
  } else {
    request_->path = "*";
  }
  return begin_body(head);
}

bool Connection::begin_body(const MessageHead& head) {
  const bool expects_body = head.chunked || head.content_length > 0;
  if (head.content_length > static_cast<int64_t>(server_.options.max_body_bytes)) {
    refuse(413,
           strf("the request body is larger than the limit of %zu bytes", server_.options.max_body_bytes));
    return false;
  }
  if (const std::string_view expect = request_->headers.get("Expect");
      !expect.empty() && head.minor_version == 1) {
    if (!same_text(expect, "100-continue")) {
      refuse(417, "the only expectation served is 100-continue");
      return false;
    }
    if (expects_body) send("HTTP/1.1 100 Continue\r\n\r\n");
  }
  if (expects_body) set_phase(Phase::body);
  if (head.content_length > 0) {
    request_->body.reserve(std::min(static_cast<size_t>(head.content_length), first_body_reserve));
  }
  return true;
}

bool Connection::take_body(std::string_view bytes) {
  std::string& body = request_->body;
  if (body.size() + bytes.size() > server_.options.max_body_bytes) {
    refuse(413,
           strf("the request body is larger than the limit of %zu bytes", server_.options.max_body_bytes));
    return false;
  }
  if (server_.bodies_bytes + bytes.size() > server_.options.max_bodies_bytes) {
    refuse(503, "too many large requests at once; try again later");
    return false;
  }
  server_.bodies_bytes += bytes.size();
  body_charge_ += bytes.size();
  body.append(bytes);
  return true;
}

void Connection::forget_body() {
  server_.bodies_bytes -= body_charge_;
  body_charge_ = 0;
}

void Connection::handle() {
  forget_body();
  set_phase(Phase::handling);
  streaming_ = false;
  ++server_.counters.requests;
  auto exchange = std::make_shared<ServerExchange>(this, std::move(*request_), parser_.head().minor_version);
  request_.reset();
  exchange_ = exchange.get();
  server_.handler(std::move(exchange));
}

void Connection::streaming_began() { streaming_ = true; }

// The answer is on its way. From inside the handler parse() goes on by itself.
void Connection::exchange_done(bool keep_alive) {
  exchange_ = nullptr;
  if (closed()) return;
  if (!keep_alive) return close_after_sending();
  set_phase(Phase::idle);
  if (input_ != nullptr) return;
  if (unread_.empty() && !eof_) return stream_->read_start();
  const auto weak = weak_from_this();
  server_.loop.defer([weak] {
    if (auto self = weak.lock()) self->resume();
  });
}

void Connection::ended() {
  eof_ = true;
  if (phase_ == Phase::handling) {
    if (streaming_) close();
    return;  // half-closed: the answer still goes out, then will_close() ends it
  }
  if (!unread_.empty()) return;  // pipelined requests are still to be answered, resume() ends it
  if (phase_ == Phase::idle) return close_after_sending();
  ++server_.counters.bad_requests;
  refuse(400, "the connection ended in the middle of a request");
}

Result<std::unique_ptr<WebSocket>> Connection::upgrade(const Request& request, std::string_view subprotocol) {
  if (closed()) return fail(Errc::cancelled, "the client is gone");
  if (stopping_) return fail(Errc::unavailable, "the server is stopping");
  TRY(const std::string accept, websocket_accept(request, subprotocol));
  std::string out = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
  out.append("Sec-WebSocket-Accept: ").append(accept).append("\r\n");
  if (!subprotocol.empty()) out.append("Sec-WebSocket-Protocol: ").append(subprotocol).append("\r\n");
  send(std::move(out.append("\r\n")));

  const auto self = shared_from_this();
  auto server = server_.shared_from_this();
  server->websockets.push_back(nullptr);
  const auto slot = std::prev(server->websockets.end());
  ++server->counters.websockets;
  auto socket = make_websocket(server->loop, std::move(stream_),
                               {.role = WebSocketRole::server,
                                .subprotocol = std::string(subprotocol),
                                .received = input_ != nullptr ? std::string(*input_) : std::move(unread_),
                                .on_destroyed = [server, slot] {
                                  server->websockets.erase(slot);
                                  --server->counters.websockets;
                                  --server->counters.open_connections;
                                  server->check_stopped();
                                }});
  *slot = socket.get();
  forget();
  return socket;
}

// The stream is another's; the server's list gives up its reference.
void Connection::forget() {
  exchange_ = nullptr;
  deadline_ms_ = stall_deadline_ms_ = 0;
  server_.connections.erase(place);
}

Result<std::unique_ptr<loop::Stream>> Connection::take_over(const Request& request, std::string_view protocol,
                                                            const Headers& headers) {
  if (closed() || eof_) return fail(Errc::cancelled, "the client is gone");
  if (stopping_) return fail(Errc::unavailable, "the server is stopping");
  if (!request.headers.has_token("Connection", "upgrade") ||
      !request.headers.has_token("Upgrade", protocol)) {
    return fail(Errc::invalid_argument, "the request does not ask for Upgrade: " + std::string(protocol));
  }
  std::string out = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ";
  out.append(protocol).append("\r\n");
  for (const Header& h : headers.list()) out.append(h.name).append(": ").append(h.value).append("\r\n");
  send(std::move(out.append("\r\n")));
  const auto self = shared_from_this();
  auto stream = std::make_unique<TakenStream>(server_.shared_from_this(), std::move(stream_),
                                              input_ != nullptr ? std::string(*input_) : std::move(unread_));
  forget();
  return stream;
}

}  // namespace limpet::http
