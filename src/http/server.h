// HTTP/1.1 server over loop::Streams: plain TCP, unix sockets or TLS, whatever the owner accepted.
//
//   http::Server server(loop, options, [](http::ExchangePtr exchange) { ... });
//   listener = loop::Listener::tcp(loop, "0.0.0.0", 6443, [&](auto stream) { server.serve(std::move(stream),
//   peer); });
//
// One request at a time per connection, in order; pipelined ones wait, unparsed and bounded. A handler gets
// complete, bounded requests; what is wrong with a request is answered here, in the form that
// options.error_response gives it. Every connection has a deadline in every state but one: while a handler
// works on an answer, time is the handler's; an answer that the client does not take is broken off after
// write_stall_ms. A client that closes its sending side before the answer began still gets it; during a
// streamed answer (a watch, a log) the same means that it is gone, since that is how such clients leave.
//
// Owned by main, outlived by the loop. Destroying it closes every connection; exchanges that handlers still
// hold stay valid and do nothing. RFC 9110, 9112, 6455.
#pragma once

#include <list>
#include <memory>

#include "base/clock.h"
#include "http/message.h"
#include "http/parser.h"
#include "loop/loop.h"
#include "loop/stream.h"

namespace limpet::http {

struct ServerOptions {
  size_t max_connections = 64;  // those that were upgraded included; more are answered 503 and closed
  size_t max_body_bytes = 3 * 1024 * 1024;
  size_t max_bodies_bytes = 24 * 1024 * 1024;  // of all connections, while they are being received
  int64_t header_timeout_ms = 10'000;          // from the first byte of a request to the end of its headers
  int64_t body_timeout_ms = 60'000;            // for the body after that
  int64_t idle_timeout_ms = 120'000;           // between requests, and before the first
  int64_t write_stall_ms = 60'000;             // queued bytes, none of which went out
  ParserLimits limits;
  // The body of an answer that the server itself gives; the status is the one passed in. Without it: plain
  // text.
  std::function<Response(int status, std::string_view message)> error_response;
  Clock* clock = nullptr;  // for the Date header; without it there is none
};

struct ServerCounters {
  int64_t open_connections = 0;  // those that were upgraded included
  int64_t websockets = 0;
  int64_t accepted = 0;
  int64_t refused = 0;   // connections over the limit
  int64_t requests = 0;  // that reached the handler
  int64_t bad_requests = 0;
  int64_t timeouts = 0;
  int64_t bytes_in = 0;
  int64_t bytes_out = 0;
};

class Server {
 public:
  Server(loop::Loop& loop, ServerOptions options, Handler handler);
  ~Server();
  Server(const Server&) = delete;

  // Speaks HTTP on the stream until it ends. The peer is copied into each request.
  void serve(std::unique_ptr<loop::Stream> stream, Peer peer);
  // Whether one more connection would be refused: ask before paying for a TLS handshake.
  bool full() const;
  // Idle connections close at once, WebSockets are told 1001, streams that were taken over get an error,
  // running exchanges may finish; what is left at the deadline is cut. New connections are closed. done comes
  // once, not from inside this call.
  void shutdown(int64_t deadline_ms, loop::Task done);
  const ServerCounters& counters() const;

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace limpet::http
