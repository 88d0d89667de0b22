#include "disk.h"

#include <algorithm>
#include <stdexcept>

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

void Machine::apply(const Entry& entry) {
  hash = mix(hash + entry.index, *entry.bytes);
  if (entry.kind != EntryKind::normal || entry.bytes->empty()) return;
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
  if (!in.ok()) throw std::logic_error("a snapshot that is not whole was installed");
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

void Transaction::on(Contents& c) const {
  if (hard_state) c.hard_state = *hard_state;
  if (unstage) {
    c.staged.reset();
    c.staged_bytes.clear();
  }
  if (stage && install) throw std::logic_error("a part of one snapshot beside the installing of another");
  if (stage) {
    if (stage->cursor.empty()) c.staged_bytes.clear();
    c.staged_bytes += *stage->bytes;
    c.staged = Staged{stage->meta, stage->next, stage->last};
  }
  if (install) {
    if (!c.staged || c.staged->meta != *install || !c.staged->complete) {
      throw std::logic_error("a snapshot is installed that is not the one that was staged");
    }
    c.machine = Machine::from_bytes(c.staged_bytes);
    c.installed_hash = c.machine.hash;
    c.applied = install->point;
    c.membership = install->membership;
    c.membership_index = install->point.index;
    c.log.clear();
    c.log_start = install->point.index;
    c.log_start_term = install->point.term;
    c.staged.reset();
    c.staged_bytes.clear();
  }
  if (!append.empty()) {
    const Index first = append.front().index;
    if (first <= c.log_start || first > c.last() + 1) throw std::logic_error("a log with a hole was stored");
    c.log.resize(first - c.log_start - 1);
    c.log.insert(c.log.end(), append.begin(), append.end());
  }
  c.hashes.clear();
  for (const Entry& entry : apply) {
    if (entry.index != c.applied.index + 1) throw std::logic_error("an entry was applied twice or left out");
    c.machine.apply(entry);
    c.hashes.push_back(c.machine.hash);
    c.applied = {entry.index, entry.term};
    if (entry.kind == EntryKind::membership) {
      c.membership = *decode_membership(*entry.bytes);
      c.membership_index = entry.index;
    }
  }
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

void Disk::submit(Transaction t, std::function<void()> done) {
  jobs_.push_back({std::move(t), std::move(done)});
  if (!busy_) work();
}

// All that waits goes into one transaction with one sync.
void Disk::work() {
  busy_ = !jobs_.empty();
  if (!busy_) return;
  group_ = std::exchange(jobs_, {});
  Time takes = speed_.execute;
  const bool sync = std::any_of(group_.begin(), group_.end(), [](const Job& job) { return job.t.sync; });
  if (sync) takes += clock_.between(speed_.sync_low, speed_.sync_high);
  if (stalled_until_ > clock_.now()) takes += stalled_until_ - clock_.now();
  clock_.after(takes, [this, sync, life = life_] {
    if (life == life_) finish(sync);
  });
}

void Disk::finish(bool sync) {
  const std::deque<Job> group = std::exchange(group_, {});
  for (const Job& job : group) unsynced_.push_back(job.t);
  if (sync) {
    for (const Transaction& t : unsynced_) t.on(stable_);
    unsynced_.clear();
  }
  const uint64_t life = life_;
  for (const Job& job : group) {
    job.t.on(live_);
    if (job.done) job.done();
    if (life != life_) return;
  }
  work();
}

void Disk::crash() {
  ++life_;
  // What is being written may be in the file already, though nobody was told.
  for (const Job& job : group_) unsynced_.push_back(job.t);
  const uint64_t kept = clock_.below(unsynced_.size() + 1);
  for (uint64_t i = 0; i < kept; ++i) unsynced_[i].on(stable_);
  unsynced_.clear();
  jobs_.clear();
  group_.clear();
  busy_ = false;
  live_ = stable_;
}

}  // namespace sim
