// What the file knows of the raft group that it belongs to: who this member is, and where its state and its
// log stand. One small blob, written when one of these changes and not with each entry: the index of the last
// entry that changed something is in the newest row, and the greater of the two counts.
#pragma once

#include <string>
#include <string_view>

#include "base/random.h"
#include "base/result.h"
#include "raft/types.h"

namespace limpet::store {

// The upper half of a volatile revision is the term.
constexpr raft::Term kMaxTerm = 1u << 30;

struct Group {
  // Random, given to the first member: members of two clusters never take each other for one.
  std::string cluster;  // 16 bytes
  // Random, given to this file: a device that lost it comes back as somebody else, who has voted for nobody.
  raft::MemberId self = 0;
  raft::HardState hard_state;
  raft::SnapshotPoint applied;
  raft::Membership membership;  // as of `applied`
  raft::Index membership_index = 0;
  bool operator==(const Group&) const = default;

  // A new group of one, whose state is what entries up to `index` led to.
  static Group begin(Random& random, raft::Index index);
  // A member that waits to be told by the leader of this cluster. self 0: drawn.
  static Group wait(Random& random, std::string cluster, raft::MemberId self = 0);
};

// Shape (version 1): version byte, 16 bytes of the cluster, then varints: self, term, vote, applied index and
// term, membership index; varint length and raft::encode(membership), or nothing for who knows no group yet.
// `unsupported`: a newer version. `corrupt`: anything else that encode() would not have made.
std::string encode(const Group& group);
Result<Group> decode_group(std::string_view bytes);

}  // namespace limpet::store
