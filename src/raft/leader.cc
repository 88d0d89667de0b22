// The leader's side: replication with flow control (thesis 10.2.1), the commit rule (paper 5.4.2),
// check-quorum (thesis 6.2) and leadership transfer (thesis 3.10).
#include "base/assert.h"
#include "base/planted.h"
#include "raft/raft.h"

namespace limpet::raft {

void Raft::tick_leader() {
  // Of its own pace: the heartbeats of reads must not keep it from being done.
  const bool look = ++since_look_ >= options_.heartbeat_ticks;
  if (look) since_look_ = 0;
  for (auto& [id, peer] : leader()->peers) {
    tick_snapshot(id, peer);
    if (!look) continue;
    peer.stuck = peer.match < log_.last() && peer.match == peer.match_before;
    peer.match_before = peer.match;
  }
  if (++since_heartbeat_ >= options_.heartbeat_ticks) broadcast_heartbeat();
  if (PLANTED("reads_stop_repair")) since_look_ = since_heartbeat_;
  Leader& l = *leader();
  if (l.transfer_to != 0 && ++l.transfer_ticks >= options_.election_ticks &&
      !PLANTED("transfer_never_ends")) {
    l.transfer_to = 0;
    stalled_ticks_ = 0;  // proposals have a timeout's time before this member's disk is a reason to try again
  }
  hand_over_if_stalled();
  if (++elapsed_ >= options_.election_ticks) check_quorum();
}

// A leader that a majority does not hear of steps down, so that its clients are told to go elsewhere.
void Raft::check_quorum() {
  elapsed_ = 0;
  Leader& l = *leader();
  const bool heard = quorum(membership(), [&](MemberId id) {
    return id == options_.self || (l.peers.contains(id) && l.peers[id].active);
  });
  for (auto& [id, peer] : l.peers) peer.active = false;
  if (!heard && !PLANTED("no_check_quorum")) become_follower(hard_.term, 0);
}

// A disk that stores nothing for an election timeout: another voter leads better.
void Raft::hand_over_if_stalled() {
  Leader& l = *leader();
  if (stalled_ticks_ < options_.election_ticks || l.transfer_to != 0) return;
  MemberId best = 0;
  for (const auto& [id, peer] : l.peers) {
    if (!peer.active || peer.state != ProgressState::replicate) continue;
    if (!std::binary_search(membership().voters.begin(), membership().voters.end(), id)) continue;
    if (best == 0 || peer.match > l.peers[best].match) best = id;
  }
  if (best == 0) return;
  stalled_ticks_ = 0;  // the next try comes after another timeout
  (void)transfer(best);
}

Result<> Raft::transfer(MemberId to) {
  Leader* l = leader();
  if (!l) return fail(Errc::unavailable, "this member is not the leader");
  if (to == options_.self) return {};
  const auto& voters = membership().voters;
  if (!std::binary_search(voters.begin(), voters.end(), to)) {
    return fail(Errc::invalid_argument, strf("member %llu has no vote", (unsigned long long)to));
  }
  if (l->transfer_to != 0 && l->transfer_to != to)
    return fail(Errc::unavailable, "another transfer is under way");
  if (l->transfer_to == 0) {
    l->transfer_to = to;
    l->transfer_sent = false;
    l->transfer_ticks = 0;
  }
  advance_transfer();
  return {};
}

void Raft::advance_transfer() {
  Leader& l = *leader();
  if (l.transfer_to == 0 || l.transfer_sent) return;
  Progress& peer = l.peers[l.transfer_to];
  if (peer.match == log_.last()) {
    l.transfer_sent = true;
    send(l.transfer_to, TimeoutNow{});
  } else {
    replicate(l.transfer_to, peer, false);
  }
}

// ---- the log ----

Result<Index> Raft::propose(SharedBytes bytes) {
  Leader* l = leader();
  if (!l) return fail(Errc::unavailable, "this member is not the leader");
  if (l->transfer_to != 0) return fail(Errc::unavailable, "leadership is being handed over");
  if (bytes->size() > kMaxEntryBytes)
    return fail(Errc::invalid_argument, "an entry that no message can carry");
  // Nothing is counted up and down: what waits for a majority, and what is agreed on and waits for this
  // member's disk.
  const Index agreed = PLANTED("agreed_stays_counted") ? log_.base() : commit_;
  if (log_.cost(agreed, log_.last()) >= options_.max_pending_bytes) {
    return fail(Errc::unavailable, "too much waits for a majority of the servers");
  }
  if (log_.cost(applied_, log_.last()) >= 2 * options_.max_pending_bytes) {
    return fail(Errc::unavailable, "too much waits for the disk of this server");
  }
  append_own(EntryKind::normal, std::move(bytes));
  l->news = true;
  return log_.last();
}

void Raft::append_own(EntryKind kind, SharedBytes bytes) {
  log_.append({log_.last() + 1, hard_.term, kind, std::move(bytes)});
}

// What one turn proposes goes out as one message, and fills one place of the window.
void Raft::broadcast() {
  Leader* l = leader();
  if (!l || !std::exchange(l->news, false)) return;
  for (auto& [id, peer] : l->peers) replicate(id, peer, peer.commit_sent < commit_);
}

void Raft::broadcast_heartbeat() {
  since_heartbeat_ = 0;
  Leader& l = *leader();
  for (const auto& [id, peer] : l.peers) {
    // Only up to what this member has acknowledged: beyond it, its log may still be another one.
    const Index safe = PLANTED("heartbeat_commits_unmatched") ? std::min(commit_, peer.next - 1) : peer.match;
    send(id, Heartbeat{std::min(commit_, safe), l.round});
  }
}

void Raft::replicate(MemberId id, Progress& peer, bool even_empty) {
  if (peer.state == ProgressState::snapshot || peer.waiting || peer.reading) return;
  do {
    if (peer.window.full(options_.max_window_messages, options_.max_window_bytes)) {
      if (!even_empty) return;
    }
    const Index prev = peer.next - 1;
    const auto prev_term = log_.term(prev);
    if (!prev_term && PLANTED("append_without_term")) return send_append(id, peer, prev, 0, {});
    if (!prev_term) {  // older than what is in memory
      peer.reading = true;
      entries_wanted_.push_back({id, prev, log_.base(), options_.max_message_bytes});
      return;
    }
    std::vector<Entry> entries;
    if (!peer.window.full(options_.max_window_messages, options_.max_window_bytes)) {
      entries = log_.slice(prev, log_.last(), options_.max_message_bytes);
    }
    if (entries.empty() && !even_empty) return;
    even_empty = false;
    send_append(id, peer, prev, *prev_term, std::move(entries));
  } while (peer.state == ProgressState::replicate && peer.next <= log_.last());
}

void Raft::send_append(MemberId id, Progress& peer, Index prev, Term prev_term, std::vector<Entry> entries) {
  if (peer.state == ProgressState::probe) {
    peer.waiting = true;
  } else if (!entries.empty()) {
    size_t bytes = 0;
    for (const Entry& entry : entries) bytes += entry.cost();
    peer.next = entries.back().index + 1;
    peer.window.add(entries.back().index, bytes);
  }
  peer.commit_sent = commit_;
  send(id, Append{prev, prev_term, commit_, std::move(entries)});
}

void Raft::entries_read(EntriesRead read) {
  Progress* peer = progress(read.peer);
  if (!peer || !peer->reading) return;
  peer->reading = false;
  if (peer->state == ProgressState::snapshot) return;
  if (peer->next - 1 != read.after) return replicate(read.peer, *peer, false);
  if (read.after_term == 0) return begin_snapshot(read.peer, *peer);
  if (peer->waiting) return;
  // Asked for to find out whether what fills the window was lost: that takes the term alone. A peer whose
  // disk stands still would otherwise be sent an entry more with each look.
  if (peer->window.full(options_.max_window_messages, options_.max_window_bytes) &&
      !PLANTED("reading_ignores_window"))
    read.entries.clear();
  send_append(read.peer, *peer, read.after, read.after_term, std::move(read.entries));
  if (peer->state == ProgressState::replicate) replicate(read.peer, *peer, false);
}

void Raft::on_append_reply(const Message& m, const AppendReply& reply) {
  Progress* peer = progress(m.from);
  if (!peer) return;
  peer->active = true;
  if (reply.rejected != 0) return on_refusal(m.from, *peer, reply);
  if (reply.match > log_.last()) {
    return complain(strf("member %llu acknowledges entry %llu, the log ends at %llu",
                         (unsigned long long)m.from, (unsigned long long)reply.match,
                         (unsigned long long)log_.last()));
  }
  if (reply.match == 0) return;  // says nothing
  const bool news = reply.match > peer->match;
  peer->match = std::max(peer->match, reply.match);
  if (!PLANTED("next_below_match")) peer->next = std::max(peer->next, peer->match + 1);
  if (!PLANTED("window_leaks")) peer->window.free_to(peer->match);
  if (peer->state == ProgressState::probe ||
      (peer->state == ProgressState::snapshot && news && !PLANTED("snapshot_never_ends"))) {
    // After a snapshot the log goes on behind it, whichever it was.
    peer->become(ProgressState::replicate);
  }
  if (news) advance_commit();
  if (!leader()) return;  // it led a group that it does not belong to any more
  peer = progress(m.from);
  if (!peer) return;
  replicate(m.from, *peer, false);
  if (leader()->transfer_to == m.from) advance_transfer();
}

void Raft::on_refusal(MemberId id, Progress& peer, const AppendReply& reply) {
  if (peer.state == ProgressState::snapshot || reply.rejected <= peer.match) return;  // late
  if (peer.state == ProgressState::replicate) {
    peer.become(ProgressState::probe);
  } else {
    if (peer.next - 1 != reply.rejected) return;  // late
    peer.waiting = false;
    // Of a run of entries with one term, one question is enough (paper 5.3, the optimisation).
    Index agreed = std::min(reply.hint, reply.rejected - 1);
    if (reply.hint_term > 0 && agreed >= log_.base()) agreed = log_.agreement(agreed, reply.hint_term);
    peer.next = std::max(agreed, peer.match) + 1;
  }
  replicate(id, peer, true);
}

void Raft::on_heartbeat_reply(const Message& m, const HeartbeatReply& reply) {
  Progress* peer = progress(m.from);
  if (!peer) return;
  peer->active = true;
  if (reply.round > leader()->round) {
    return complain(strf("member %llu answers a heartbeat that was not sent", (unsigned long long)m.from));
  }
  peer->round = PLANTED("late_heartbeat_confirms") ? leader()->round : std::max(peer->round, reply.round);
  confirm_reads();
  // It is there. When nothing new was acknowledged, what was sent may be lost: an empty Append finds that
  // out, with the window full, too.
  if (!std::exchange(peer->stuck, false) || PLANTED("lost_append_never_repeated")) return;
  if (peer->state == ProgressState::probe) peer->waiting = false;
  replicate(m.from, *peer, true);
}

void Raft::unreachable(MemberId id) {
  Progress* peer = progress(id);
  if (peer && peer->state == ProgressState::replicate) peer->become(ProgressState::probe);
}

// ---- commit ----

void Raft::advance_commit() {
  Leader& l = *leader();
  Membership counted = membership();
  if (PLANTED("joint_counts_new_only")) counted.outgoing.clear();
  if (PLANTED("learner_counts"))
    counted.voters.insert(counted.voters.end(), counted.learners.begin(), counted.learners.end());
  const Index agreed = reached(counted, [&](MemberId id) -> Index {
    if (id == options_.self) return l.own_match;
    const auto it = l.peers.find(id);
    return it == l.peers.end() ? 0 : it->second.match;
  });
  if (agreed <= commit_ || (log_.term(agreed) != hard_.term && !PLANTED("commit_older_term"))) return;
  const Index before = commit_;
  commit_ = agreed;
  committed(before);
}

void Raft::committed(Index before) {
  Leader& l = *leader();
  l.news = true;
  if (before < l.term_start) {
    for (PendingRead& read : l.reads) {
      read.index = commit_;
      read.round = l.round + 1;
    }
  }
  finish_membership();
}

Progress* Raft::progress(MemberId id) {
  Leader* l = leader();
  if (!l) return nullptr;
  const auto it = l->peers.find(id);
  return it == l->peers.end() ? nullptr : &it->second;
}

}  // namespace limpet::raft
