// Keeps the raft group what the records of the servers and the policy of cluster/voters.h say it should be,
// and forgets servers that left once they are out of it (departures.h).
//
// On the leader alone, in one term. One change at a time; what is refused or lost is looked at again. Loop
// thread.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "cluster/device.h"
#include "cluster/voters.h"
#include "daemon/part.h"
#include "store/consensus.h"
#include "store/store.h"

namespace limpet::daemon {

// A server that raft has not heard of for so long counts as away: some heartbeats of the profile.
int64_t silent_after_ms(const Config& config);
// Whether this server is that member, or has heard of it since.
bool in_contact(const Device& device, raft::MemberId member);

class GroupKeeper {
 public:
  GroupKeeper(Device& device, uint64_t term);
  // Something may have changed.
  void look();

 private:
  void decide(const std::vector<cluster::Device>& records);
  void forget(const cluster::Device& device);
  cluster::Group group(const std::vector<cluster::Device>& records);

  Device& device_;
  const uint64_t term_;
  loop::Timer timer_;
  std::map<raft::MemberId, int64_t> heard_;  // since this server leads, loop's ms
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace limpet::daemon
