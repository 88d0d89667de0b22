// The leases of servers, renewed by the leader for those that raft hears of: their heartbeats are there
// anyway, and none has to be sent for Kubernetes besides. (Agents renew their own: node/lease_keeper.h.)
//
// On the leader alone. Owned by the cluster's part; loop thread.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "client/client.h"
#include "daemon/part.h"
#include "node/lease_keeper.h"

namespace limpet::daemon {

class MemberHeartbeats {
 public:
  explicit MemberHeartbeats(Device& device);
  MemberHeartbeats(const MemberHeartbeats&) = delete;

 private:
  struct Member {
    std::unique_ptr<client::Client> client;
    std::unique_ptr<client::Pending> call;
  };
  void beat();
  void renew(const std::string& name);

  Device& device_;
  const node::Heartbeat heartbeat_;
  loop::Timer timer_;
  std::map<std::string, Member> members_;  // by name of the device
};

}  // namespace limpet::daemon
