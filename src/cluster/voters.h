// Which membership of the raft group is wanted: pure policy, asked by the leader whenever something changed.
//
// - Voters are odd in number (1, 3, 5, ...), as many as there are servers for, at most Options::most_voters.
//   Further servers are learners. A voter that works is not exchanged for another.
// - A new server is added as a learner and becomes a voter when it has caught up and there is room, as one of
// as
//   many as make the number odd again.
// - A server that was removed leaves the group at once: also the number of voters may then fall, to the next
//   odd one, unless somebody is about to catch up.
// - A voter that is lost for good is replaced by a learner when that is commanded, or after a configured
// time,
//   and then stays a learner. It counts as a voter until there is one to replace it.
// - Nothing is changed that the voters who are active now could not agree on, before and after the change
//   (each half of a joint membership needs its majority: paper section 6). So while the quorum is lost there
//   is no change at all.
// - A leader that is to leave does all the rest first, then hands over leadership, and the next one removes
// it.
//
// One change at a time: nothing is wanted while the membership is joint. When nothing changes outside, a few
// changes lead to a state in which nothing is wanted.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "raft/membership.h"

namespace limpet::cluster {

struct VoterOptions {
  size_t most_voters = 5;
  int64_t replace_after_s = 0;  // a voter that was not heard of for so long is lost for good; 0: never
  uint64_t nearly = 1000;       // a member has caught up that lacks at most so many entries
};

// A device with a member id, whether or not it is in the group.
struct GroupMember {
  raft::MemberId id = 0;
  bool wanted = true;    // a server that was not removed
  bool replace = false;  // commanded: it is lost for good
  bool active = false;   // heard of within an election timeout; the leader itself is
  int64_t silent_s = 0;  // when it is not active: for how long
  uint64_t match = 0;    // the log that is known to be on its disk
};

struct Group {
  raft::Membership membership;
  raft::MemberId leader = 0;         // who asks
  uint64_t last = 0;                 // of the leader's log
  std::vector<GroupMember> members;  // those of the membership that are missing here stay as they are
};

struct GroupChange {
  std::optional<raft::Membership> membership;  // for Raft::reconfigure
  raft::MemberId transfer_to = 0;              // or for Raft::transfer
  std::string why;                             // for the log: "2 and 3 have caught up"
};

// None: all is as it should be, or what should be changed cannot be now.
std::optional<GroupChange> wanted_change(const Group& group, const VoterOptions& options);

}  // namespace limpet::cluster
