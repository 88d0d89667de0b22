// Questions to limpetd over its unix socket, one after the other. Every way in which no proper answer comes
// becomes a Failure: what happened, where, what to do.
//
// Owned by main; turns the loop while it waits.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/json.h"
#include "cli/failure.h"
#include "http/client.h"
#include "loop/loop.h"

namespace limpet::cli {

class Connection {
 public:
  static constexpr int64_t usual_answer_ms = 15'000;
  // answer_ms: how long limpetd may take for the next byte.
  Connection(loop::Loop& loop, std::string socket_path, int64_t answer_ms = usual_answer_ms);
  Connection(const Connection&) = delete;

  // The body of a 2xx answer, at most 64 MiB.
  Outcome<std::string> ask(const std::string& method, const std::string& target, std::string body = "");
  Outcome<json::Value> get(const std::string& target);
  // The bytes of a 2xx answer as they come, however long they take. on_data gives false to end it, which is a
  // success.
  using OnData = std::function<bool(std::string_view)>;
  Outcome<> stream(const std::string& method, const std::string& target, std::string body, OnData on_data);
  // A WebSocket with exactly this subprotocol. The events are set before anything can come, so that they may
  // be called before this returns.
  Outcome<std::unique_ptr<http::WebSocket>> websocket(const std::string& target,
                                                      const std::string& subprotocol,
                                                      http::WebSocket::Events events);

  loop::Loop& loop() { return loop_; }
  const std::string& socket_path() const { return path_; }

  // Of an answer that is not 2xx; the body may be a Status object.
  Failure refused(int status, std::string_view body) const;
  // Of a call that got no whole answer.
  Failure broken(const Error& error) const;

 private:
  http::ClientRequest request(const std::string& method, const std::string& target, std::string body) const;

  loop::Loop& loop_;
  std::string path_;
  http::PlainDialer dialer_;
  http::Client client_;
};

// The path of the socket: --socket, or what the configuration says. A configuration that cannot be read means
// the default place, unless it was named; other mistakes in it are limpetd's business.
Outcome<std::string> find_socket(const std::string& socket_option, const std::string& config_path,
                                 bool config_given);

}  // namespace limpet::cli
