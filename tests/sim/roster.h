// Which memberships count or may still come to count, and so who may lose its disk: of each one's voters a
// majority keeps theirs, or nobody could be asked to go on.
#pragma once

#include <algorithm>
#include <map>
#include <vector>

#include "breach.h"
#include "raft/types.h"

namespace sim {

namespace raft = limpet::raft;

class Roster {
 public:
  // A leader took this one into its log.
  void asked(raft::Index index, const raft::Membership& membership);
  // Somebody applied it, or has it as applied on its disk. Who was gone and left out must not be in it.
  void agreed(raft::Index index, const raft::Membership& membership);
  const raft::Membership& agreed() const { return agreed_; }

  // Whether `holds` is so of a membership that a leader may count by: the agreed one, the one that follows
  // from it, or one that was asked for.
  template <class Holds>
  bool any(const Holds& holds) const {
    return holds(agreed_) || (agreed_.joint() && holds(raft::leave(agreed_))) ||
           std::any_of(asked_.begin(), asked_.end(), [&](const Asked& a) { return holds(a.membership); });
  }

  bool may_lose(raft::MemberId id) const;
  void lose(raft::MemberId id);  // its disk, and with it its id, for ever
  bool gone(raft::MemberId id) const { return gone_.contains(id); }
  bool votes(raft::MemberId id) const { return agreed_.votes(id); }
  raft::Membership without_gone(const raft::Membership& membership) const;

 private:
  struct Asked {
    raft::Index index;
    raft::Membership membership;
  };
  struct Gone {
    raft::Index asked_upto = 0;                 // with it, when it was lost
    raft::Index left_out_by = ~raft::Index{0};  // the first agreed one after those without it
  };
  raft::Index agreed_index_ = 0;
  raft::Membership agreed_;
  std::vector<Asked> asked_;  // after the agreed one
  std::map<raft::MemberId, Gone> gone_;
};

}  // namespace sim
