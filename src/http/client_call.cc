#include "http/client_impl.h"

namespace limpet::http {

namespace {
constexpr size_t max_unread = 256 * 1024;  // while paused
}

ClientCall::ClientCall(std::shared_ptr<Client::Impl> client, ClientRequest request, CallEvents events)
    : client_(std::move(client)),
      request_(std::move(request)),
      events_(std::make_shared<CallEvents>(std::move(events))),
      parser_(Parser::Kind::response, client_->options.limits),
      timer_(client_->loop, "http-client") {}

std::string ClientCall::place() const {
  return request_.origin.unix_path.empty() ? request_.origin.authority() : request_.origin.unix_path;
}

void ClientCall::start() {
  // Nothing is reported from inside the caller's send().
  client_->loop.defer([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self || self->phase_ == Phase::over) return;
    self->drops_ = self->client_->drops;
    self->stream_ = self->client_->take_idle(self->pool_key());
    self->reused_ = self->stream_ != nullptr;
    self->reused_ ? self->send_request() : self->dial();
  });
}

void ClientCall::arm(int64_t timeout_ms, const char* what) {
  if (timeout_ms <= 0) return timer_.stop();
  timer_.start(timeout_ms, [this, what] {
    const auto self = shared_from_this();
    finish(fail(Errc::timeout, strf("%s: timed out %s", place().c_str(), what)));
  });
}

void ClientCall::dial() {
  phase_ = Phase::dialing;
  const Origin& via = through_proxy() ? *client_->options.proxy : request_.origin;
  arm(client_->options.connect_timeout_ms, "while connecting");
  dial_ = client_->dialer.connect(client_->loop, via, client_->options.connect_timeout_ms,
                                  [weak = weak_from_this()](Result<std::unique_ptr<loop::Stream>> stream) {
                                    if (auto self = weak.lock()) self->connected(std::move(stream));
                                  });
}

void ClientCall::connected(Result<std::unique_ptr<loop::Stream>> stream) {
  if (phase_ == Phase::over) return;
  if (!stream) return finish(std::unexpected(std::move(stream).error()));
  stream_ = std::move(*stream);
  if (phase_ == Phase::securing || !request_.origin.tls) return send_request();
  through_proxy() ? ask_proxy() : secure();
}

void ClientCall::ask_proxy() {
  phase_ = Phase::proxy;
  listen();
  const std::string authority = request_.origin.host.find(':') != std::string::npos
                                    ? strf("[%s]:%u", request_.origin.host.c_str(), request_.origin.port)
                                    : strf("%s:%u", request_.origin.host.c_str(), request_.origin.port);
  std::string out = strf("CONNECT %s HTTP/1.1\r\nHost: %s\r\n", authority.c_str(), authority.c_str());
  if (!client_->options.proxy_authorization.empty()) {
    out.append("Proxy-Authorization: ").append(client_->options.proxy_authorization).append("\r\n");
  }
  stream_->write(std::move(out.append("\r\n")));
}

void ClientCall::secure() {
  phase_ = Phase::securing;
  stream_->read_stop();
  stream_->set_events({});
  dial_ = client_->dialer.secure(client_->loop, std::move(stream_), request_.origin,
                                 [weak = weak_from_this()](Result<std::unique_ptr<loop::Stream>> stream) {
                                   if (auto self = weak.lock()) self->connected(std::move(stream));
                                 });
}

void ClientCall::listen() {
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
          [weak](Error e) {
            if (auto self = weak.lock()) self->lost(std::move(e));
          },
      .on_drain = {},
  });
  stream_->read_start();
}

void ClientCall::send_request() {
  phase_ = Phase::waiting;
  listen();
  const Origin& origin = request_.origin;
  std::string out = request_.method + " ";
  if (through_proxy() && !origin.tls) out.append("http://").append(origin.authority());
  out.append(request_.target).append(" HTTP/1.1\r\nHost: ");
  out.append(origin.unix_path.empty() ? origin.authority() : "localhost").append("\r\n");
  for (const Header& h : request_.headers.list())
    out.append(h.name).append(": ").append(h.value).append("\r\n");
  if (through_proxy() && !origin.tls && !client_->options.proxy_authorization.empty()) {
    out.append("Proxy-Authorization: ").append(client_->options.proxy_authorization).append("\r\n");
  }
  if (!request_.body.empty() || request_.method == "POST" || request_.method == "PUT" ||
      request_.method == "PATCH") {
    out.append("Content-Length: ").append(std::to_string(request_.body.size())).append("\r\n");
  }
  out.append("\r\n").append(request_.body);
  arm(request_.first_byte_timeout_ms.value_or(client_->options.first_byte_timeout_ms),
      "waiting for an answer");
  if (const auto events = events_; events->on_sent) {
    events->on_sent();
    if (phase_ == Phase::over) return;
  }
  stream_->write(std::move(out));
}

