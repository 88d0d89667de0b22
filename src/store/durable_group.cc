// The durable space as a member of a raft group: what its replica asks of it that is not the writing of
// batches.
#include "base/assert.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/planted.h"
#include "raft/codec.h"
#include "store/durable.h"

namespace limpet::store {
namespace {
constexpr int64_t kConfirmedMs = 10000;  // for a confirmed read to be applied here
constexpr uint64_t kWithSnapshot = 8;    // times as much log is kept while a snapshot is sent
constexpr size_t kRestOfLog = 2;         // of a log that is too long, one part in so many stays
constexpr size_t kMaxBarriers = 8192;    // that wait for the next question
}  // namespace

// ---- for whoever carries the messages ----

Result<> Durable::receive(std::string_view bytes, raft::MemberId from) {
  TRY(raft::Message message, raft::decode_message(bytes, from, self()));
  if (message.term > kMaxTerm) return fail(Errc::corrupt, "a message of a term that no group reaches");
  if (fatal_ || closed_) return stopped();
  if (LIMPET_FAILPOINT("store.message.receive")) return {};  // lost
  replica_.core().receive(std::move(message));
  replica_.pump();
  pace();  // it may have led alone until now
  return {};
}

void Durable::unreachable(raft::MemberId peer) {
  if (fatal_ || closed_) return;
  replica_.core().unreachable(peer);
  replica_.pump();
}

Result<> Durable::reconfigure(const raft::Membership& wanted) {
  if (fatal_ || draining_) return stopped();
  if (LIMPET_FAILPOINT("store.reconfigure")) return fail(Errc::unavailable, "failpoint store.reconfigure");
  const auto index = replica_.core().reconfigure(wanted);
  replica_.pump();
  pace();
  if (!index) return std::unexpected(index.error());
  return {};
}

Result<> Durable::transfer(raft::MemberId to) {
  if (fatal_ || draining_) return stopped();
  auto done = replica_.core().transfer(to);
  replica_.pump();
  return done;
}

Consensus::Subscription Durable::on_standing(std::function<void(const raft::Standing&)> f) {
  auto kept = std::make_shared<std::function<void(const raft::Standing&)>>(std::move(f));
  std::erase_if(on_standing_, [](const auto& weak) { return weak.expired(); });
  on_standing_.push_back(kept);
  return kept;
}

// The entry that began the term is behind all that was agreed on before it.
bool Durable::ready() const {
  return standing_.role == raft::Role::leader && replica_.applied().term == standing_.term;
}

std::optional<Consensus::Leading> Durable::leading() const {
  const raft::Standing& now = replica_.core().standing();
  if (standing_.role != raft::Role::leader || now.role != raft::Role::leader || now.term != standing_.term)
    return std::nullopt;
  return Leading{standing_.term, leads_since_ms_, ready()};
}

// ---- barriers ----

// Nobody else can have acknowledged anything when this is all of the group.
void Durable::barrier(Barrier done) {
  if (fatal_ || closed_) return done(stopped());
  if (replica_.core().alone() && ready()) return done({});
  if (barriers_.size() >= kMaxBarriers)
    return done(fail(Errc::unavailable, "too many reads wait for the leader; try again"));
  barriers_.push_back(std::move(done));
  ask_soon();
}

// One question at a time, for all who came before it: an answer says nothing to those who came after.
void Durable::ask_soon() {
  if (asking_ || ask_kicked_ || barriers_.empty()) return;
  ask_kicked_ = true;
  loop_.defer([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->ask_kicked_ = false;
    self->ask();
  });
}

void Durable::ask() {
  if (fatal_ || closed_) return;
  auto id = replica_.core().read();
  if (LIMPET_FAILPOINT("store.barrier.ask")) id = fail(Errc::unavailable, "failpoint store.barrier.ask");
  if (!id) {
    for (const Barrier& done : std::exchange(barriers_, {})) done(std::unexpected(id.error()));
    return;
  }
  asking_ = *id;
  asking_for_ = std::exchange(barriers_, {});
  replica_.pump();
}

void Durable::stop_reads() {
  asking_.reset();
  for (const Barrier& done : std::exchange(asking_for_, {})) done(stopped());
  for (const Barrier& done : std::exchange(barriers_, {})) done(stopped());
  for (auto& [index, confirmed] : std::exchange(confirmed_, {})) confirmed.done(stopped());
}

// Nothing ticks in a group of one: an idle device does not wake for it.
void Durable::pace() {
  const bool alone = replica_.core().alone();
  if (alone || fatal_ || closed_) return tick_.stop();
  if (tick_.active()) return;
  tick_.start(options_.tick_ms, [this] {
    replica_.core().tick();
    replica_.pump();
    expire_reads();
    give_up_waiting();
    pace();
  });
}

// ---- for the replica ----

void Durable::send(raft::Message message) {
  if (LIMPET_FAILPOINT("store.message.send")) return;  // lost
  if (on_message_) on_message_(message.to, raft::encode(message));
}

void Durable::standing(const raft::Standing& standing) {
  log::debug("raft", {{"term", standing.term}, {"leads", standing.role == raft::Role::leader}});
  const bool led = standing_.role == raft::Role::leader, leads = standing.role == raft::Role::leader;
  if (leads && (!led || standing_.term != standing.term)) leads_since_ms_ = loop_.now_ms();
  standing_ = standing;
  lost_ticks_ = 0;
  if (LIMPET_FAILPOINT("store.lead.told")) return fatal(Error{Errc::io, "failpoint store.lead.told", 0});
  if (!leads) lost_lead();
  for (const auto& weak : std::vector(on_standing_)) {
    if (const auto f = weak.lock()) (*f)(standing);
  }
}

// What was not proposed is certainly not done, and whoever waits with it need not wait for the disk.
void Durable::lost_lead() {
  queued_bytes_ = alone_ = 0;
  for (Proposal& proposal : std::exchange(queue_, {})) proposal.done(not_leading());
}

// What was proposed the others may agree on, or not; for a while it is waited for one of both to be seen
// here.
void Durable::give_up_waiting() {
  if (standing_.role == raft::Role::leader || waiting_.empty()) return;
  if (++lost_ticks_ < options_.unknown_ticks) return;
  for (auto& [index, waiting] : std::exchange(waiting_, {})) {
    waiting.proposal.done(
        PLANTED("given_up_is_undone")
            ? overtaken()
            : fail(Errc::timeout,
                   "whether this was written is unknown: this server lost the lead meanwhile"));
  }
}

std::unexpected<Error> Durable::not_leading() const {
  const bool known = replica_.core().standing().leader != 0;
  return fail(Errc::unavailable, known ? "another server leads, and this was not written; try again"
                                       : "no server leads now, and this was not written; try again");
}

Result<> Durable::fits_term(raft::Term only_in) const {
  const raft::Standing& now = replica_.core().standing();
  if (only_in == 0 || (now.role == raft::Role::leader && now.term == only_in)) return {};
  return fail(Errc::unavailable,
              strf("decided in term %llu, and this is term %llu: not written, decide again",
                   static_cast<unsigned long long>(only_in), static_cast<unsigned long long>(now.term)));
}

void Durable::complaint(const std::string& what) { log::warning("raft", {{"complaint", what}}); }

void Durable::read_done(const raft::ReadDone& read) {
  if (asking_ != read.id) return;
  asking_.reset();
  const bool refused = LIMPET_FAILPOINT("store.barrier.confirm");
  for (Barrier& done : std::exchange(asking_for_, {})) {
    if (read.index == 0 || refused) {
      done(fail(Errc::unavailable, "no leader confirmed the read; try again"));
    } else {
      confirmed_.emplace(read.index, Confirmed{std::move(done), loop_.now_ms() + kConfirmedMs});
    }
  }
  settle_reads();
  ask_soon();
}

void Durable::settle_reads() {
  while (!confirmed_.empty() && confirmed_.begin()->first <= replica_.applied().index) {
    auto done = std::move(confirmed_.begin()->second.done);
    confirmed_.erase(confirmed_.begin());
    done({});
  }
}

// A member that is cut off, or left out, may never come to what was confirmed to it.
void Durable::expire_reads() {
  std::vector<std::function<void(Result<>)>> late;
  for (auto it = confirmed_.begin(); it != confirmed_.end();) {
    if (it->second.until > loop_.now_ms()) {
      ++it;
    } else {
      late.push_back(std::move(it->second.done));
      it = confirmed_.erase(it);
    }
  }
  for (const auto& done : late) done(fail(Errc::unavailable, "this server is behind the others; try again"));
}

void Durable::read_entries(const raft::EntriesWanted& wanted) {
  storage_.call(
      weak_from_this(),
      [wanted](Database& db) -> Result<raft::EntriesRead> {
        raft::EntriesRead out{wanted.peer, wanted.after, 0, {}};
        if (LIMPET_FAILPOINT("store.log.read")) return fail(Errc::io, "failpoint store.log.read");
        TRY(const raft::Term term, db.log_term(wanted.after));
        if (term == 0) return out;
        TRY(out.entries, db.log_after(wanted.after, wanted.upto, wanted.max_bytes));
        // Where the next one is gone, too, a snapshot is what the peer needs.
        if (!out.entries.empty() && out.entries.front().index == wanted.after + 1) out.after_term = term;
        if (out.after_term == 0) out.entries.clear();
        return out;
      },
      [this](Result<raft::EntriesRead> read) {
        if (!read) return fatal(read.error());
        replica_.core().entries_read(std::move(*read));
        replica_.pump();
      });
}

// The snapshot that the peer has begun with, if its revision is still there; else the state as it is.
void Durable::read_chunk(const raft::ChunkWanted& wanted) {
  SnapshotCursor cursor;
  raft::SnapshotMeta meta{wanted.point, {}};
  const auto begun = decode_cursor(wanted.cursor);  // an empty one is none
  const bool goes_on = begun && wanted.point.index <= replica_.applied().index &&
                       (begun->revision > hub_.compacted() || begun->revision == hub_.now()) &&
                       begun->revision <= hub_.now();
  if (goes_on) {
    cursor = *begun;
  } else {
    cursor = {hub_.now(), replica_.core().applied_membership(), ""};
    meta.point = replica_.applied();
  }
  meta.membership = cursor.membership;
  pin(cursor.revision);
  struct Read {
    SnapshotPart part;
    SnapshotCursor next;
  };
  storage_.call(
      weak_from_this(),
      [cursor](Database& db) -> Result<Read> {
        Read out{{}, cursor};
        if (LIMPET_FAILPOINT("store.chunk.read")) return fail(Errc::io, "failpoint store.chunk.read");
        TRY(out.part, db.read_part(out.next));
        return out;
      },
      [this, peer = wanted.peer, meta, from = goes_on ? wanted.cursor : ""](Result<Read> read) {
        note(read);
        raft::ChunkRead out{peer, {}};
        if (read)
          out.chunk = {meta, from, encode(read->next), read->part.end || read->part.rows.empty(),
                       share(encode(read->part))};
        replica_.core().chunk_read(std::move(out));
        replica_.pump();
      });
}

// ---- installing ----

Result<std::shared_ptr<Durable::State>> Durable::read_again(Database& db, size_t cache_bytes) {
  if (LIMPET_FAILPOINT("store.snapshot.reread")) return fail(Errc::io, "failpoint store.snapshot.reread");
  auto out = std::make_shared<State>();
  out->index = std::make_unique<Index>(cache_bytes);
  CHECK_OK(read_state(db, *out->index, out->loaded));
  return out;
}

void Durable::take_over(State& state) {
  index_ = std::move(state.index);
  newest_id_ = state.loaded.newest.id;
  garbage_ = std::move(state.loaded.garbage);
  pins_.clear();
  hub_.begin_anew(revision_of(newest_id_),
                  "this server was given a newer state than the one that was watched");
}

// Whether these were among what the snapshot holds nobody can tell.
void Durable::installed(const raft::SnapshotMeta& meta) {
  while (!waiting_.empty() && waiting_.begin()->first <= meta.point.index) {
    const Waiting waiting = std::move(waiting_.begin()->second);
    waiting_.erase(waiting_.begin());
    waiting.proposal.done(
        fail(Errc::timeout, "whether this was written is unknown: another server led meanwhile"));
  }
  settle_waiting();
  settle_reads();
  pace();
}

// Terms never fall along a log: behind an entry that is applied nothing of an older term can follow.
void Durable::settle_waiting() {
  std::vector<Proposal> gone;
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    if (it->second.term >= replica_.applied().term) {
      ++it;
    } else {
      gone.push_back(std::move(it->second.proposal));
      it = waiting_.erase(it);
    }
  }
  for (const Proposal& proposal : gone) proposal.done(overtaken());
}

