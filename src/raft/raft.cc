#include "raft/raft.h"

#include "base/assert.h"
#include "base/planted.h"

namespace limpet::raft {
namespace {

constexpr size_t kMaxHeld =
    4096;  // messages that wait for a stalled disk; the protocol bears the loss of more
constexpr size_t kMaxComplaints = 16;  // a batch

}  // namespace

Result<> check(const Start& start) {
  if (start.membership.voters.empty() != (start.applied.index == 0)) {
    return fail(Errc::corrupt, "raft: a state without its members, or members without a state");
  }
  SnapshotPoint last = start.applied;
  for (const Entry& entry : start.tail) {
    if (entry.index != last.index + 1 || entry.term < last.term || !entry.bytes) {
      return fail(Errc::corrupt,
                  strf("raft: entry %llu of term %llu follows entry %llu of term %llu in the log",
                       (unsigned long long)entry.index, (unsigned long long)entry.term,
                       (unsigned long long)last.index, (unsigned long long)last.term));
    }
    last = {entry.index, entry.term};
    if (entry.kind != EntryKind::membership) continue;
    if (auto read = decode_membership(*entry.bytes); !read) {
      return std::unexpected(
          std::move(read).error().with(strf("raft: entry %llu", (unsigned long long)entry.index)));
    }
  }
  if (last.term > start.hard_state.term) {
    return fail(Errc::corrupt,
                strf("raft: the log ends in term %llu, the term is %llu", (unsigned long long)last.term,
                     (unsigned long long)start.hard_state.term));
  }
  return {};
}

Raft::Raft(Options options, Start start)
    : options_(options), random_(options.seed), hard_(start.hard_state), log_(start.applied) {
  LIMPET_ASSERT(options_.self != 0 && options_.heartbeat_ticks > 0 &&
                options_.heartbeat_ticks < options_.election_ticks);
  LIMPET_ASSERT(check(start));
  if (PLANTED("restart_drops_joint")) start.membership = raft::leave(start.membership);
  memberships_.push_back({start.membership_index, std::move(start.membership)});
  for (Entry& entry : start.tail) {
    log_.append(entry);
    if (entry.kind != EntryKind::membership) continue;
    learn_membership(entry.index, *decode_membership(*entry.bytes));
  }
  issued_hard_ = hard_;
  issued_last_ = log_.last();
  commit_ = applied_ = handed_out_ = start.applied.index;
  staged_ = std::move(start.staged);
  next_read_ = PLANTED("read_ids_begin_anew") ? 1 : random_.u64() | 1;
  standing_.term = told_.term = hard_.term;
  reset_timer();
  if (staged_ && staged_->complete) {
    // It may have been overtaken by the log before it could be installed.
    const SnapshotMeta meta = staged_->meta;
    staged_.reset();
    if (not_needed(meta.point) && !PLANTED("staged_installed_at_start")) {
      unstage_ = true;
    } else if (meta.point.index > applied_) {
      install(meta);
    }
  }
  drop_overtaken();
  if (membership().sole_voter(options_.self)) start_election(false, false);
}

// ---- inputs ----

void Raft::tick() {
  // What is agreed on and not taken is as stuck as what is not stored: a full disk may hold up either.
  const bool taken = handed_out_ <= applied_ || PLANTED("full_disk_keeps_leading");
  stalled_ticks_ = under_way_.empty() && taken ? 0 : stalled_ticks_ + 1;
  tick_reads();
  if (leader()) {
    tick_leader();
  } else {
    tick_election();
  }
}

void Raft::receive(Message m) {
  if (m.to != options_.self || m.from == options_.self || m.from == 0) {
    return complain("a message that is not for this member", m);
  }
  if (m.term == 0 || m.term > hard_.term + kMaxTermsAhead) return complain("a term that no group reaches", m);
  if (!settle_term(m)) return;
  struct {
    Raft& raft;
    Message& m;
    void operator()(Append& body) { raft.on_append(m, std::move(body)); }
    void operator()(AppendReply& body) { raft.on_append_reply(m, body); }
    void operator()(Heartbeat& body) { raft.on_heartbeat(m, body); }
    void operator()(HeartbeatReply& body) { raft.on_heartbeat_reply(m, body); }
    void operator()(Vote& body) { raft.on_vote(m, body); }
    void operator()(VoteReply& body) { raft.on_vote_reply(m, body); }
    void operator()(SnapshotOffer&) { raft.on_snapshot_offer(m); }
    void operator()(SnapshotChunk& body) { raft.on_snapshot_chunk(m, std::move(body)); }
    void operator()(SnapshotReply& body) { raft.on_snapshot_reply(m, body); }
    void operator()(TimeoutNow&) { raft.on_timeout_now(m); }
    void operator()(ReadIndex& body) { raft.on_read_index(m, body); }
    void operator()(ReadIndexReply& body) { raft.on_read_index_reply(body); }
  } handle{*this, m};
  std::visit(handle, m.body);
}

// Paper section 5.1 with the exceptions that pre-vote and the check-quorum lease need. False: the message has
// been dealt with.
bool Raft::settle_term(const Message& m) {
  const auto* vote = std::get_if<Vote>(&m.body);
  const auto* reply = std::get_if<VoteReply>(&m.body);
  const bool from_leader =
      std::holds_alternative<Append>(m.body) || std::holds_alternative<Heartbeat>(m.body) ||
      std::holds_alternative<SnapshotOffer>(m.body) || std::holds_alternative<SnapshotChunk>(m.body);
  if (m.term > hard_.term) {
    if (vote && leased(*vote)) return false;
    // A pre-vote is in a term that nobody has entered; so is its granting.
    if ((vote && vote->pre) || (reply && reply->pre && reply->granted)) return true;
    become_follower(m.term, from_leader ? m.from : 0);
    return true;
  }
  if (m.term == hard_.term) return true;
  // A sender of an older term learns the newer one, whoever it is: with pre-vote and the lease a member whose
  // term ran ahead would not be heard otherwise, and a majority could not be led.
  if (from_leader) send(m.from, AppendReply{});
  if (vote) send(m.from, VoteReply{vote->pre, false});
  return false;
}

void Raft::persisted(uint64_t sequence) {
  LIMPET_ASSERT(sequence <= issued_);
  persisted_ = std::max(persisted_, sequence);
  stalled_ticks_ = 0;
  const Index before = commit_;
  while (!under_way_.empty() && under_way_.front().sequence <= sequence) {
    const Issued done = under_way_.front();
    under_way_.pop_front();
    // What a group of one has agreed on stays agreed on, also when a second voter was asked for meanwhile.
    if (done.alone) commit_to(std::min(done.last, log_.last()));
    // What was written in another term may have been overwritten since.
    if (Leader* l = leader(); l && (PLANTED("own_log_of_old_term") || done.term == hard_.term))
      l->own_match = std::max(l->own_match, done.last);
  }
  if (leader() && commit_ > before) committed(before);
  if (leader()) advance_commit();
  if (Candidate* c = candidate(); c && c->own_vote_after != 0 && c->own_vote_after <= persisted_) {
    c->own_vote_after = 0;
    count_vote(options_.self, true);
  }
}

void Raft::applied(Index index) {
  LIMPET_ASSERT(index <= handed_out_ && index <= commit_);
  if (index > applied_) stalled_ticks_ = 0;
  applied_ = std::max(applied_, index);
  log_.forget(applied_, alone() ? 0 : options_.max_cache_bytes);
  while (memberships_.size() > 1 && memberships_[1].index <= applied_) memberships_.pop_front();
  drop_overtaken();
}

// ---- state ----

void Raft::set_term(Term term, MemberId vote) {
  LIMPET_ASSERT(term >= hard_.term);
  if (term != hard_.term) term_after_ = issued_ + 1;
  hard_ = {term, vote};
  standing_.term = term;
}

void Raft::set_leader(MemberId leader) {
  if (standing_.leader == leader) return;
  standing_.leader = leader;
  // Whoever was asked will not answer, or not as the leader.
  for (const Asked& asked : asked_) reads_.push_back({asked.id, 0});
  asked_.clear();
}

void Raft::become_follower(Term term, MemberId new_leader) {
  if (leader()) fail_reads();
  if (term != hard_.term) set_term(term, 0);
  role_ = Follower{};
  standing_.role = Role::follower;
  set_leader(new_leader);
  reset_timer();
}

void Raft::reset_timer() {
  elapsed_ = 0;
  timeout_ = options_.election_ticks + static_cast<uint32_t>(random_.below(options_.election_ticks));
}

void Raft::complain(std::string what) {
  if (complaints_.size() < kMaxComplaints) complaints_.push_back(std::move(what));
}

void Raft::complain(const char* what, const Message& m) {
  if (complaints_.size() < kMaxComplaints) complaints_.push_back(strf("%s: ", what) + to_string(m));
}

// ---- output ----

bool Raft::dirty() const { return hard_ != issued_hard_ || install_ || log_.last() != issued_last_; }

void Raft::send(MemberId to, Body body, After after) { send_in(hard_.term, to, std::move(body), after); }

// The one rule of asynchronous storage: nothing of a term leaves before the term is stable, no promise before
// all that was to be stored when it was made.
void Raft::send_in(Term term, MemberId to, Body body, After after) {
  uint64_t sequence = 0;
  if (after == After::term) sequence = term_after_;
  if (after == After::everything) sequence = dirty() ? issued_ + 1 : issued_;
  if (PLANTED("append_before_stable") && std::holds_alternative<AppendReply>(body)) sequence = term_after_;
  if (PLANTED("vote_before_stable") && std::holds_alternative<VoteReply>(body)) sequence = 0;
  if (PLANTED("term_before_stable") && after == After::term) sequence = 0;
  outbox_.push_back({{options_.self, to, term, std::move(body)}, sequence});
  if (outbox_.size() > kMaxHeld) outbox_.pop_front();
}

Batch Raft::take(bool storage) {
  Batch batch;
  begin_round();
  broadcast();
  if (storage) hand_out_storage(batch);
  hand_out_messages(batch);
  batch.entries_wanted = std::exchange(entries_wanted_, {});
  batch.chunks_wanted = std::exchange(chunks_wanted_, {});
  batch.reads = std::exchange(reads_, {});
  batch.complaints = std::exchange(complaints_, {});
  // A leader is one once its term cannot be lost any more, or another could begin with the same number.
  const bool certain = standing_.role != Role::leader || persisted_ >= term_after_;
  if (standing_ != told_ && certain) batch.standing = told_ = standing_;
  return batch;
}

bool Raft::alone() const {
  const Membership& m = membership();
  return std::holds_alternative<Leader>(role_) && m.sole_voter(options_.self) && m.learners.empty();
}

void Raft::hand_out_storage(Batch& batch) {
  hand_out_log(batch);
  hand_out_entries(batch);
  batch.unstage = std::exchange(unstage_, false);
  if (stage_) batch.stage = std::exchange(stage_, std::nullopt);
}

void Raft::hand_out_log(Batch& batch) {
  if (!dirty()) return;
  batch.sequence = ++issued_;
  const HardState before = issued_hard_;
  if (hard_ != issued_hard_) batch.hard_state = issued_hard_ = hard_;
  if (batch.hard_state && PLANTED("vote_not_stored")) batch.hard_state->vote = 0;
  batch.install = std::exchange(install_, std::nullopt);
  batch.append = log_.slice(issued_last_, log_.last(), SIZE_MAX);
  issued_last_ = log_.last();
  const bool alone =
      leader() && (membership().sole_voter(options_.self) || PLANTED("leader_applies_at_once"));
  const Index first = batch.append.empty() ? 0 : batch.append.front().index;
  under_way_.push_back({issued_, hard_.term, issued_last_, alone, first, before});
  if (PLANTED("leader_counts_unstable") && leader()) leader()->own_match = issued_last_;
}

void Raft::hand_out_entries(Batch& batch) {
  // The state that a snapshot brings is known only once it is there.
  if (batch.install) return;
  // A group of one agrees with itself: what the batch appends is applied by the same transaction, and both
  // are stable together or not at all. Everybody else waits for the majority.
  const bool alone = membership().sole_voter(options_.self);
  const Index agreed = leader() && alone ? log_.last() : commit_;
  if (handed_out_ >= agreed) return;
  // Its proposer bounds what it appends; with a rest to be applied later the log would have to be kept for
  // it.
  const size_t most = this->alone() ? SIZE_MAX : options_.max_apply_bytes;
  const size_t under_way = log_.cost(applied_, handed_out_);
  if (under_way >= most) return;
  batch.apply = log_.slice(handed_out_, agreed, most - under_way);
  handed_out_ = PLANTED("page_forgets_the_rest") ? agreed : batch.apply.back().index;
}

bool Raft::withdraw(uint64_t sequence) {
  if ((!alone() && !PLANTED("withdraws_what_was_sent")) || !leader() || under_way_.size() != 1 ||
      under_way_.front().sequence != sequence)
    return false;
  const Issued failed = under_way_.front();
  // A change of the membership on the way to this one was agreed on with others, and so may be what comes
  // before the first entry of the batch and was to be applied by it.
  const bool own = failed.first == 0
                       ? handed_out_ == applied_
                       : failed.first == applied_ + 1 && memberships_.back().index < failed.first;
  if (failed.term != hard_.term || (!own && !PLANTED("withdraws_what_was_agreed"))) return false;
  under_way_.clear();
  issued_hard_ = failed.before;
  term_after_ = issued_ + 1;
  if (failed.first == 0) return true;
  log_.truncate_from(failed.first);
  issued_last_ = log_.last();
  handed_out_ = std::min(handed_out_, log_.last());
  // The entry that began the term goes first again, should it have been among them.
  if (leader()->term_start >= failed.first) append_own(EntryKind::normal, share(""));
  return true;
}

void Raft::hand_out_messages(Batch& batch) {
  std::deque<Held> still;
  for (Held& held : outbox_) {
    if (held.after <= persisted_) {
      batch.messages.push_back(std::move(held.message));
    } else {
      still.push_back(std::move(held));
    }
  }
  outbox_ = std::move(still);
}

Status Raft::status() const {
  Status out{standing_, commit_, applied_, log_.last(), membership(), memberships_.back().index, 0, {}};
  const auto* l = std::get_if<Leader>(&role_);
  if (!l) return out;
  out.transfer_to = l->transfer_to;
  for (const auto& [id, peer] : l->peers) {
    out.peers.push_back({id, peer.state, peer.match, peer.next, peer.snapshot, peer.active});
  }
  return out;
}

}  // namespace limpet::raft
