// Snapshots in chunks (paper section 7). The follower says what it has staged, so that a transfer goes on
// where it broke off: after a lost message, a new leader, a restart of either. One chunk is under way at a
// time and none is kept in memory by the leader.
#include "base/planted.h"
#include "raft/raft.h"

namespace limpet::raft {

// ---- the leader ----

void Raft::begin_snapshot(MemberId id, Progress& peer) {
  peer.become(ProgressState::snapshot);
  send(id, SnapshotOffer{});
}

void Raft::tick_snapshot(MemberId id, Progress& peer) {
  if (peer.state != ProgressState::snapshot || ++peer.waiting_ticks < options_.election_ticks) return;
  peer.waiting_ticks = 0;
  send(id, SnapshotOffer{});
}

void Raft::on_snapshot_reply(const Message& m, const SnapshotReply& reply) {
  Progress* peer = progress(m.from);
  if (!peer) return;
  peer->active = true;
  if (peer->state != ProgressState::snapshot || peer->reading) return;
  peer->reading = true;
  peer->waiting_ticks = 0;
  // What it began with may have been overtaken by its log.
  const bool useful = reply.point.index > peer->match || PLANTED("overtaken_snapshot");
  chunks_wanted_.push_back({m.from, useful ? reply.point : SnapshotPoint{}, useful ? reply.cursor : ""});
}

void Raft::chunk_read(ChunkRead read) {
  Progress* peer = progress(read.peer);
  if (!peer || peer->state != ProgressState::snapshot || !peer->reading) return;
  peer->reading = false;
  if (read.chunk.meta.point.index == 0) return;
  peer->waiting_ticks = 0;
  peer->snapshot = read.chunk.meta.point;
  send(read.peer, std::move(read.chunk));
}

// ---- the follower ----

void Raft::on_snapshot_offer(const Message& m) {
  if (!heed(m.from) || staging_) return;
  // The leader may have missed how far this one has come.
  if (commit_ > 0) send(m.from, AppendReply{.match = commit_}, After::everything);
  reply_staged();
}

void Raft::reply_staged() {
  SnapshotReply reply;
  drop_overtaken();
  if (staged_) reply = {staged_->meta.point, staged_->cursor};
  send(standing_.leader, reply);
}

// The log came first. A part that is under way goes on from what is staged: it is let go once that is there.
void Raft::drop_overtaken() {
  if (!staged_ || staged_->meta.point.index > commit_ || PLANTED("overtaken_snapshot")) return;
  if (staging_ && !PLANTED("staged_goes_under_its_part")) return;
  staged_.reset();
  unstage_ = true;
}

void Raft::chunk_refused() {
  if (!staging_) return;
  staging_.reset();
  staged_.reset();
  unstage_ = true;
}

void Raft::on_snapshot_chunk(const Message& m, SnapshotChunk chunk) {
  if (!heed(m.from)) return;
  const SnapshotPoint& point = chunk.meta.point;
  if (!chunk.bytes || point.index == 0 || point.index > kMaxIndex || point.term > m.term ||
      !check(chunk.meta.membership)) {
    return complain("a snapshot that no leader sends", m);
  }
  if (not_needed(point)) return send(m.from, AppendReply{.match = commit_}, After::everything);
  if ((staging_ || install_) && !PLANTED("two_snapshots_at_once")) return;
  const bool begins = chunk.cursor.empty();
  const bool fits = staged_ && staged_->meta == chunk.meta && staged_->cursor == chunk.cursor;
  if (!begins && !fits && !PLANTED("chunk_of_another_snapshot")) return reply_staged();
  staging_ = Staged{chunk.meta, chunk.next, chunk.last};
  stage_ = std::move(chunk);
}

// Whether the log holds all that the snapshot has: it goes on with the log.
bool Raft::not_needed(const SnapshotPoint& point) {
  const bool held = log_.term(point.index) == point.term && !PLANTED("snapshot_drops_log");
  if (point.index > commit_ && !held) return false;
  commit_to(point.index);
  return true;
}

void Raft::chunk_stored(bool ok) {
  if (!staging_) return;
  Staged stored = *std::exchange(staging_, std::nullopt);
  // Not stored: the leader offers again. A leader's log holds all that any snapshot does.
  if (!ok || leader()) return;
  if (!stored.complete) {
    staged_ = std::move(stored);
    if (standing_.leader != 0) reply_staged();
    return;
  }
  staged_.reset();
  if (not_needed(stored.meta.point)) {
    unstage_ = true;
  } else {
    if (candidate()) become_follower(hard_.term, 0);
    install(std::move(stored.meta));
  }
  if (standing_.leader != 0) send(standing_.leader, AppendReply{.match = commit_}, After::everything);
}

// Whatever the log held is not part of the history that the snapshot tells, or is in it.
void Raft::install(SnapshotMeta meta) {
  const Index index = meta.point.index;
  log_.reset(meta.point);
  issued_last_ = index;
  commit_ = applied_ = handed_out_ = index;
  memberships_.clear();
  memberships_.push_back(
      {index, PLANTED("snapshot_drops_joint") ? raft::leave(meta.membership) : meta.membership});
  install_ = std::move(meta);
}

}  // namespace limpet::raft
