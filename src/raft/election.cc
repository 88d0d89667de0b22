// Leader election (paper 5.2, 5.4.1) with pre-vote (thesis 9.6), the check-quorum lease (thesis 6.2) and the
// receiving side of leadership transfer (thesis 3.10).
#include "base/planted.h"
#include "raft/raft.h"

namespace limpet::raft {

void Raft::tick_election() {
  if (++elapsed_ >= timeout_) campaign();
}

void Raft::campaign() {
  if (!leader()) start_election(true, false);
}

void Raft::start_election(bool pre, bool force) {
  reset_timer();
  // Who may not lead has lost its leader, too: it must not keep others from electing one.
  if (!PLANTED("learner_keeps_lease") || may_lead()) set_leader(0);
  if (!may_lead()) return;
  const bool alone = membership().sole_voter(options_.self);
  if (alone) pre = false;
  if (!pre) set_term(hard_.term + 1, options_.self);
  Candidate candidacy{pre, force, {}, pre ? 0 : issued_ + 1};
  role_ = std::move(candidacy);
  standing_.role = Role::candidate;
  // Alone, the vote and what follows from it become stable together; no message leaves before.
  if (alone) return become_leader();
  const Vote vote{pre, force, log_.last(), log_.last_term()};
  for (const MemberId id : membership().all()) {
    if (id == options_.self || !membership().votes(id)) continue;
    send_in(pre ? hard_.term + 1 : hard_.term, id, vote, pre ? After::nothing : After::term);
  }
  // The vote for itself counts like the others: once it is stable.
  if (pre) count_vote(options_.self, true);
}

// A member that the latest membership leaves out may still be needed to get that very entry committed
// (thesis 4.2.2): it leads then, though its own vote does not count.
bool Raft::may_lead() const {
  if (PLANTED("learner_leads") && membership().has(options_.self)) return true;
  if (PLANTED("left_out_never_leads")) return membership().votes(options_.self);
  for (auto known = memberships_.rbegin(); known != memberships_.rend(); ++known) {
    if (known->membership.votes(options_.self)) return true;
    if (known->index <= commit_) return false;
  }
  return false;
}

void Raft::count_vote(MemberId from, bool granted) {
  Candidate& c = *candidate();
  c.votes.emplace(from, granted);
  const auto said = [&](MemberId id, bool what) {
    const auto it = c.votes.find(id);
    return it != c.votes.end() && it->second == what;
  };
  if (quorum(membership(), [&](MemberId id) { return said(id, true); })) {
    if (c.pre) return start_election(false, c.force);
    return become_leader();
  }
  if (!quorum(membership(), [&](MemberId id) { return !said(id, false); })) become_follower(hard_.term, 0);
}

void Raft::become_leader() {
  role_ = Leader{};
  standing_.role = Role::leader;
  set_leader(options_.self);
  elapsed_ = since_heartbeat_ = since_look_ = 0;
  adjust_peers();
  // Entries of older terms are agreed on only with one of this term (paper 5.4.2, figure 8).
  append_own(EntryKind::normal, share(""));
  leader()->term_start = log_.last();
  leader()->news = true;
}

// Whether a leader was heard of so lately that no election is needed: without this, one member that hears
// nobody could unseat a leader whom everybody else hears.
bool Raft::leased(const Vote& vote) const {
  const bool led = standing_.leader != 0 || PLANTED("lease_without_leader");
  return !vote.force && led && elapsed_ < options_.election_ticks;
}

// Learners and members of older configurations answer, too: whoever asks may know of a newer one.
void Raft::on_vote(const Message& m, const Vote& vote) {
  if (PLANTED("learner_refuses_vote") && !membership().votes(options_.self)) return;
  const bool free = hard_.vote == m.from || PLANTED("vote_twice") ||
                    (hard_.vote == 0 && standing_.leader == 0) || (vote.pre && m.term > hard_.term);
  const bool complete = PLANTED("longer_log_wins") ? vote.last_index >= log_.last()
                                                   : log_.up_to_date(vote.last_index, vote.last_term);
  const bool granted = free && (complete || PLANTED("vote_for_any_log"));
  if (!granted) return send(m.from, VoteReply{vote.pre, false});
  // A granted pre-vote names the term that it was asked for, or its asker would not count it.
  if (vote.pre)
    return send_in(PLANTED("pre_vote_in_own_term") ? hard_.term : m.term, m.from, VoteReply{true, true},
                   After::term);
  if (hard_.vote != m.from) set_term(hard_.term, m.from);
  reset_timer();
  send(m.from, VoteReply{false, true}, After::everything);
}

void Raft::on_vote_reply(const Message& m, const VoteReply& reply) {
  Candidate* c = candidate();
  if (!c || c->pre != reply.pre || !membership().votes(m.from)) return;
  if (reply.granted && m.term != (c->pre ? hard_.term + 1 : hard_.term)) return;
  count_vote(m.from, reply.granted);
}

void Raft::on_timeout_now(const Message& m) {
  if (leader() || standing_.leader != m.from) return;
  start_election(false, true);
}

}  // namespace limpet::raft
