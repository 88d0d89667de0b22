// Linearizable reads without a log entry (thesis 6.4): the leader notes its commit index, makes sure by a
// round of heartbeats that it still led when the read was asked for, and the read is served once that index
// is applied.
#include "base/planted.h"
#include "raft/raft.h"

namespace limpet::raft {

Result<uint64_t> Raft::read() {
  const uint64_t id = next_read_++;
  if (Leader* l = leader()) {
    if (l->reads.size() >= options_.max_reads) return fail(Errc::unavailable, "too many reads wait");
    on_read_index({options_.self, options_.self, hard_.term, {}}, {id});
    return id;
  }
  if (standing_.leader == 0) return fail(Errc::unavailable, "there is no leader");
  if (asked_.size() >= options_.max_reads) return fail(Errc::unavailable, "too many reads wait");
  asked_.push_back({id, 0});
  send(standing_.leader, ReadIndex{id});
  return id;
}

void Raft::on_read_index(const Message& m, const ReadIndex& read) {
  Leader* l = leader();
  if (!l || l->reads.size() >= options_.max_reads) return answer({read.id, m.from, 0, 0}, 0);
  PendingRead pending{read.id, m.from, 0, 0};
  // Before an entry of its own term is committed, a leader does not know what is (paper section 8).
  if (commit_ >= l->term_start || PLANTED("read_before_own_entry")) {
    pending.index = commit_;
    pending.round = l->round + 1;
  }
  l->reads.push_back(pending);
}

// All reads since the last batch share one round.
void Raft::begin_round() {
  Leader* l = leader();
  if (!l || l->reads.empty() || l->reads.back().round <= l->round) return;
  ++l->round;
  broadcast_heartbeat();
  confirm_reads();
}

void Raft::confirm_reads() {
  Leader& l = *leader();
  const bool lease = PLANTED("lease_reads") && quorum(membership(), [&](MemberId id) {
                       return id == options_.self || l.peers[id].active;
                     });
  const uint64_t confirmed =
      lease || PLANTED("read_without_round") ? l.round : reached(membership(), [&](MemberId id) -> uint64_t {
        if (id == options_.self) return l.round;
        const auto it = l.peers.find(id);
        return it == l.peers.end() ? 0 : it->second.round;
      });
  while (!l.reads.empty() && l.reads.front().round != 0 && l.reads.front().round <= confirmed) {
    answer(l.reads.front(), l.reads.front().index);
    l.reads.pop_front();
  }
}

void Raft::answer(const PendingRead& read, Index index) {
  if (read.from == options_.self) {
    reads_.push_back({read.id, index});
  } else {
    send(read.from, ReadIndexReply{read.id, index});
  }
}

void Raft::fail_reads() {
  Leader& l = *leader();
  for (const PendingRead& read : l.reads) answer(read, 0);
  l.reads.clear();
}

void Raft::on_read_index_reply(const ReadIndexReply& reply) {
  const auto it =
      std::find_if(asked_.begin(), asked_.end(), [&](const Asked& asked) { return asked.id == reply.id; });
  if (it == asked_.end()) return;
  asked_.erase(it);
  reads_.push_back({reply.id, reply.index});
}

// A question or its answer that was lost: the asker asks again.
void Raft::tick_reads() {
  if (PLANTED("dropped_read_hangs")) return;
  for (Asked& asked : asked_) ++asked.ticks;
  while (!asked_.empty() && asked_.front().ticks >= options_.election_ticks) {
    reads_.push_back({asked_.front().id, 0});
    asked_.pop_front();
  }
}

}  // namespace limpet::raft
