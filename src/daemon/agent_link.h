// An agent's way to be reached: one control connection to one of the servers, kept up; a stream dialled for
// each that the server asks for.
//
// The agent dials only. It holds its control connection to any server, drawn as client/servers.h does, and
// goes to another when it breaks or nothing comes on it. What the server says on it: the roll of servers,
// which authorities it trusts, and "open stream ID": the agent then dials a connection of kind `stream` with
// that ID to the same server and serves its node service on it. Streams that are open stay when the control
// connection goes.
//
// Owned by the wiring, outlived by the loop, the Random and what the hooks need. Hooks are never called from
// inside a call. Loop thread only. docs/decisions/0030-agents.md
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "client/servers.h"
#include "http/client.h"
#include "loop/loop.h"
#include "peer/control.h"
#include "peer/wire.h"

namespace limpet::daemon {

class AgentLink {
 public:
  // Under way; destroying it cancels.
  using Dialling = std::unique_ptr<http::Dialer::Dial>;
  using Done = http::Dialer::Done;
  struct Hooks {
    // Dials port 6444 of a server, TLS and hello included, within a bounded time. stream is 0 for kind agent.
    std::function<Dialling(const peer::ServerEntry&, peer::Kind, uint64_t stream, Done)> dial;
    // Somebody at that server asks this device's node service.
    std::function<void(std::unique_ptr<loop::Stream>)> on_stream;
    // The roll that the server gave: for the API client, and to be kept for the next start.
    std::function<void(const std::vector<peer::ServerEntry>&)> on_roll;
    // The authorities that it trusts (peer::Authorities).
    std::function<void(const std::vector<std::string>&)> on_authorities = {};
  };
  static constexpr size_t max_dialling =
      16;  // streams at once; of more the server hears nothing and gives up

  AgentLink(loop::Loop& loop, Random& random, peer::ControlOptions timing, Hooks hooks);
  ~AgentLink();
  AgentLink(const AgentLink&) = delete;

  // The servers that are known before one tells its roll; with the first call it begins.
  void set_servers(std::vector<peer::ServerEntry> servers);
  // This device shows another certificate: the control connection is made anew, at the same server and before
  // the one that there is ends. The server would cut that, when it trusts the authority of before no more.
  void renew();
  // The name of the server that holds the control connection; empty while there is none.
  const std::string& server() const { return up_; }
  const std::string& last_error() const { return last_error_; }
  // How long it has been so: held by this server, or by none.
  int64_t since_ms() const { return loop_.now_ms() - changed_ms_; }
  struct Counts {
    uint64_t connects = 0;  // times that a server took this agent
    uint64_t failures = 0;  // servers that could not be reached, connections that broke
    uint64_t streams = 0, stream_failures = 0;
  };
  const Counts& counts() const { return counts_; }

 private:
  void connect();
  void connected(std::unique_ptr<loop::Stream> stream);
  void lost(Error error);
  void received(const peer::ControlMessage& message);
  void open_stream(uint64_t id);
  void take_roll(const std::vector<peer::ServerEntry>& servers);
  client::Server key(const std::string& name) const { return {name, 0}; }

  loop::Loop& loop_;
  peer::ControlOptions timing_;
  Hooks hooks_;
  client::Servers choice_;                            // by name
  std::map<std::string, peer::ServerEntry> entries_;  // by name
  peer::ServerEntry current_;                         // dialled, or connected to
  std::string up_, last_error_;
  int64_t changed_ms_;
  Counts counts_;
  Dialling dial_, renewal_;
  std::unique_ptr<peer::Control> control_;
  struct Opening;
  std::map<uint64_t, std::shared_ptr<Opening>> opening_;
  loop::Timer wait_;
};

}  // namespace limpet::daemon
