// A server's way to the node service of any device of the cluster (what daemon::RemoteNodeAccess opens its
// streams with), and what it does for the other servers in this.
//
//   a server's pods     a connection of kind `node` to that server
//   an agent's pods     the stream that the agent dials when it is asked to (agent_streams.h); when it holds
//                       no control connection to this server, all others are asked at once, and the one that
//                       holds it joins the agent's stream to the connection that it was asked on
//
// Asking is HTTP on a connection of kind `node`: GET /agentStream/NAME with Upgrade: limpet-stream, answered
// with 101 or a Status, 404 for an agent that is not held. A server that is asked never asks on, so that
// nothing goes round in circles.
//
// Owned by the wiring, outlived by the loop, the AgentStreams and what the hooks need. Loop thread only.
// docs/decisions/0030-agents.md
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "daemon/agent_streams.h"
#include "daemon/splice.h"
#include "http/client.h"
#include "http/message.h"
#include "loop/loop.h"

namespace limpet::daemon {

class NodeStreams {
 public:
  using Done = http::Dialer::Done;
  struct Hooks {
    // The other servers of the cluster, by name.
    std::function<std::vector<std::string>()> servers;
    // A connection of kind `node` to one of them, its hello answered.
    std::function<std::unique_ptr<http::Dialer::Dial>(const std::string& server, Done)> dial;
  };
  struct Options {
    int64_t open_ms = 14'000;  // an answer of another server: its own ten seconds for the agent, and some
    size_t max_relays = 64;    // streams of agents held here that other servers use
  };

  NodeStreams(loop::Loop& loop, AgentStreams& agents, Hooks hooks, Options options);
  ~NodeStreams();
  NodeStreams(const NodeStreams&) = delete;

  // Errors say why, without the device's name. Destroying the Dial gives it up.
  [[nodiscard]] std::unique_ptr<http::Dialer::Dial> open(const std::string& node, Done done);

  // For connections of kind `node` only, beside the node service of this device.
  static bool serves(const std::string& path);
  void handle(const http::ExchangePtr& exchange);
  size_t relays() const { return relays_.size(); }

 private:
  class ServerDialer;
  class Search;
  struct Relay;
  using RelayPlace = std::list<std::shared_ptr<Relay>>::iterator;
  void join(RelayPlace place, Result<std::unique_ptr<loop::Stream>> stream);
  void end(RelayPlace place);

  loop::Loop& loop_;
  AgentStreams& agents_;
  Hooks hooks_;
  Options options_;
  std::unique_ptr<ServerDialer> dialer_;
  std::unique_ptr<http::Client> client_;
  std::list<std::shared_ptr<Relay>> relays_;
};

}  // namespace limpet::daemon
