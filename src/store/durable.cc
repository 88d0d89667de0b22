#include "store/durable.h"

#include <algorithm>
#include <ctime>

#include "base/assert.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/planted.h"

namespace limpet::store {
namespace {

constexpr size_t kBatchEntries = 256;
constexpr size_t kBatchBytes = 4u << 20;
constexpr int64_t kRoomMs = 500;  // from one try to the next
constexpr const char* kNoRoom = "no room to write what is under way, nor anything after it";
constexpr size_t kMaxQueue = 8192;
constexpr size_t kMaxQueueBytes = 32u << 20;
constexpr size_t kQuietHistoryBytes = 64u << 10;

int64_t now_ms() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

Event event_of(const Change& c, const SharedBytes& previous) {
  Event e;
  e.type = c.deleted ? Event::Type::deleted : c.previous_id ? Event::Type::modified : Event::Type::created;
  e.key = c.key;
  e.revision = revision_of(c.id);
  e.value = c.deleted ? previous : c.value;
  if (e.type == Event::Type::modified) e.previous = previous;
  return e;
}

}  // namespace

// Reads the keys, no object: what is current, what is history, and whether both are what the newest row says.
Result<> Durable::read_state(Database& db, Index& index, Loaded& out) {
  TRY(out.newest, db.newest());
  TRY(out.compacted, db.get_number("compacted"));
  std::vector<std::pair<Revision, RowId>> garbage;
  std::string key;
  Version last;
  RowId newest = 0;
  const auto settle = [&] {
    if (last.id && last.size >= 0)
      index.put(key, last.id, last.created, static_cast<uint32_t>(last.size), nullptr);
  };
  CHECK_OK(db.each_version([&](const Version& v) -> Result<> {
    newest = std::max(newest, v.id);
    if (last.id && v.key == key) {
      if (last.size >= 0) garbage.emplace_back(revision_of(v.id), last.id);
    } else {
      settle();
      key = v.key;
    }
    last = v;
    if (v.size < 0) garbage.emplace_back(revision_of(v.id), v.id);
    return {};
  }));
  settle();
  if (newest != out.newest.id || index.state() != out.newest.state) {
    return fail(Errc::corrupt,
                db.path() +
                    ": its keys are not those that the last commit left; the file is damaged: keep "
                    "a copy, restore a backup, check the storage device");
  }
  std::sort(garbage.begin(), garbage.end());
  out.garbage.assign(garbage.begin(), garbage.end());
  return {};
}

Result<Durable::Loaded> Durable::load(Database& db, Index& index, Random& random, const Options& options) {
  const std::string& join = options.join_cluster;
  Loaded out;
  CHECK_OK(read_state(db, index, out));
  TRY(std::optional<Group> group, db.group());
  if (!join.empty() && (group ? group->cluster != join : out.newest.id != 0)) {
    return fail(Errc::invalid_argument,
                db.path() +
                    ": this device has a state of its own and cannot become one more server of a cluster: "
                    "`limpet reset` removes it");
  }
  if (!group) {
    group = join.empty() ? Group::begin(random, out.newest.index)
                         : Group::wait(random, join, options.join_member);
    CHECK_OK(db.found(*group));
  }
  TRY(out.start, db.start_of(*group));
  out.group = std::move(*group);
  raft::Membership members = out.start.membership;
  for (const raft::Entry& entry : out.start.tail) {
    if (entry.kind != raft::EntryKind::membership) continue;
    TRY(members, raft::decode_membership(*entry.bytes));
  }
  if (!members.sole_voter(out.group.self)) return out;
  // Volatile revisions were counted by starts before they were by terms.
  TRY(const int64_t starts, db.get_number("boots"));
  out.enters = std::max(out.start.hard_state.term, static_cast<raft::Term>(std::max<int64_t>(starts, 0))) + 1;
  return out;
}

namespace {
raft::Options raft_options(raft::MemberId self, const Options& options, Random& random) {
  raft::Options out;
  out.self = self;
  out.seed = random.u64();
  out.heartbeat_ticks = options.heartbeat_ticks;
  out.election_ticks = options.election_ticks;
  out.max_cache_bytes = std::min(out.max_cache_bytes, options.log_bytes);
  // What one turn proposes always fits; what waits for the others, or twice that for this disk, is bounded by
  // it beside the queue.
  out.max_pending_bytes = 2 * kBatchBytes;
  return out;
}
}  // namespace

Durable::Durable(loop::Loop& loop, const Options& options, Clock& clock, Random& random,
                 std::unique_ptr<Index> index, Loaded loaded, StorageThread& storage,
                 std::shared_ptr<Reserve> reserve)
    : loop_(loop),
      options_(options),
      clock_(clock),
      index_(std::move(index)),
      storage_(storage),
      reserve_(std::move(reserve)),
      hub_(loop, {options.history_events, std::max<size_t>(options.cache_bytes / 16, 64 << 10)},
           revision_of(loaded.newest.id),
           [this](const std::string& prefix, Revision after, auto done) {
             read_older(prefix, after, std::move(done));
           }),
      newest_id_(loaded.newest.id),
      room_(loop, "store-room"),
      garbage_(std::move(loaded.garbage)),
      self_(loaded.group.self),
      cluster_(loaded.group.cluster),
      tick_(loop, "raft-tick"),
      replica_(raft_options(loaded.group.self, options, random), std::move(loaded.start), *this) {
  hub_.set_compacted(loaded.compacted);
}

void Durable::start() {
  replica_.pump();
  pace();
}

void Durable::on_fatal(std::function<void(Error)> f) {
  on_fatal_ = std::move(f);
  if (fatal_ && on_fatal_) on_fatal_(*fatal_);
}

std::unexpected<Error> Durable::stopped() const {
  if (fatal_) return fail(Errc::unavailable, "the store has stopped: " + fatal_->message);
  return fail(Errc::unavailable, "the store is closing");
}

void Durable::commit(Txn txn, Answer done) {
  if (fatal_ || draining_) return done(stopped());
  // At once, also while the disk is at work: whoever asks goes to another server.
  if (replica_.core().standing().role != raft::Role::leader) return done(not_leading());
  if (const auto fits = fits_term(txn.term); !fits) return done(std::unexpected(fits.error()));
  if (replica_.waits_for_room()) return done(fail(Errc::exhausted, kNoRoom));
  auto bytes = encode_entry(txn, clock_.wall().seconds);
  if (!bytes) return done(std::unexpected(bytes.error()));
  if (queue_.size() >= kMaxQueue || queued_bytes_ + bytes->size() > kMaxQueueBytes) {
    return done(
        fail(Errc::unavailable, strf("too many writes are waiting for the disk (%zu, %zu bytes); try again",
                                     queue_.size(), queued_bytes_)));
  }
  queued_bytes_ += bytes->size();
  queue_.push_back({share(std::move(*bytes)), txn.term, std::move(done)});
  kick();
}

// After the current callback, so that what one turn of the loop writes shares a sync.
void Durable::kick() {
  if (kicked_ || fatal_ || holds_back()) return;
  kicked_ = true;
  loop_.defer([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->kicked_ = false;
    self->turn();
  });
}

// A group of one proposes what its disk takes next. Of several the others get it while this disk is at work,
// unless that takes half a tick: soon another server may have to answer for what it was sent.
bool Durable::holds_back() const {
  return replica_.busy() &&
         (replica_.core().alone() || loop_.now_ms() - writing_since_ms_ > options_.tick_ms / 2);
}

void Durable::turn() {
  if (fatal_ || holds_back()) return;
  propose_some();
  replica_.pump();
  next();
}

// As many as one transaction may hold.
void Durable::propose_some() {
  size_t bytes = 0;
  for (size_t n = alone_ > 0 ? 1 : kBatchEntries; n > 0 && !queue_.empty(); --n) {
    if (bytes > 0 && bytes + queue_.front().bytes->size() > kBatchBytes) return;
    Proposal proposal = std::move(queue_.front());
    queue_.pop_front();
    queued_bytes_ -= proposal.bytes->size();
    bytes += proposal.bytes->size();
    if (alone_ > 0) --alone_;
    // The lead may have gone and come back while it waited for the disk.
    const auto fits = fits_term(proposal.only_in);
    if (LIMPET_FAILPOINT("store.propose")) {
      proposal.done(fail(Errc::unavailable, "failpoint store.propose"));
      continue;
    }
    const auto index = fits ? replica_.core().propose(proposal.bytes) : std::unexpected(fits.error());
    if (!index) {
      proposal.done(std::unexpected(index.error()));
      continue;
    }
    // One that stands there is of a term in which this member led before: it was overwritten here, by what
    // may be lost yet, while another member has it.
    auto before = waiting_.extract(*index);
    waiting_[*index] = {replica_.core().standing().term, std::move(proposal)};
    if (before) {
      before.mapped().proposal.done(
          PLANTED("overwritten_is_undone")
              ? overtaken()
              : fail(Errc::timeout, "whether this was written is unknown: another server led meanwhile"));
    }
  }
}

void Durable::next() {
  if (fatal_ || replica_.busy()) return;
  if (!queue_.empty()) return kick();
  if (!draining_ || !drained_ || kicked_) return;
  close_group();
  std::exchange(drained_, nullptr)();
}

// ---- what the replica asks for ----

bool Durable::prepare(const std::vector<raft::Entry>& entries) {
  batch_ = std::make_shared<Batch>();
  batch_->entries = entries;
  previous_.clear();
  if (const auto ok = evaluate(*batch_, *index_, hub_.now()); !ok) {
    fatal(ok.error());
    return true;
  }
  return !batch_->changes.empty();
}

void Durable::write(const Transaction& transaction, Replica::Done done) {
  if (fatal_) return;
  installing_ = transaction.install.has_value();
  writing_since_ms_ = loop_.now_ms();
  auto batch = transaction.apply.empty() ? std::make_shared<Batch>() : batch_;
  storage_.call(
      weak_from_this(),
      [transaction, batch, reserve = reserve_, cache_bytes = options_.cache_bytes](Database& db) {
        Written w;
        const int64_t from = now_ms();
        w.outcome = db.write(transaction, batch->changes, w.previous);
        // A delete is how a person makes room: the spare bytes are for it.
        const bool removes = batch->only_removes && !batch->changes.empty();
        if (!w.outcome && w.outcome.error().code == Errc::exhausted && removes && reserve->give_up()) {
          w.outcome = db.write(transaction, batch->changes, w.previous);
        }
        w.ms = now_ms() - from;
        w.file_bytes = db.file_bytes();
        w.wal_bytes = db.wal_bytes();
        w.syncs = db.syncs();
        w.checkpoint_due = db.checkpoint_due();
        w.log_bytes = db.log_bytes();
        if (w.outcome && transaction.install) {
          auto state = read_again(db, cache_bytes);
          if (!state) w.outcome = std::unexpected(state.error());
          if (state) w.state = std::move(*state);
        }
        return w;
      },
      [this, done = std::move(done)](Written w) { written(std::move(w), done); });
}

void Durable::written(Written w, const Replica::Done& done) {
  stats_.file_bytes = w.file_bytes;
  stats_.wal_bytes = w.wal_bytes;
  stats_.fsyncs = w.syncs;
  stats_.commit_ms_max = std::max(stats_.commit_ms_max, w.ms);
  if (fatal_) return;
  if (LIMPET_FAILPOINT("store.written")) return fatal(Error{Errc::io, "failpoint store.written", 0});
  installing_ = false;
  const bool ok = w.outcome.has_value();
  const Errc code = ok ? Errc::io : w.outcome.error().code;
  if (!ok && code != Errc::exhausted && code != Errc::invalid_argument) return fatal(w.outcome.error());
  if (ok) ++stats_.commits;
  if (w.state) take_over(*w.state);
  previous_ = std::move(w.previous);
  done(std::move(w.outcome));
  if (fatal_) return;
  // After the acknowledgements, in the same line as the next writes. On a full disk none of it would help.
  if (ok && w.checkpoint_due) checkpoint();
  if (ok) compact_if_due();
  if (ok) shorten_log(w.log_bytes);
  next();
}

void Durable::applied() {
  const auto batch = std::exchange(batch_, nullptr);
  if (fatal_) return;
  if (!batch->changes.empty()) {
    publish(*batch);
    if (LIMPET_FAILPOINT("store.ack.before")) return fatal(Error{Errc::io, "failpoint store.ack.before", 0});
  }
  answer(*batch);
  if (LIMPET_FAILPOINT("store.ack.after")) return fatal(Error{Errc::io, "failpoint store.ack.after", 0});
  settle_waiting();
  settle_reads();
  pace();
}

// Whether one entry alone has room is seen by trying each alone.
void Durable::withdrawn(raft::Index first, const Error& error) {
  std::vector<Proposal> back;
  for (auto it = waiting_.lower_bound(first); it != waiting_.end(); it = waiting_.erase(it))
    back.push_back(std::move(it->second.proposal));
  if (back.size() == 1) {
    return back[0].done(
        fail(Errc::exhausted, "no room to write; deleting objects is still possible: " + error.message));
  }
  alone_ = back.size();
  for (size_t i = back.size(); i-- > 0;) {
    queued_bytes_ += back[i].bytes->size();
    queue_.push_front(std::move(back[i]));
  }
}

// Others count on it: it is written when there is room, and a stop does not wait for that.
void Durable::no_room(const Error& error) {
  log::error("no room to write what the other servers count on, trying again", {{"error", error}});
  for (Proposal& proposal : std::exchange(queue_, {})) proposal.done(fail(Errc::exhausted, kNoRoom));
  queued_bytes_ = alone_ = 0;
  if (draining_) {
    close_group();
    if (drained_) std::exchange(drained_, nullptr)();
    return;
  }
  room_.start(kRoomMs, [this] { replica_.retry(); });
}

void Durable::checkpoint() {
  storage_.call(
      weak_from_this(),
      [reserve = reserve_](Database& db) {
        auto done = db.checkpoint();
        if (done) reserve->refill();
        return done;
      },
      [this](Result<> r) {
        // The log may grow a little more while the disk is full; it is tried again after a later commit.
        if (!r && r.error().code != Errc::exhausted) fatal(r.error());
      });
}

void Durable::publish(Batch& batch) {
  std::vector<Event> events;
  events.reserve(batch.changes.size());
  for (size_t i = 0; i < batch.changes.size(); ++i) {
    Change& c = batch.changes[i];
    events.push_back(event_of(c, c.previous ? c.previous : previous_[i]));
    const Revision revision = revision_of(c.id);
    if (c.previous_id) garbage_.emplace_back(revision, c.previous_id);
    if (c.deleted) {
      garbage_.emplace_back(revision, c.id);
      index_->erase(c.key);
    } else {
      index_->put(c.key, c.id, c.created, static_cast<uint32_t>(c.value->size()), c.value);
    }
    newest_id_ = c.id;
  }
  LIMPET_ASSERT(index_->state() == batch.changes.back().state);
  stats_.events += events.size();
  if (LIMPET_FAILPOINT("store.publish")) return fatal(Error{Errc::io, "failpoint store.publish", 0});
  hub_.publish(std::move(events), batch.revision);
}

void Durable::answer(Batch& batch) {
  for (size_t i = 0; i < batch.entries.size(); ++i) {
    auto& verdict = batch.verdicts[i];
    if (verdict) ++stats_.transactions;
    if (verdict && !*verdict && verdict->error().code == Errc::conflict) ++stats_.conflicts;
    const auto it = waiting_.find(batch.entries[i].index);
    if (it == waiting_.end()) continue;
    const Waiting waiting = std::move(it->second);
    waiting_.erase(it);
    if (verdict && waiting.term == batch.entries[i].term) {
      waiting.proposal.done(std::move(*verdict));
    } else {
      waiting.proposal.done(overtaken());
    }
  }
}

void Durable::drain(std::function<void()> done) {
  draining_ = true;
  drained_ = std::move(done);
  if (fatal_) return std::exchange(drained_, nullptr)();
  // Not within the answer to a write, whose batch has not been dealt with to the end.
  loop_.defer([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->next();
  });
}

void Durable::fatal(Error error) {
  if (fatal_) return;
  fatal_ = error;
  const auto keep = shared_from_this();
  for (auto& [index, waiting] : std::exchange(waiting_, {}))
    waiting.proposal.done(fail(Errc::timeout, "whether this was written is unknown: " + error.message));
  for (Proposal& proposal : std::exchange(queue_, {})) proposal.done(stopped());
  stop_reads();
  if (on_fatal_) on_fatal_(error);
  if (drained_) std::exchange(drained_, nullptr)();
}

void Durable::shorten_history() { hub_.shorten(kQuietHistoryBytes); }

void Durable::fill_stats(Stats& stats) const {
  stats = stats_;
  stats.watchers = hub_.watchers();
  stats.lost_watches = hub_.lost();
  stats.keys = index_->map().size();
  stats.cache_bytes = index_->cached_bytes();
}

// ---- compaction
// -------------------------------------------------------------------------------------------------

// A list at this revision goes on: its rows are waited for, for a minute.
void Durable::pin(Revision revision) {
  constexpr int64_t kPinMs = 60000;
  constexpr size_t kMaxPins = 64;
  pins_[revision] = loop_.now_ms() + kPinMs;
  if (pins_.size() > kMaxPins) pins_.erase(pins_.begin());
}

void Durable::compact_if_due() {
  if (compacting_ || fatal_ || installing_) return;
  const Revision history = std::max<Revision>(options_.history_revisions, 1);
  Revision target = hub_.now() - history;
  const size_t due = static_cast<size_t>(std::clamp<Revision>(history / 8, 1, 512));
  if (garbage_.size() < due || garbage_[due - 1].first > target) return;
  std::erase_if(pins_, [&](const auto& p) { return p.second < loop_.now_ms(); });
  Revision oldest = hub_.oldest_reader();
  if (!pins_.empty()) oldest = std::min(oldest, pins_.begin()->first - 1);
  // Readers hold history back to twice its length, no further.
  target = std::max(std::min(target, oldest), target - history);
  if (target <= hub_.compacted() || garbage_.front().first > target) return;
  ++stats_.compactions;
  compacting_ = true;
  compacting_to_ = target;
  hub_.set_compacted(target);
  compact_step();
}

void Durable::compact_step() {
  constexpr size_t kRows = 200;
  std::vector<std::pair<Revision, RowId>> taken;
  std::vector<RowId> ids;
  // The newest row stays: it says what the revision and the state are.
  while (ids.size() < kRows && !garbage_.empty() && garbage_.front().first <= compacting_to_ &&
         garbage_.front().second != newest_id_) {
    taken.push_back(garbage_.front());
    ids.push_back(garbage_.front().second);
    garbage_.pop_front();
  }
  if (ids.empty() || fatal_ || draining_ || installing_) {
    garbage_.insert(garbage_.begin(), taken.begin(), taken.end());
    compacting_ = false;
    return;
  }
  storage_.call(
      weak_from_this(),
      [ids = std::move(ids), to = compacting_to_](Database& db) { return db.compact(ids, to); },
      [this, taken = std::move(taken)](Result<> r) {
        if (r) return compact_step();
        compacting_ = false;
        if (r.error().code != Errc::exhausted) return fatal(r.error());
        garbage_.insert(garbage_.begin(), taken.begin(), taken.end());
      });
}

}  // namespace limpet::store
