// Keeps the raft group what the records of the servers say it should be: further servers are let in as
// learners, vote once they have caught up and the number of voters is odd with them, and leave when their
// record goes.
//
// On the leader alone, in one term. One change at a time; what is refused or lost is looked at again. Loop
// thread.
#pragma once

#include <map>

#include "cluster/voters.h"
#include "daemon/part.h"
#include "store/consensus.h"

namespace limpet::daemon {

class GroupKeeper {
 public:
  explicit GroupKeeper(Device& device);
  // Something may have changed.
  void look();

 private:
  cluster::Group group();
  int64_t silent_after_ms() const;

  Device& device_;
  std::map<raft::MemberId, int64_t> heard_;  // since this server leads, loop's ms
  loop::Timer timer_;
};

}  // namespace limpet::daemon
