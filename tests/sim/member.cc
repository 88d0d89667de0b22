#include "member.h"

#include "base/result.h"

namespace sim {

using namespace limpet;
using namespace limpet::raft;

Member::Member(Clockwork& clock, Checker& checker, Outside& outside, Shape shape, Disk::Speed speed)
    : clock_(clock), checker_(checker), outside_(outside), shape_(shape), disk_(clock, speed) {}

void Member::start() {
  const Contents& c = disk_.live();
  Start start{c.hard_state, c.applied, c.membership, c.membership_index, {}, c.staged};
  log_.clear();
  log_[c.log_start] = c.log_start_term;
  for (Index i = c.log_start + 1; i <= c.last(); ++i) {
    log_[i] = c.entry(i)->term;
    if (i > c.applied.index) start.tail.push_back(*c.entry(i));
  }
  Options options = shape_.options;
  options.seed = clock_.random().u64();
  raft_ = std::make_unique<Raft>(options, std::move(start));
  outside_.trace(id(), strf("starts: term %llu applied %llu last %llu", (unsigned long long)c.hard_state.term,
                            (unsigned long long)c.applied.index, (unsigned long long)c.last()));
  clock_.after(clock_.between(1, shape_.tick), alive([this] { tick(); }));
  pump();
}

void Member::crash() {
  ++life_;
  raft_.reset();
  pump_waits_ = false;
  disk_.crash();
  snapshots_.clear();
  paused_until_ = 0;
  outside_.trace(id(), "crashes");
}

void Member::tick() {
  clock_.after(shape_.tick, alive([this] { tick(); }));
  if (paused()) return;
  raft_->tick();
  pump();
}

void Member::receive(Message message) {
  if (!running()) return;
  if (paused()) {  // it lies in the socket
    const Time wait = paused_until_ - clock_.now();
    return clock_.after(wait, alive([this, m = std::move(message)]() mutable { receive(std::move(m)); }));
  }
  raft_->receive(std::move(message));
  pump();
}

// A loop's turn may bring several inputs before what follows from them is done.
void Member::pump() {
  if (shape_.lazy && clock_.chance(500)) {
    if (std::exchange(pump_waits_, true)) return;
    return clock_.after(clock_.between(1, 2 * kMs), alive([this] {
                          pump_waits_ = false;
                          pump_now();
                        }));
  }
  pump_now();
}

void Member::pump_now() {
  for (Batch batch = raft_->take(); !batch.empty(); batch = raft_->take()) perform(std::move(batch));
}

void Member::perform(Batch batch) {
  outside_.trace(id(), to_string(batch));
  if (!batch.complaints.empty()) throw Breach("a complaint: " + batch.complaints.front());
  note_log(batch);
  if (batch.standing && batch.standing->role == Role::leader) {
    checker_.leads(id(), batch.standing->term, log_);
  }
  for (Message& m : batch.messages) {
    checker_.leaves(m, disk_.stable());
    outside_.send(std::move(m));
  }
  if (batch.stage) stage(*batch.stage);
  for (const EntriesWanted& wanted : batch.entries_wanted) read_entries(wanted);
  for (const ChunkWanted& wanted : batch.chunks_wanted) read_chunk(wanted);
  store(batch);
  for (const ReadDone& read : batch.reads) outside_.read_done(id(), read.id, read.index);
}

// Now and then there is no room for it.
void Member::stage(const SnapshotChunk& chunk) {
  const bool fails = clock_.chance(20);
  Transaction t;
  if (!fails) t.stage = chunk;
  t.sync = true;
  disk_.submit(std::move(t), alive([this, fails] {
                 raft_->chunk_stored(!fails);
                 pump();
               }));
}

void Member::note_log(const Batch& batch) {
  if (batch.install) {
    log_.clear();
    log_[batch.install->point.index] = batch.install->point.term;
  }
  if (batch.append.empty()) return;
  log_.erase(log_.lower_bound(batch.append.front().index), log_.end());
  for (const Entry& entry : batch.append) {
    if (!log_.contains(entry.index - 1)) throw Breach("a log with a hole");
    log_[entry.index] = entry.term;
  }
}

void Member::store(const Batch& batch) {
  if (batch.sequence == 0 && batch.apply.empty() && !batch.unstage) return;
  Transaction t{batch.hard_state,   batch.install, batch.append, batch.apply, {}, batch.unstage, 0,
                batch.sequence != 0};
  disk_.submit(std::move(t), alive([this, batch]() mutable { done(std::move(batch)); }));
}

void Member::done(Batch batch) {
  const Contents& c = disk_.live();
  if (batch.install) {
    checker_.installed(id(), batch.install->point, batch.install->membership, c.installed_hash);
  }
  for (const Entry& entry : batch.append) checker_.stored(entry, c.term(entry.index - 1).value_or(0));
  if (batch.sequence != 0) raft_->persisted(batch.sequence);
  for (size_t i = 0; i < batch.apply.size(); ++i) {
    checker_.applied(id(), raft_->standing().term, batch.apply[i], c.hashes[i]);
  }
  if (!batch.apply.empty()) {
    raft_->applied(batch.apply.back().index);
    outside_.applied(id(), batch.apply);
    if (clock_.chance(100)) compact();
  }
  pump();
}

void Member::read_entries(const EntriesWanted& wanted) {
  clock_.after(clock_.between(100, 3000), alive([this, wanted] {
                 const Contents& c = disk_.live();
                 EntriesRead read{wanted.peer, wanted.after, 0, {}};
                 if (const auto term = c.term(wanted.after); term && c.entry(wanted.after + 1)) {
                   read.after_term = *term;
                   size_t cost = 0;
                   for (Index i = wanted.after + 1; i <= wanted.upto && c.entry(i); ++i) {
                     cost += c.entry(i)->cost();
                     if (!read.entries.empty() && cost > wanted.max_bytes) break;
                     read.entries.push_back(*c.entry(i));
                   }
                 }
                 raft_->entries_read(std::move(read));
                 pump();
               }));
}

// A snapshot is pinned for its transfer, and gone when the member restarts.
void Member::read_chunk(const ChunkWanted& wanted) {
  clock_.after(clock_.between(100, 5000), alive([this, wanted] {
                 Snapshot* found = nullptr;
                 for (Snapshot& s : snapshots_) {
                   if (s.meta.point == wanted.point) found = &s;
                 }
                 size_t offset = found && !wanted.cursor.empty() ? std::stoul(wanted.cursor) : 0;
                 if (!found || offset > found->bytes.size()) {
                   const Contents& c = disk_.live();
                   if (snapshots_.size() > 2) snapshots_.erase(snapshots_.begin());
                   snapshots_.push_back({{c.applied, c.membership}, c.machine.to_bytes()});
                   found = &snapshots_.back();
                   offset = 0;
                 }
                 ChunkRead read{wanted.peer, {}};
                 if (found->meta.point.index != 0) {
                   const std::string bytes = found->bytes.substr(offset, shape_.chunk_bytes);
                   const size_t next = offset + bytes.size();
                   read.chunk = {found->meta, offset == 0 ? "" : std::to_string(offset), std::to_string(next),
                                 next == found->bytes.size(), share(bytes)};
                 }
                 raft_->chunk_read(std::move(read));
                 pump();
               }));
}

void Member::compact() {
  const Index applied = disk_.live().applied.index;
  if (applied <= shape_.keep_entries) return;
  const Index to = applied - clock_.below(shape_.keep_entries);
  Transaction t;
  t.compact_to = to;
  disk_.submit(std::move(t), nullptr);
}

}  // namespace sim
