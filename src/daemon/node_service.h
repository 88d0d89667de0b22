// The node service: logs, exec and attach of this device's own containers for the servers of the cluster, as
// HTTP (node_wire.h).
//
// Only what a server dialled (kind `node`) or asked an agent for (kind `stream`) on port 6444 gets here: the
// wiring gives these connections an http::Server of their own, so that nothing else has a way to this
// handler. The server that asks has authenticated and authorised its user.
//
// Owned by the wiring, outlived by the NodeAccess and the loop; destroying it ends every session. Exchanges
// that the http::Server still holds do nothing then. Loop thread only.
#pragma once

#include <memory>
#include <set>

#include "api/node_access.h"
#include "http/message.h"
#include "http/server.h"
#include "loop/loop.h"

namespace limpet::daemon {

// For the http::Server of these connections: each carries one session, mostly for hours, and comes from a
// server that has limits of its own.
http::ServerOptions node_service_options();

struct NodeCall;

class NodeService {
 public:
  NodeService(loop::Loop& loop, api::NodeAccess& local);
  ~NodeService();
  NodeService(const NodeService&) = delete;

  void handle(http::ExchangePtr exchange);
  // The same for a call whose container is known already (local_view.h).
  void serve(http::ExchangePtr exchange, const NodeCall& call);
  // Ends every session; who asked is told.
  void stop();
  // Sessions under way.
  size_t sessions() const;

 private:
  class Sessions;
  class Log;
  void serve_log(http::ExchangePtr exchange, const NodeCall& call);
  void serve_exec(const http::ExchangePtr& exchange, const NodeCall& call);

  std::shared_ptr<Sessions> sessions_;
  api::NodeAccess& local_;
};

}  // namespace limpet::daemon
