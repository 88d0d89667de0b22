#include "base/assert.h"
#include "http/server_impl.h"

namespace limpet::http {
namespace {

constexpr size_t copy_below =
    64 * 1024;  // larger bodies go out in a write of their own, not copied behind the head

// What a handler puts into a header must not become another header or a message.
void append_clean(std::string* out, std::string_view text) {
  if (text.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos) {
    out->append(text);
    return;
  }
  for (const char c : text) out->push_back(c == '\r' || c == '\n' || c == '\0' ? ' ' : c);
}

bool has_no_body(int status) { return status < 200 || status == 204 || status == 304; }

}  // namespace

std::string ServerExchange::head_text(int status, const Headers& headers, bool close) const {
  std::string out;
  size_t size = 160;
  for (const Header& h : headers.list()) size += h.name.size() + h.value.size() + 4;
  out.reserve(size);
  const char digits[4] = {static_cast<char>('0' + status / 100 % 10),
                          static_cast<char>('0' + status / 10 % 10), static_cast<char>('0' + status % 10),
                          ' '};
  out.append("HTTP/1.1 ").append(digits, 4).append(reason_phrase(status)).append("\r\n");
  for (const Header& h : headers.list()) {
    // Framing is the transport's.
    if (same_text(h.name, "Content-Length") || same_text(h.name, "Transfer-Encoding") ||
        same_text(h.name, "Connection")) {
      continue;
    }
    append_clean(&out, h.name);
    out.append(": ");
    append_clean(&out, h.value);
    out.append("\r\n");
  }
  out.append(connection_->server().date());
  if (close) {
    out.append("Connection: close\r\n");
  } else if (minor_version_ == 0) {
    out.append("Connection: keep-alive\r\n");
  }
  return out;
}

Connection* ServerExchange::detach() {
  gone_ = nullptr;
  drain_ = nullptr;
  return std::exchange(connection_, nullptr);
}

ServerExchange::~ServerExchange() {
  if (connection_ == nullptr) return;
  if (streaming_) {
    abort();
    return;
  }
  respond(connection_->server().error_response(500, "the request was dropped without an answer"));
}

void ServerExchange::respond(Response response) {
  LIMPET_ASSERT(!answered || connection_ == nullptr);
  answered = true;
  if (connection_ == nullptr) return;
  // Whoever asked for another protocol and did not get it may still send its bytes: they must not be read as
  // requests.
  const bool close = connection_->will_close() || wants_upgrade();
  std::string out = head_text(response.status, response.headers, close);
  if (!has_no_body(response.status)) {
    out.append("Content-Length: ").append(std::to_string(response.body.size())).append("\r\n");
  }
  out.append("\r\n");
  const bool send_body = !head_ && !has_no_body(response.status);
  Connection* connection = detach();
  if (send_body && response.body.size() < copy_below) {
    out.append(response.body);
    connection->send(std::move(out));
  } else {
    connection->send(std::move(out));
    if (send_body) connection->send(std::move(response.body));
  }
  connection->exchange_done(!close);
}

void ServerExchange::begin(int status, Headers headers) {
  LIMPET_ASSERT(!answered || connection_ == nullptr);
  answered = true;
  if (connection_ == nullptr) return;
  chunked_ = minor_version_ == 1 && !has_no_body(status);
  close_ = connection_->will_close() || wants_upgrade() || (!chunked_ && !has_no_body(status));
  head_ = head_ || has_no_body(status);
  std::string out = head_text(status, headers, close_);
  if (chunked_) out.append("Transfer-Encoding: chunked\r\n");
  out.append("\r\n");
  streaming_ = true;
  connection_->send(std::move(out));
  if (connection_ != nullptr) connection_->streaming_began();
}

void ServerExchange::write(std::string_view bytes) {
  if (connection_ == nullptr || head_ || bytes.empty()) return;
  LIMPET_ASSERT(streaming_);
  std::string out;
  out.reserve(bytes.size() + 20);
  if (chunked_) out.append(strf("%zx\r\n", bytes.size()));
  out.append(bytes);
  if (chunked_) out.append("\r\n");
  connection_->send(std::move(out));
}

void ServerExchange::end() {
  if (connection_ == nullptr) return;
  LIMPET_ASSERT(streaming_);
  Connection* connection = detach();
  if (chunked_ && !head_) connection->send("0\r\n\r\n");
  connection->exchange_done(!close_);
}

size_t ServerExchange::write_queue_size() const { return connection_ != nullptr ? connection_->queued() : 0; }

void ServerExchange::abort() {
  if (connection_ == nullptr) return;
  answered = true;
  // Without the last chunk the client sees that something is missing; what is queued still goes out.
  detach()->close_after_sending();
}

Result<std::unique_ptr<WebSocket>> ServerExchange::upgrade(std::string_view subprotocol) {
  if (connection_ == nullptr) return fail(Errc::cancelled, "the client is gone");
  LIMPET_ASSERT(!answered);
  if (minor_version_ != 1) return fail(Errc::invalid_argument, "a WebSocket handshake needs HTTP/1.1");
  auto socket = connection_->upgrade(request_, subprotocol);
  if (!socket) return socket;
  answered = true;
  detach();
  return socket;
}

Result<std::unique_ptr<loop::Stream>> ServerExchange::take_over(std::string_view protocol, Headers headers) {
  if (connection_ == nullptr) return fail(Errc::cancelled, "the client is gone");
  LIMPET_ASSERT(!answered);
  if (minor_version_ != 1) return fail(Errc::invalid_argument, "another protocol needs HTTP/1.1");
  Headers clean;
  for (const Header& h : headers.list()) {
    std::string value;
    append_clean(&value, h.value);
    clean.add(h.name, std::move(value));
  }
  auto stream = connection_->take_over(request_, protocol, clean);
  if (!stream) return stream;
  answered = true;
  detach();
  return stream;
}

void ServerExchange::on_gone(std::function<void()> f) {
  if (lost_) return f();  // it went before anyone asked
  if (connection_ != nullptr) gone_ = std::move(f);
}

void ServerExchange::connection_gone() {
  lost_ = true;
  connection_ = nullptr;
  drain_ = nullptr;
  if (auto f = std::exchange(gone_, nullptr)) f();
}

void ServerExchange::drained() {
  if (auto f = drain_) f();
}

}  // namespace limpet::http
