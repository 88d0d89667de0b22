// Changes of the membership by joint consensus (paper section 6, thesis 4.3). A membership counts from when
// it is in the log, committed or not; when its entry is overwritten, the one before it counts again.
#include "base/assert.h"
#include "base/planted.h"
#include "raft/raft.h"

namespace limpet::raft {

Result<Index> Raft::reconfigure(const Membership& wanted) {
  Leader* l = leader();
  if (!l) return fail(Errc::unavailable, "this member is not the leader");
  if (l->transfer_to != 0) return fail(Errc::unavailable, "leadership is being handed over");
  CHECK_OK(check(wanted));
  if (wanted.joint())
    return fail(Errc::invalid_argument, "a joint membership is passed through, not asked for");
  // One at a time, and none before this leader knows which of the last ones counts (thesis 4.1, and its
  // erratum).
  const bool fresh = commit_ < l->term_start && !PLANTED("single_steps_before_own_entry");
  if (memberships_.back().index > commit_ || membership().joint() || fresh) {
    return fail(Errc::unavailable, "another change of the membership is under way");
  }
  if (wanted == membership()) return memberships_.back().index;
  const auto& old = membership().voters;
  const auto more = [](const std::vector<MemberId>& a, const std::vector<MemberId>& b) {
    return a.size() == b.size() + 1 && std::ranges::includes(a, b);
  };
  const bool direct = PLANTED("no_joint_step") || (PLANTED("single_steps_before_own_entry") &&
                                                   (more(wanted.voters, old) || more(old, wanted.voters)));
  const Membership next = direct ? wanted : enter(membership(), wanted);
  CHECK_OK(check(next));
  append_own(EntryKind::membership, share(encode(next)));
  learn_membership(log_.last(), next);
  l->news = true;
  return log_.last();
}

void Raft::learn_membership(Index index, const Membership& membership) {
  memberships_.push_back({index, membership});
  adjust_peers();
}

void Raft::forget_memberships_from(Index index) {
  while (memberships_.size() > 1 && memberships_.back().index >= index) memberships_.pop_back();
}

// A leader's peers are the others of the membership.
void Raft::adjust_peers() {
  Leader* l = leader();
  if (!l) return;
  std::erase_if(l->peers, [&](const auto& peer) { return !membership().has(peer.first); });
  for (const MemberId id : membership().all()) {
    if (id == options_.self || l->peers.contains(id)) continue;
    Progress peer;
    peer.next = log_.last() + 1;
    peer.active = true;  // it has the time until the next look to be heard of
    l->peers.emplace(id, peer);
  }
  const auto& voters = membership().voters;
  if (!std::binary_search(voters.begin(), voters.end(), l->transfer_to)) l->transfer_to = 0;
}

// What follows from the last membership's being committed.
void Raft::finish_membership() {
  Leader& l = *leader();
  if (memberships_.back().index > commit_ || commit_ < l.term_start) return;
  if (membership().joint() && PLANTED("joint_never_left")) return;
  if (membership().joint()) {
    broadcast();  // those who go hear of it, too
    const Membership next = raft::leave(membership());
    append_own(EntryKind::membership, share(encode(next)));
    learn_membership(log_.last(), next);
    l.news = true;
    return;
  }
  if (membership().votes(options_.self)) return;
  // It has led the group out of which it goes. Whoever knows most of it leads next.
  broadcast();
  MemberId best = 0;
  for (const MemberId id : membership().voters) {
    if (best == 0 || l.peers[id].match > l.peers[best].match) best = id;
  }
  send(best, TimeoutNow{});
  become_follower(hard_.term, 0);
}

}  // namespace limpet::raft
