// Who dials this device: listening, limits, judgement, and the connections that were let in. Internal; owned
// by Peers::Impl.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <string>

#include "loop/stream.h"
#include "peer/channel.h"
#include "peer/core.h"
#include "peer/greeting.h"
#include "peer/incoming.h"

namespace limpet::peer {

class Acceptor {
 public:
  struct Hooks {
    // A server has been let in; `fresh`: at an address that was not known.
    std::function<void(const Caller&, bool fresh)> on_server;
  };
  Acceptor(Core& core, Hooks hooks);
  ~Acceptor();
  Acceptor(const Acceptor&) = delete;

  Result<> listen(const Credentials& credentials);
  Result<> replace(const Credentials& credentials);
  void pause_raft(bool paused);
  // As Incoming::answer().
  bool answer(MemberId to, const std::string& message);
  // Cuts those of whom the judge does not approve.
  void recheck(const Judge& judge);
  // Of the members that went: what was counted for them.
  void forget_others(const Directory& directory);
  uint16_t port() const { return listener_ ? listener_->port() : 0; }
  void fill(PeersStats& stats) const;
  void fill(PeerStats& stats) const;

 private:
  // Of one member: outlives its connections.
  struct Lane {
    Incoming::Counts counts;
    uint64_t connects = 0;
    std::shared_ptr<Incoming> incoming;
    std::string software;
  };
  // What was handed over. Shared with the hooks of those streams, which may outlive the acceptor.
  struct Open {
    Caller caller;
    Channel::Handle channel;
  };
  struct Registry {
    std::list<Open> open;
    size_t leaving = 0;  // refused, and given time to read why
  };

  void accepted(std::unique_ptr<loop::Stream> stream);
  bool make_room();
  void greeted(std::list<std::unique_ptr<Greeting>>::iterator at, Greeting::Outcome outcome);
  void admit(Caller caller, Greeting::Outcome outcome);
  void admit_raft(Caller caller, Greeting::Outcome outcome);
  void hand_over(Caller caller, Greeting::Outcome outcome);
  void refuse(Greeting::Outcome outcome);
  void note(const Refusal& refusal, const std::string& who, const std::string& address);
  void ended(const std::shared_ptr<Incoming>& incoming, std::optional<Refusal> refused);

  Core& core_;
  Hooks hooks_;
  std::unique_ptr<tls::ServerContext> context_;
  std::unique_ptr<loop::Listener> listener_;
  std::list<std::unique_ptr<Greeting>> greetings_;  // the oldest first
  std::map<MemberId, Lane> lanes_;
  std::shared_ptr<Registry> registry_ = std::make_shared<Registry>();
  std::array<uint64_t, kReasons> refused_{};
  uint64_t accepted_ = 0;
  bool paused_ = false;
};

}  // namespace limpet::peer
