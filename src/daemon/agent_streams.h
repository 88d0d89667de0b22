// The agents that hold a control connection to this server, and streams to their node services.
//
// open() draws an ID that nobody can guess, asks the agent for a stream with it and hands out the stream that
// comes: only one dialled by the agent that was asked (the wiring knows its name from its certificate), once,
// within ten seconds. A second control connection of one name replaces the first: the agent has started anew,
// or believes the first one dead.
//
// Owned by the wiring, outlived by loop and Random. Loop thread only. docs/decisions/0030-agents.md
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "http/client.h"
#include "loop/loop.h"
#include "peer/control.h"
#include "peer/wire.h"

namespace limpet::daemon {

class AgentStreams {
 public:
  using Done = http::Dialer::Done;
  struct Options {
    peer::ControlOptions timing = peer::ControlOptions::server_lan();
    int64_t open_ms = 10'000;
    size_t max_waiting = 32;  // streams asked of one agent that have not come yet
  };

  AgentStreams(loop::Loop& loop, Random& random, Options options);
  ~AgentStreams();
  AgentStreams(const AgentStreams&) = delete;

  // The control connection of an agent, its hello answered; the version of the protocol that it speaks.
  void connected(const std::string& agent, std::unique_ptr<loop::Stream> control,
                 uint64_t version = peer::kMaxVersion);
  // Whether this agent was asked for a stream of this ID that has not come yet.
  bool expects(const std::string& agent, uint64_t id) const;
  // A stream that an agent dialled; one that was not asked for is closed.
  void arrived(const std::string& agent, uint64_t id, std::unique_ptr<loop::Stream> stream);
  // The servers, for every agent now and for each that connects.
  void set_roll(std::vector<peer::ServerEntry> servers);
  // The authorities that this server trusts, likewise, for those who know the message (peer::Authorities).
  void set_authorities(std::vector<std::string> keys);

  bool holds(const std::string& agent) const { return agents_.contains(agent); }
  std::vector<std::string> agents() const;
  // not_found: it is not connected here. timeout: the stream did not come. Destroying the Dial gives it up.
  [[nodiscard]] std::unique_ptr<http::Dialer::Dial> open(const std::string& agent, Done done);

 private:
  class Waiting;
  struct Agent;
  void tell(const std::string& agent, const peer::ControlMessage& message);
  void tell_authorities(const std::string& agent);
  void gone(const std::string& agent, const peer::Control* control, const Error& why);
  void fail_waiting(const std::string& agent, const Error& why);

  loop::Loop& loop_;
  Random& random_;
  Options options_;
  std::vector<peer::ServerEntry> roll_;
  std::vector<std::string> authorities_;
  std::map<std::string, std::unique_ptr<Agent>> agents_;
  std::map<uint64_t, Waiting*> waiting_;  // owned by who asked
};

}  // namespace limpet::daemon