std::unexpected<Error> Durable::overtaken() {
  return fail(Errc::unavailable, "another server leads now, and this was not written; try again");
}

// A stop: no message and no tick asks for a write any more, and whoever still waits is told.
void Durable::close_group() {
  closed_ = true;
  pace();
  for (auto& [index, waiting] : std::exchange(waiting_, {}))
    waiting.proposal.done(fail(Errc::timeout, "whether this was written is unknown: this server stops"));
  stop_reads();
}

// What follows a snapshot that is being sent should be there when it has arrived, within a bound.
void Durable::shorten_log(uint64_t bytes) {
  uint64_t most = options_.log_bytes;
  for (const raft::PeerStatus& peer : replica_.core().status().peers) {
    if (peer.state == raft::ProgressState::snapshot) most = kWithSnapshot * options_.log_bytes;
  }
  if (bytes <= most || shortening_log_ || fatal_ || draining_) return;
  shortening_log_ = true;
  storage_.call(
      weak_from_this(),
      [applied = replica_.applied(), keep = most / kRestOfLog](Database& db) -> Result<uint64_t> {
        CHECK_OK(db.compact_log(applied, keep));
        return db.log_bytes();
      },
      [this, bytes](Result<uint64_t> left) {
        shortening_log_ = false;
        if (!left && left.error().code != Errc::exhausted) return fatal(left.error());
        if (left && *left < bytes) shorten_log(*left);
      });
}

}  // namespace limpet::store
