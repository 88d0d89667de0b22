// HTTP messages as values, and the server's side of one exchange as an interface.
//
// A handler sees an Exchange and never the transport: the HTTP/1.1 server makes them from connections, the
// in-process client of a server device makes them from calls. RFC 9110 and 9112.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace limpet::loop {
class Stream;
}

namespace limpet::http {

struct Header {
  std::string name;
  std::string value;
};

class Headers {
 public:
  void add(std::string name, std::string value) { list_.push_back({std::move(name), std::move(value)}); }
  void set(std::string_view name, std::string value);  // replaces all of that name
  std::string_view get(std::string_view name) const;   // first, case-insensitive; empty when absent
  bool has(std::string_view name) const;
  // Whether one of the comma-separated items of that header is `token`, case-insensitive.
  bool has_token(std::string_view name, std::string_view token) const;
  std::vector<std::string_view> all(std::string_view name) const;
  const std::vector<Header>& list() const { return list_; }
  std::vector<Header>& mutable_list() { return list_; }
  Header& last() { return list_.back(); }  // there must be one

 private:
  std::vector<Header> list_;
};

// The query of a request target, percent-decoded, in order.
struct Query {
  std::vector<std::pair<std::string, std::string>> pairs;
  std::string_view get(std::string_view name) const;  // first
  std::vector<std::string_view> all(std::string_view name) const;
  bool has(std::string_view name) const;
};
Result<Query> parse_query(std::string_view text);
// Decodes %XX; refuses bad escapes and NUL.
Result<std::string> percent_decode(std::string_view text);
std::string percent_encode(std::string_view text);  // all but unreserved characters
// A request target as its decoded path and query. The path has one form: dot segments, empty segments,
// encoded slashes and NUL are refused; one trailing slash is dropped; of an absolute-form target the
// authority is ignored.
Result<> split_target(std::string_view target, std::string* path, Query* query);

bool same_text(std::string_view a, std::string_view b);  // ASCII case-insensitive
bool has_token(std::string_view list, std::string_view token);

// Who sent the request, as far as the transport proved it. Authentication (src/api) turns it into a user.
struct Peer {
  // forwarded: from another server of the cluster, which has authenticated the user and says who it is.
  enum class Kind { tcp, tls, unix_socket, in_process, forwarded } kind = Kind::tcp;
  std::string address;                 // for logs and the audit trail
  std::string client_certificate_der;  // TLS: verified against the client CAs, empty when none was sent
  uint32_t uid = ~0u, gid = ~0u;       // unix socket
  int pid = -1;
  std::string user;  // in process: the identity the wiring gave
  std::vector<std::string> groups;
};

struct Request {
  std::string method;
  std::string target;  // as sent
  std::string
      path;  // decoded; no dot segments, no empty segments, no NUL: refused before a handler sees them
  Query query;
  Headers headers;
  std::string body;  // complete, within the server's limit (3 MiB)
  Peer peer;
};

struct Response {
  int status = 200;
  Headers headers;
  std::string body;
};

// A WebSocket (RFC 6455) after the handshake, either side. Binary and text messages arrive whole (limit 1
// MiB), pings are answered by itself.
class WebSocket {
 public:
  struct Events {
    std::function<void(std::string_view message, bool binary)> on_message;
    std::function<void(int code, std::string_view reason)>
        on_close;  // exactly once; 1006 when the peer vanished
    std::function<void()> on_drain;
  };
  virtual ~WebSocket() = default;  // destroying drops the connection without a close frame
  virtual void set_events(Events events) = 0;
  virtual void send(std::string_view message, bool binary = true) = 0;
  virtual void close(int code, std::string_view reason) = 0;  // close handshake; on_close follows
  virtual size_t write_queue_size() const = 0;
  virtual void pause_reading(bool pause) = 0;
  virtual const std::string& subprotocol() const = 0;
};

// One request being answered. The transport owns it through a shared_ptr that the handler keeps as long as it
// needs it; dropping it unanswered sends 500. All calls on the loop's thread.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual const Request& request() const = 0;

  // Whole answer at once. Content-Length is set by the transport. The SharedBytes form sends without a copy.
  virtual void respond(Response response) = 0;

  // Streaming answer: begin once, any number of writes, end once (chunked, or as the transport has it).
  virtual void begin(int status, Headers headers) = 0;
  virtual void write(std::string_view bytes) = 0;
  virtual void end() = 0;
  virtual size_t write_queue_size() const = 0;  // for back-pressure: pause the source above some bound
  // Breaks off in the middle, so that the client can tell the answer is incomplete.
  virtual void abort() = 0;

  // Called when the client is gone before the answer ended (never after end or respond).
  virtual void on_gone(std::function<void()> f) = 0;
  virtual void on_drain(std::function<void()> f) = 0;

  // Switches to another protocol that the client asks for in its Upgrade header: answers 101 with the headers
  // and gives the connection away, bytes that already came included. The server ends it (on_error) when it
  // stops. Fails when the request does not ask for it or there is no connection to give; the caller then
  // answers with respond().
  virtual Result<std::unique_ptr<loop::Stream>> take_over(std::string_view protocol, Headers headers) = 0;

  // Switches to WebSocket with one of the client's offered subprotocols ("" for none). Fails when the request
  // is no proper WebSocket handshake; the caller then answers with respond().
  virtual Result<std::unique_ptr<WebSocket>> upgrade(std::string_view subprotocol) = 0;

  bool answered = false;  // set by the transport at the first of respond, begin, upgrade, take_over
};
using ExchangePtr = std::shared_ptr<Exchange>;
using Handler = std::function<void(ExchangePtr)>;

std::string_view reason_phrase(int status);

}  // namespace limpet::http
