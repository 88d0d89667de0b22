// What exec and attach have in common over their two carriers, WebSocket and SPDY; and the WebSocket one for
// the daemon, which serves the containers of its own device with it (daemon/node_service.h).
#pragma once

#include <functional>
#include <memory>

#include <string>
#include <string_view>

#include "api/context.h"
#include "http/message.h"

namespace limpet::api {

// Bytes that wait for the client, or for the container, before the other side is paused.
constexpr size_t exec_queue_bound = 256 * 1024;

// What the client hears at the end: a Status as JSON since v4.channel.k8s.io, before that the message of a
// failure.
std::string exec_status(const Result<int>& exit);
std::string exec_message(const Result<int>& exit);  // empty: it went well

// {"Width":80,"Height":24}; anything else is ignored, as upstream does.
void resize_terminal(ExecSession& session, std::string_view text);

// The first of the client's protocols, in its order or in ours, that both know; empty when there is none.
enum class Prefer { client, server };
std::string_view choose_protocol(const http::Headers& headers, std::string_view header,
                                 const std::string_view* ours, size_t count, Prefer order);

// What to run: stdin, stdout, stderr, tty and command of the query.
Outcome<ExecRequest> read_exec_request(const http::Query& query, bool attach);

// One of the subprotocols v5.channel.k8s.io, v4.channel.k8s.io and channel.k8s.io that the client offers;
// empty when it offers none of them.
std::string exec_websocket_protocol(const http::Headers& headers);
// Runs the request and carries it over the socket, which speaks one of these. `status` makes the last
// message. `finish` is called once, at the end, from inside a callback of the session: it goes when that is
// over.
std::shared_ptr<Session> serve_exec(NodeAccess& nodes, std::unique_ptr<http::WebSocket> socket,
                                    const ContainerRef& container, ExecRequest request,
                                    std::function<std::string(const Result<int>&)> status,
                                    std::function<void(Session*)> finish);

// Both answer the call, switch protocols and keep a session in Core.
void exec_over_websocket(const CallPtr& call, const ContainerRef& container, ExecRequest request);
bool wants_spdy(const http::Headers& headers);
void exec_over_spdy(const CallPtr& call, const ContainerRef& container, ExecRequest request);

}  // namespace limpet::api
