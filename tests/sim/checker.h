// What must hold at every moment of every run (paper figure 3), whatever breaks. A breach throws.
#pragma once

#include <map>

#include "disk.h"

namespace sim {

class Checker {
 public:
  // Election safety, and leader completeness: whoever leads holds all that is agreed on. `log` is the
  // leader's own.
  void leads(raft::MemberId id, raft::Term term, const std::map<raft::Index, raft::Term>& log);
  // Who leads has a vote, in the membership that was agreed on last as far as it knows, or in one since
  // (thesis 4.2.2). `memberships` are those of its log.
  void has_vote(raft::MemberId id, raft::Index commit,
                const std::map<raft::Index, raft::Membership>& memberships);
  // The last membership in a log is the one that counts, agreed on or not (paper section 6).
  void counts(raft::MemberId id, const raft::Membership& counted, const raft::Membership& last_in_log);
  // Two that follow each other in a log have no majorities apart (paper figure 10).
  void follows(const raft::Membership& before, const raft::Membership& after);
  // A leader sends nothing that was acknowledged to it, and to nobody more than a window of what was not.
  // `disk` is the leader's own.
  void sends(const raft::Status& leader, const raft::Options& options, const Contents& disk);
  // Log matching: the same index and term, the same entry and the same one before it. Of what is stable or
  // was sent: a term that was neither may begin again.
  void stored(const raft::Entry& entry, raft::Term previous_term);
  // State machine safety.
  void applied(raft::MemberId id, raft::Term now, const raft::Entry& entry, uint64_t hash_after);
  void installed(raft::MemberId id, const raft::SnapshotPoint& point, const raft::Membership& membership,
                 uint64_t hash);
  // What a machine had in its file when it crashed was agreed on, though nobody was told any more.
  void starts(const Contents& contents);
  // No promise leaves a member before it is stable.
  void leaves(const raft::Message& message, const Contents& stable);

  raft::Index agreed() const { return agreed_.empty() ? 0 : agreed_.rbegin()->first; }
  uint64_t leaders() const { return leaders_.size(); }

 private:
  struct Agreed {
    raft::Term term;
    std::optional<std::string> bytes;  // nothing: not known here
    uint64_t hash;                     // of the state machine after it
    raft::Term by;                     // it was agreed on in this term, or before
  };
  struct Written {
    raft::Term previous_term;
    std::string bytes;
  };
  std::map<raft::Term, raft::MemberId> leaders_;
  std::map<raft::Index, Agreed> agreed_{{1, {1, "", 0, 1}}};  // where a group begins
  std::map<std::pair<raft::Index, raft::Term>, Written> written_;
};

}  // namespace sim
