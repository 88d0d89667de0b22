// Devices that leave the cluster, or are thrown out of it; on the leader.
//
// An agent is out with one transaction: its record says so and its key is denied. A server is taken out of
// the raft group first, by the group's keeper: as long as its vote may be needed for that, its connections
// stay. Then its record as a member goes and its key is denied. What Kubernetes knows of the device, its Node
// with its pods, goes with the first step. Loop thread; owned by the cluster's service.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>

#include "client/client.h"
#include "cluster/device.h"
#include "daemon/key_keeper.h"
#include "daemon/part.h"
#include "http/message.h"
#include "store/store.h"

namespace limpet::daemon {

// The second step, of a server that is out of the group.
store::Txn forget_member(const cluster::Device& device, uint64_t term, WallTime now);

class Departures {
 public:
  Departures(Device& device, client::Client& client, KeyKeeper& keys);
  Departures(const Departures&) = delete;

  // Answers when the device is out, or when that takes long.
  void leave(http::ExchangePtr exchange, const std::string& name, bool revoke);
  // Of the servers' records.
  void members_changed();

 private:
  struct Leaving;
  using LeavingPtr = std::shared_ptr<Leaving>;
  void found(const LeavingPtr& leaving, const store::Item& item);
  void mark(const LeavingPtr& leaving);
  void marked(const LeavingPtr& leaving);
  void node_gone(const LeavingPtr& leaving, const Result<client::Reply>& reply);
  void over(const LeavingPtr& leaving, const std::string& more);
  std::string lacks_votes(const cluster::Device& device) const;
  std::string lacks_heir(const cluster::Device& device, const raft::Membership& group) const;

  Device& device_;
  client::Client& client_;
  KeyKeeper& keys_;
  std::list<LeavingPtr> waiting_;  // for a server to be out of the group
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace limpet::daemon
