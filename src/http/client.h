// HTTP/1.1 client on the loop: streamed answers with pause, keep-alive per origin, proxies, WebSockets.
//
// TLS comes in through the Dialer, so that this room needs no certificates: connect() makes the raw
// connection, secure() wraps it. Redirects are answers like others; whoever asks decides. No compression is
// asked for.
//
// The Client is owned by who uses it and outlives its calls. A call ends exactly once with on_end, unless its
// Call is destroyed first, which cancels it silently, also from inside its own callbacks. RFC 9110, 9112,
// 6455.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <optional>

#include "http/message.h"
#include "http/parser.h"
#include "loop/loop.h"
#include "loop/stream.h"

namespace limpet::http {

struct Origin {
  std::string host;  // name or address, without brackets
  uint16_t port = 80;
  bool tls = false;
  std::string unix_path;                      // instead of host and port
  loop::Reach reach = loop::Reach::anywhere;  // beyond which no address of the host is connected to

  std::string authority() const;  // for Host: without the default port, with brackets around IPv6
  std::string key() const;        // equal keys are the same place; they share connections of the same reach
};
struct Url {
  Origin origin;
  std::string target;  // path and query, at least "/"
};
// "http://" and "https://" URLs; user information and fragments are refused.
Result<Url> parse_url(std::string_view text);

class Dialer {
 public:
  using Done = std::function<void(Result<std::unique_ptr<loop::Stream>>)>;
  class Dial {  // under way; destroying it cancels
   public:
    virtual ~Dial() = default;
  };
  virtual ~Dialer() = default;
  // The raw connection. Done is never called from inside.
  virtual std::unique_ptr<Dial> connect(loop::Loop& loop, const Origin& where, int64_t timeout_ms,
                                        Done done) = 0;
  // TLS over an open connection, checking that the peer is origin.host.
  virtual std::unique_ptr<Dial> secure(loop::Loop& loop, std::unique_ptr<loop::Stream> stream,
                                       const Origin& origin, Done done) = 0;
};

// TCP and unix sockets; secure() is unsupported. The base of dialers that add TLS.
class PlainDialer : public Dialer {
 public:
  std::unique_ptr<Dial> connect(loop::Loop& loop, const Origin& where, int64_t timeout_ms,
                                Done done) override;
  std::unique_ptr<Dial> secure(loop::Loop& loop, std::unique_ptr<loop::Stream> stream, const Origin& origin,
                               Done done) override;
};

struct ClientOptions {
  int64_t connect_timeout_ms = 10'000;     // connection, proxy and TLS together
  int64_t first_byte_timeout_ms = 30'000;  // from the request to the answer's head; 0: none
  int64_t idle_timeout_ms = 60'000;        // between bytes of the body, while not paused; 0: none (watches)
  size_t max_idle_connections = 4;
  int64_t keep_idle_ms = 30'000;
  ParserLimits limits;
  std::optional<Origin> proxy;      // for TCP origins
  std::string proxy_authorization;  // value of Proxy-Authorization, or empty
};

struct ClientRequest {
  Origin origin;
  std::string method = "GET";
  std::string target = "/";
  Headers headers;  // Host, Content-Length and Connection are added
  std::string body;
  // Overrides of the client's, when set.
  std::optional<int64_t> first_byte_timeout_ms;
  std::optional<int64_t> idle_timeout_ms;
};

struct CallEvents {
  std::function<void(const MessageHead&)>
      on_response;                                // the final answer's head (interim answers are skipped)
  std::function<void(std::string_view)> on_body;  // valid during the call
  std::function<void(Result<>)> on_end;           // ok: the answer is complete
  // Before the first byte of the request is written: until then the server cannot have done anything. Again
  // when a GET is repeated over another connection.
  std::function<void()> on_sent = {};
};

class Call {
 public:
  virtual ~Call() = default;
  virtual void pause(bool paused) = 0;  // back-pressure; the idle timeout rests meanwhile
};

class Client {
 public:
  Client(loop::Loop& loop, Dialer& dialer, ClientOptions options = {});
  ~Client();
  Client(const Client&) = delete;

  [[nodiscard]] std::unique_ptr<Call> send(ClientRequest request, CallEvents events);
  // The whole answer, with a body of at most max_body bytes (too_large above).
  [[nodiscard]] std::unique_ptr<Call> fetch(ClientRequest request, size_t max_body,
                                            std::function<void(Result<Response>)> done);
  // Handshake for one of the subprotocols (comma-separated offer, may be empty). A refusal is an Error with
  // the status.
  // `refused`, when given, gets the answer that refuses (a body of at most 64 KiB) right before done.
  [[nodiscard]] std::unique_ptr<Call> websocket(ClientRequest request, std::string subprotocols,
                                                std::function<void(Result<std::unique_ptr<WebSocket>>)> done,
                                                std::function<void(Response)> refused = {});
  // Asks for another protocol in the Upgrade header and gives the connection away after a 101. What the
  // server has to say in that protocol must wait for the client's first word. A refusal is as with
  // websocket().
  [[nodiscard]] std::unique_ptr<Call> upgrade(ClientRequest request, std::string protocol,
                                              std::function<void(Result<std::unique_ptr<loop::Stream>>)> done,
                                              std::function<void(Response)> refused = {});
  size_t idle_connections() const;
  // Closes them, and those in use once they would be idle: what they were opened with is to be used no more.
  void drop_idle();

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace limpet::http
