#include "member.h"

#include "base/result.h"

namespace sim {

using namespace limpet;
using namespace limpet::raft;

Member::Member(Clockwork& clock, Checker& checker, Outside& outside, Shape shape, Disk::Speed speed)
    : clock_(clock), checker_(checker), outside_(outside), shape_(shape), disk_(clock, speed) {}

bool Member::start() {
  const Contents& c = disk_.live();
  if (!disk_.sound()) {
    outside_.trace(id(), "does not start with what its disk says");
    return false;
  }
  checker_.starts(c);
  Start start{c.hard_state, c.applied, c.membership, c.membership_index, {}, c.staged};
  log_.clear();
  log_[c.log_start] = c.log_start_term;
  memberships_ = {{c.membership_index, c.membership}};
  for (Index i = c.log_start + 1; i <= c.last(); ++i) {
    note_entry(*c.entry(i));
    if (i > c.applied.index) start.tail.push_back(*c.entry(i));
  }
  if (auto ok = check(start); !ok) throw Breach(ok.error().message);
  Options options = shape_.options;
  options.seed = clock_.random().u64();
  const bool installs = start.staged && start.staged->complete;
  replica_ = std::make_unique<store::Replica>(options, std::move(start), *this);
  if (!installs) checker_.counts(id(), raft().membership(), memberships_.rbegin()->second);
  followed_ = silent_ticks_ = 0;
  outside_.trace(id(), strf("starts: term %llu applied %llu last %llu", (unsigned long long)c.hard_state.term,
                            (unsigned long long)c.applied.index, (unsigned long long)c.last()));
  clock_.after(clock_.between(1, shape_.tick), alive([this] { tick(); }));
  pump();
  return true;
}

bool Member::crash() {
  ++life_;
  replica_.reset();
  pump_waits_ = false;
  skipped_.clear();
  const bool loses = disk_.crash();
  snapshots_.clear();
  paused_until_ = clock_stops_until_ = 0;
  outside_.trace(id(), "crashes");
  return loses;
}

void Member::tick() {
  clock_.after(shape_.tick, alive([this] { tick(); }));
  if (paused() || clock_stops_until_ > clock_.now()) return;
  raft().tick();
  note_silence();
  pump();
}

// Whoever hears nothing of its leader for twice as long as an election may take to begin knows of none.
void Member::note_silence() {
  const Standing& standing = raft().standing();
  if (standing.leader == 0 || standing.leader == id() || standing.leader != followed_) {
    followed_ = standing.leader;
    silent_ticks_ = 0;
  } else if (++silent_ticks_ > 2 * shape_.options.election_ticks) {
    throw Breach(strf("member %llu follows %llu, of which it heard nothing for %llu ticks",
                      (unsigned long long)id(), (unsigned long long)followed_,
                      (unsigned long long)silent_ticks_));
  }
}

void Member::jump(uint64_t ticks) {
  for (uint64_t i = 0; i < ticks; ++i) {
    raft().tick();
    note_silence();
    pump();
  }
}

void Member::receive(Message message) {
  if (!running()) return;
  if (paused()) {  // it lies in the socket
    const Time wait = paused_until_ - clock_.now();
    return clock_.after(wait, alive([this, m = std::move(message)]() mutable { receive(std::move(m)); }));
  }
  if (message.from == followed_) silent_ticks_ = 0;
  raft().receive(std::move(message));
  pump();
}

// A loop's turn may bring several inputs before what follows from them is done.
void Member::pump() {
  if (!shape_.lazy || !clock_.chance(500)) return replica_->pump();
  if (std::exchange(pump_waits_, true)) return;
  clock_.after(clock_.between(1, 2 * kMs), alive([this] {
                 pump_waits_ = false;
                 replica_->pump();
               }));
}

// ---- what the shell asks for ----

void Member::trace(const Batch& batch) {
  if (outside_.traces()) outside_.trace(id(), to_string(batch));
  note_log(batch);
  // Between the two the core may know of more than it has handed out.
  if (batch.sequence != 0) checker_.counts(id(), raft().membership(), memberships_.rbegin()->second);
  if (raft().standing().role == Role::leader && !batch.messages.empty())
    checker_.sends(raft().status(), shape_.options, disk_.live());
}

void Member::complaint(const std::string& what) { throw Breach("a complaint: " + what); }

void Member::standing(const Standing& standing) {
  if (standing.role != Role::leader) return;
  outside_.moment(id());
  checker_.leads(id(), standing.term, log_);
  checker_.has_vote(id(), raft().status().commit, memberships_);
}

void Member::send(Message message) {
  checker_.leaves(message, disk_.stable());
  outside_.send(std::move(message));
}

void Member::read_done(const ReadDone& read) { outside_.read_done(id(), read.id, read.index); }

bool Member::prepare(const std::vector<Entry>& entries) {
  prepared_ = entries;
  wrote_ = false;
  return std::any_of(entries.begin(), entries.end(), Machine::changes);
}

void Member::write(const store::Transaction& t, store::Replica::Done done) {
  writing_since_ = clock_.now();
  // Now and then there is no room for a part of a snapshot.
  if (t.stage && clock_.chance(20)) {
    outside_.fault(Fault::no_room);
    return clock_.after(1, alive([done = std::move(done)] { done(fail(Errc::exhausted, "no room")); }));
  }
  if (t.install || (t.stage && t.stage->last)) outside_.moment(id());
  disk_.submit(t, alive([this, t, hash = disk_.live().machine.hash, done = std::move(done)](Result<> result) {
                 wrote_ = result.has_value();
                 // From here on somebody else may hear of what nothing was written for.
                 if (wrote_ && t.base) {
                   for (const Entry& entry : skipped_)
                     checker_.applied(id(), raft().standing().term, entry, hash);
                 }
                 // A term alone that somebody had to hear of says nothing of what was applied.
                 if (wrote_ && (t.base || !t.apply.empty())) skipped_.clear();
                 if (wrote_ && t.log) note_stored(t.append);
                 done(std::move(result));
               }));
}

void Member::note_stored(const std::vector<Entry>& entries) {
  if (entries.empty()) return;
  Term previous = disk_.live().term(entries.front().index - 1).value_or(0);
  for (const Entry& entry : entries) {
    checker_.stored(entry, previous);
    previous = entry.term;
  }
}

void Member::applied() {
  if (!wrote_) {
    skipped_.insert(skipped_.end(), prepared_.begin(), prepared_.end());
  } else {
    const Contents& c = disk_.live();
    for (size_t i = 0; i < prepared_.size(); ++i) {
      checker_.applied(id(), raft().standing().term, prepared_[i], c.hashes[i]);
    }
    if (clock_.chance(100)) compact();
  }
  outside_.applied(id(), prepared_);
}

void Member::withdrawn(Index first, const Error&) {
  outside_.trace(id(), strf("has no room for the entries from %llu on", (unsigned long long)first));
  outside_.withdrawn(id(), first);
}

void Member::no_room(const Error&) {
  outside_.trace(id(), "has no room");
  clock_.after(clock_.between(50, 500) * kMs, alive([this] { replica_->retry(); }));
}

void Member::installed(const SnapshotMeta& meta) {
  checker_.installed(id(), meta.point, meta.membership, disk_.live().installed_hash);
}

void Member::note_log(const Batch& batch) {
  if (batch.install) {
    const auto held = log_.find(batch.install->point.index);
    if (held != log_.end() && held->second == batch.install->point.term)
      throw Breach(strf("member %llu puts a snapshot in the place of a log that goes on behind it",
                        (unsigned long long)id()));
    log_.clear();
    log_[batch.install->point.index] = batch.install->point.term;
    memberships_ = {{batch.install->point.index, batch.install->membership}};
  }
  if (batch.append.empty()) return;
  log_.erase(log_.lower_bound(batch.append.front().index), log_.end());
  memberships_.erase(memberships_.lower_bound(batch.append.front().index), memberships_.end());
  for (const Entry& entry : batch.append) {
    if (!log_.contains(entry.index - 1)) throw Breach("a log with a hole");
    note_entry(entry);
    if (entry.kind == EntryKind::membership) outside_.moment(id());
  }
}

void Member::note_entry(const Entry& entry) {
  log_[entry.index] = entry.term;
  if (entry.kind != EntryKind::membership) return;
  const Membership membership = *decode_membership(*entry.bytes);
  const auto before = memberships_.lower_bound(entry.index);
  if (before != memberships_.begin()) checker_.follows(std::prev(before)->second, membership);
  memberships_.insert_or_assign(entry.index, membership);
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
                 raft().entries_read(std::move(read));
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
                 raft().chunk_read(std::move(read));
                 pump();
               }));
}

void Member::compact() {
  const Index applied = disk_.live().applied.index;
  if (applied <= shape_.keep_entries) return;
  const Index to = applied - clock_.below(shape_.keep_entries);
  disk_.compact(to);
}

}  // namespace sim
