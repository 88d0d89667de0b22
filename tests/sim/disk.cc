#include "disk.h"

#include <algorithm>

#include "base/planted.h"
#include "base/varint.h"

namespace sim {

using namespace limpet;
using namespace limpet::raft;

namespace {
uint64_t mix(uint64_t hash, std::string_view bytes) {
  for (const char c : bytes) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash * 0x9e3779b97f4a7c15 + 1;
}
}  // namespace

bool Machine::changes(const Entry& entry) {
  return entry.kind == EntryKind::membership || !entry.bytes->empty();
}

void Machine::apply(const Entry& entry) {
  if (!changes(entry)) return;
  hash = mix(hash + entry.index, *entry.bytes);
  if (entry.kind != EntryKind::normal) return;
  const size_t equals = entry.bytes->find('=');
  values[entry.bytes->substr(0, equals)] = entry.bytes->substr(equals + 1);
}

std::string Machine::to_bytes() const {
  std::string out;
  put_varint(out, hash);
  for (const auto& [key, value] : values) put_bytes(out, key), put_bytes(out, value);
  return out;
}

Machine Machine::from_bytes(const std::string& bytes) {
  ByteReader in(bytes);
  Machine out;
  out.hash = in.varint();
  while (in.ok() && !in.at_end()) {
    const std::string key(in.bytes(1000));
    out.values[key] = in.bytes(1000);
  }
  if (!in.ok()) throw Breach("a snapshot that is not whole was installed");
  return out;
}

const Entry* Contents::entry(Index index) const {
  return index <= log_start || index > last() ? nullptr : &log[index - log_start - 1];
}

std::optional<Term> Contents::term(Index index) const {
  if (index == log_start) return log_start_term;
  const Entry* found = entry(index);
  return found ? std::optional(found->term) : std::nullopt;
}

uint64_t Contents::checksum() const {
  std::string out = machine.to_bytes() + encode(membership);
  for (const uint64_t word : {hard_state.term, hard_state.vote, log_start, log_start_term, applied.index,
                              applied.term, membership_index})
    put_varint(out, word);
  for (const Entry& e : log) put_varint(out, e.index), put_varint(out, e.term), put_bytes(out, *e.bytes);
  return mix(0, out + staged_bytes);
}

namespace {

// Where the parts before it are not, there is no place for it.
void stage(const SnapshotChunk& chunk, Contents& c) {
  if (chunk.cursor.empty()) {
    c.staged_bytes.clear();
  } else if (!c.staged) {
    throw Breach("a part of a snapshot is stored behind nothing");
  }
  c.staged_bytes += *chunk.bytes;
  c.staged = Staged{chunk.meta, chunk.next, chunk.last};
}

void forget_staged(Contents& c) {
  c.staged.reset();
  c.staged_bytes.clear();
}

// The log is empty and goes on after this entry.
void begin_log(const SnapshotPoint& point, Contents& c) {
  c.log.clear();
  c.log_start = point.index;
  c.log_start_term = point.term;
}

void install(const SnapshotMeta& meta, Contents& c) {
  if (!c.staged || c.staged->meta != meta || !c.staged->complete) {
    throw Breach("a snapshot is installed that is not the one that was staged");
  }
  c.machine = Machine::from_bytes(c.staged_bytes);
  c.installed_hash = c.machine.hash;
  c.applied = meta.point;
  c.membership = meta.membership;
  c.membership_index = meta.point.index;
  begin_log(meta.point, c);
  forget_staged(c);
}

void append(const std::vector<Entry>& entries, Contents& c) {
  const Index first = entries.front().index;
  if (first <= c.log_start || first > c.last() + 1) throw Breach("a log with a hole was stored");
  c.log.resize(first - c.log_start - 1);
  c.log.insert(c.log.end(), entries.begin(), entries.end());
}

// Where the log is not kept, entries that change nothing may be left out.
void apply(const std::vector<Entry>& entries, bool log, Contents& c) {
  for (const Entry& entry : entries) {
    const Index next = c.applied.index + 1;
    if (log ? entry.index != next : entry.index < next)
      throw Breach("an entry was applied twice or left out");
    c.machine.apply(entry);
    c.hashes.push_back(c.machine.hash);
    c.applied = {entry.index, entry.term};
    if (entry.kind != EntryKind::membership) continue;
    c.membership = *decode_membership(*entry.bytes);
    c.membership_index = entry.index;
  }
}

}  // namespace

void Change::on(Contents& c) const {
  const store::Transaction& t = transaction;
  if (part == Part::index) {
    c.applied = {t.apply.back().index, t.apply.back().term};
    if (!t.log) begin_log(c.applied, c);
    return;
  }
  const SnapshotPoint before = c.applied;
  if (t.hard_state) c.hard_state = *t.hard_state;
  if (t.unstage) forget_staged(c);
  if (t.stage && t.install) throw Breach("a part of one snapshot beside the installing of another");
  if (t.stage) stage(*t.stage, c);
  if (t.install) install(*t.install, c);
  if (t.base) {
    c.applied = *t.base;
    begin_log(*t.base, c);
  }
  if (t.log && !t.append.empty()) append(t.append, c);
  c.hashes.clear();
  apply(t.apply, t.log, c);
  if (!t.log) {
    if (!t.append.empty() && t.append.back().index != c.applied.index)
      throw Breach("entries that are not applied are not kept");
    begin_log(c.applied, c);
  }
  if (part == Part::state) c.applied = before;
  while (compact_to > c.log_start && c.log_start < c.applied.index && !c.log.empty()) {
    c.log_start_term = c.log.front().term;
    ++c.log_start;
    c.log.pop_front();
  }
}

void Disk::set_up(Membership membership) {
  live_.membership = std::move(membership);
  live_.membership_index = live_.log_start = 1;
  live_.hard_state.term = live_.log_start_term = 1;
  live_.applied = {1, 1};
  stable_ = live_;
}

void Disk::submit(store::Transaction t, store::Replica::Done done) {
  jobs_.push_back({{std::move(t)}, std::move(done)});
  if (!busy_) work();
}

void Disk::compact(Index to) {
  jobs_.push_back({{{}, to}, nullptr});
  if (!busy_) work();
}

void Disk::work() {
  busy_ = !jobs_.empty();
  if (!busy_) return;
  group_ = std::exchange(jobs_, {});
  Time takes = speed_.execute;
  const bool sync =
      std::any_of(group_.begin(), group_.end(), [](const Job& job) { return job.change.transaction.sync; });
  if (sync) takes += clock_.between(speed_.sync_low, speed_.sync_high);
  if (stalled_until_ > clock_.now()) takes += stalled_until_ - clock_.now();
  clock_.after(takes, [this, sync, life = life_] {
    if (life == life_) finish(sync);
  });
}

void Disk::executed(const Change& change) {
  if (!PLANTED("applied_index_apart") || change.transaction.apply.empty()) return unsynced_.push_back(change);
  for (const auto part : {Change::Part::state, Change::Part::index}) {
    unsynced_.push_back(change);
    unsynced_.back().part = part;
  }
}

void Disk::finish(bool sync) {
  const std::deque<Job> group = std::exchange(group_, {});
  const bool full = full_until_ > clock_.now();
  for (const Job& job : group) {
    if (!full) executed(job.change);
  }
  if (sync && !full) {
    for (const Change& change : unsynced_) change.on(stable_);
    unsynced_.clear();
  }
  const uint64_t life = life_;
  for (const Job& job : group) {
    if (!full) job.change.on(live_);
    if (job.done) job.done(full ? Result<>(fail(Errc::exhausted, "the disk is full")) : Result<>());
    if (life != life_) return;
  }
  work();
}

bool Disk::crash() {
  ++life_;
  // What is being written may be in the file already, though nobody was told.
  for (const Job& job : group_) {
    if (full_until_ <= clock_.now()) executed(job.change);
  }
  const uint64_t kept = clock_.below(unsynced_.size() + 1);
  const bool loses = kept < unsynced_.size();
  for (uint64_t i = 0; i < kept; ++i) unsynced_[i].on(stable_);
  unsynced_.clear();
  jobs_.clear();
  group_.clear();
  busy_ = false;
  live_ = stable_;
  sum_ = stable_.checksum();
  return loses;
}

void Disk::rot() {
  Contents& c = stable_;
  const uint64_t bit = uint64_t{1} << clock_.below(7);
  if (c.log.empty() || clock_.chance(300)) {
    uint64_t* const words[] = {&c.hard_state.term, &c.hard_state.vote, &c.applied.index, &c.applied.term};
    *words[clock_.below(4)] ^= bit;
  } else {
    Entry& entry = c.log[clock_.below(c.log.size())];
    std::string bytes = *entry.bytes;  // which others share
    if (bytes.empty()) {
      entry.term ^= bit;
    } else {
      bytes[clock_.below(bytes.size())] ^= static_cast<char>(bit);
    }
    entry.bytes = share(std::move(bytes));
  }
  live_ = stable_;
}

}  // namespace sim
