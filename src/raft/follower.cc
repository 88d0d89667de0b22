// The receiving side of log replication (paper 5.3).
#include "base/assert.h"
#include "base/planted.h"
#include "raft/raft.h"

namespace limpet::raft {

// True when the sender is this term's leader, which is then followed.
bool Raft::heed(MemberId from) {
  if (leader() || (standing_.leader != 0 && standing_.leader != from)) {
    complain(strf("members %llu and %llu both lead term %llu", (unsigned long long)from,
                  (unsigned long long)standing_.leader, (unsigned long long)hard_.term));
    return false;
  }
  if (candidate()) become_follower(hard_.term, from);
  set_leader(from);
  elapsed_ = 0;
  return true;
}

void Raft::on_append(const Message& m, Append append) {
  if (!heed(m.from)) return;
  if (!well_formed(m, append)) return complain("entries that no leader sends", m);
  if (!skip_committed(m, append)) return;
  const auto prev_term = log_.term(append.prev_index);
  if (prev_term != append.prev_term) {
    const Index hint = log_.agreement(append.prev_index, append.prev_term);
    return send(m.from, AppendReply{0, append.prev_index, hint, log_.term(hint).value_or(0)});
  }
  if (!take_entries(m, append)) return;
  const Index match = append.prev_index + append.entries.size();
  commit_to(std::min(append.commit, PLANTED("commits_unmatched") ? log_.last() : match));
  send(m.from, AppendReply{.match = match}, After::everything);
}

bool Raft::well_formed(const Message& m, const Append& append) {
  Index index = append.prev_index;
  Term term = append.prev_term;
  for (const Entry& entry : append.entries) {
    if (entry.index != ++index || entry.term < term || entry.term > m.term || !entry.bytes) return false;
    term = entry.term;
    if (entry.kind == EntryKind::membership && !decode_membership(*entry.bytes)) return false;
  }
  // Before the first entry there is no log: a group begins with a state.
  return append.prev_term <= m.term && append.prev_index > 0 && append.prev_index <= kMaxIndex;
}

// What is committed here is the same there; only what follows it is looked at. False: it was answered.
bool Raft::skip_committed(const Message& m, Append& append) {
  if (append.prev_index >= commit_) return true;
  size_t skip = 0;
  for (const Entry& entry : append.entries) {
    if (entry.index > commit_) break;
    ++skip;
    if (const auto term = log_.term(entry.index); term && *term != entry.term) {
      complain(strf("entry %llu is committed here with term %llu, the leader sends it with term %llu",
                    (unsigned long long)entry.index, (unsigned long long)*term,
                    (unsigned long long)entry.term));
      return false;
    }
  }
  if (append.prev_index + append.entries.size() <= commit_) {
    send(m.from, AppendReply{.match = commit_}, After::everything);
    return false;
  }
  append.entries.erase(append.entries.begin(), append.entries.begin() + static_cast<ptrdiff_t>(skip));
  append.prev_index = commit_;
  append.prev_term = *log_.term(commit_);
  return true;
}

bool Raft::take_entries(const Message& m, Append& append) {
  if (PLANTED("late_append_truncates") && !append.entries.empty() &&
      append.entries.back().index < log_.last() && append.entries.back().index > handed_out_) {
    log_.truncate_from(append.entries.back().index + 1);
    issued_last_ = std::min(issued_last_, log_.last() - 1);
  }
  for (Entry& entry : append.entries) {
    if (log_.term(entry.index) == entry.term) continue;
    if (entry.index <= log_.last()) {
      if (entry.index <= handed_out_) {
        complain(strf("member %llu leads with another entry %llu than the one applied here",
                      (unsigned long long)m.from, (unsigned long long)entry.index));
        return false;
      }
      log_.truncate_from(entry.index);
      if (!PLANTED("membership_not_rolled_back")) forget_memberships_from(entry.index);
      issued_last_ = std::min(issued_last_, log_.last());
    }
    const Index index = entry.index;
    if (entry.kind == EntryKind::membership) learn_membership(index, *decode_membership(*entry.bytes));
    log_.append(std::move(entry));
  }
  return true;
}

void Raft::on_heartbeat(const Message& m, const Heartbeat& heartbeat) {
  if (!heed(m.from)) return;
  // The leader counts on nothing that was not acknowledged to it.
  if (heartbeat.commit > log_.last()) {
    complain(strf("entries up to %llu were acknowledged, the log ends at %llu: this member's disk lost some",
                  (unsigned long long)heartbeat.commit, (unsigned long long)log_.last()));
  } else {
    commit_to(heartbeat.commit);
  }
  send(m.from, HeartbeatReply{heartbeat.round});
}

void Raft::commit_to(Index index) { commit_ = std::max(commit_, index); }

}  // namespace limpet::raft
