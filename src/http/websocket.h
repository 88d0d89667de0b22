// A WebSocket over a loop::Stream after its handshake, for both sides (the interface is in message.h).
//
// Destroying it drops the connection, except that after close() or the peer's close frame what is queued
// still goes out. A peer that does not answer a close frame within five seconds is dropped.
#pragma once

#include <functional>
#include <memory>

#include "http/message.h"
#include "loop/stream.h"

namespace limpet::http {

enum class WebSocketRole { server, client };

struct WebSocketSetup {
  WebSocketRole role = WebSocketRole::server;
  std::string subprotocol;
  std::string received;                // bytes that came right after the handshake
  std::function<void()> on_destroyed;  // accounting of the maker
};
std::unique_ptr<WebSocket> make_websocket(loop::Loop& loop, std::unique_ptr<loop::Stream> stream,
                                          WebSocketSetup setup);

// The handshake (RFC 6455 section 4).
// Checks the client's side; what is wrong is the Error. `subprotocol` must be among the offered ones, or
// empty.
Result<std::string> websocket_accept(const Request& request,
                                     std::string_view subprotocol);  // Sec-WebSocket-Accept
std::string websocket_accept_key(std::string_view key);
std::string websocket_new_key();

}  // namespace limpet::http