void ClientCall::received(std::string_view bytes) {
  if (phase_ == Phase::over) return;
  answered_ = answered_ || phase_ == Phase::waiting;
  if (paused_ || !unread_.empty()) {
    unread_.append(bytes);
    if (unread_.size() > max_unread) stream_->read_stop();
    return;
  }
  pump(bytes);
  if (phase_ != Phase::over && !bytes.empty()) unread_.assign(bytes);
}

void ClientCall::pump(std::string_view& input) {
  const auto self = shared_from_this();
  input_ = &input;
  while (phase_ != Phase::over && phase_ != Phase::securing && !paused_ && step(input)) {
  }
  input_ = nullptr;
}

bool ClientCall::step(std::string_view& input) {
  switch (parser_.next(input)) {
    case Parser::Step::need_more:
      if (phase_ == Phase::body) arm(idle_timeout(), "in the middle of an answer");
      return false;
    case Parser::Step::head:
      return take_head();
    case Parser::Step::body: {
      const auto events = events_;
      if (phase_ == Phase::body && events->on_body) events->on_body(parser_.body());
      return true;
    }
    case Parser::Step::complete:
      if (phase_ != Phase::body) return true;  // of an interim or a proxy's answer
      if (parser_.head().keep_alive && input.empty() && !eof_ && drops_ == client_->drops) {
        client_->keep(pool_key(), std::move(stream_));
      }
      finish({});
      return false;
    case Parser::Step::error:
      finish(fail(Errc::corrupt, strf("%s: bad answer: %s", place().c_str(), parser_.error_text().c_str())));
      return false;
  }
  return false;
}

bool ClientCall::take_head() {
  const MessageHead& head = parser_.head();
  if (phase_ == Phase::proxy) {
    if (head.status < 200) return true;
    if (head.status >= 300 || !input_->empty()) {
      finish(fail(Errc::unavailable, strf("%s: the proxy answers %d", place().c_str(), head.status)));
      return false;
    }
    parser_ = Parser(Parser::Kind::response, client_->options.limits);
    secure();
    return false;
  }
  if (head.status < 200 && head.status != 101) return true;
  if (request_.method == "HEAD") parser_.no_body();
  phase_ = Phase::body;
  arm(idle_timeout(), "in the middle of an answer");
  const auto events = events_;
  if (events->on_response) events->on_response(head);
  return true;
}

std::unique_ptr<loop::Stream> ClientCall::take_stream(std::string* rest) {
  rest->assign(*input_);
  timer_.stop();
  phase_ = Phase::over;
  stream_->set_events({});
  return std::move(stream_);
}

void ClientCall::pause(bool paused) {
  if (paused_ == paused || phase_ == Phase::over) return;
  paused_ = paused;
  if (paused) {
    if (phase_ == Phase::body) timer_.stop();
    return;
  }
  client_->loop.defer([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self || self->paused_ || self->phase_ == Phase::over || self->input_ != nullptr) return;
    std::string bytes = std::exchange(self->unread_, std::string());
    std::string_view view = bytes;
    self->pump(view);
    if (self->phase_ == Phase::over || !self->stream_) return;
    if (!view.empty()) self->unread_.insert(0, view);
    if (self->paused_) return;
    self->eof_ ? self->ended() : self->stream_->read_start();
  });
}

void ClientCall::ended() {
  if (phase_ == Phase::over) return;
  eof_ = true;
  if (paused_ || !unread_.empty()) return;  // what came before it is still to be handed over
  if (phase_ == Phase::body && parser_.end_of_input() == Parser::Step::complete) return finish({});
  lost({Errc::unavailable, "the connection was closed before the answer was complete", 0});
}

// A kept connection may have been closed by the server at the moment of its reuse: what is safe to repeat is
// repeated.
void ClientCall::lost(Error error) {
  if (phase_ == Phase::over) return;
  const auto self = shared_from_this();
  if (reused_ && !answered_ && (request_.method == "GET" || request_.method == "HEAD")) {
    reused_ = eof_ = false;
    stream_.reset();
    parser_ = Parser(Parser::Kind::response, client_->options.limits);
    return dial();
  }
  finish(std::unexpected(std::move(error).with(place())));
}

void ClientCall::finish(Result<> result) {
  if (phase_ == Phase::over) return;
  const auto self = shared_from_this();
  phase_ = Phase::over;
  timer_.stop();
  dial_.reset();
  stream_.reset();
  const auto events = events_;
  if (events->on_end) events->on_end(std::move(result));
}

void ClientCall::cancel() {
  phase_ = Phase::over;
  events_ = std::make_shared<CallEvents>();
  timer_.stop();
  dial_.reset();
  stream_.reset();
}

}  // namespace limpet::http
