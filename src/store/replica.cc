#include "store/replica.h"

#include <utility>

#include "base/assert.h"
#include "base/planted.h"

namespace limpet::store {
namespace {
constexpr size_t kMaxHeld = 1024;  // the protocol bears the loss of more
}

Replica::Replica(raft::Options options, raft::Start start, Host& host)
    : host_(host), core_(options, start), applied_(start.applied), log_kept_(!core_.alone()) {}

void Replica::pump() {
  // An answer that comes within the call is followed up by the turn that asked.
  if (pumping_ || stopped_) return;
  pumping_ = true;
  for (raft::Batch batch = core_.take(!busy()); !batch.empty() && !stopped_; batch = core_.take(!busy()))
    perform(std::move(batch));
  pumping_ = false;
}

void Replica::perform(raft::Batch batch) {
  host_.trace(batch);
  for (const std::string& complaint : batch.complaints) host_.complaint(complaint);
  if (batch.standing) host_.standing(*batch.standing);
  send(batch.messages);
  for (const raft::EntriesWanted& wanted : batch.entries_wanted) host_.read_entries(wanted);
  for (const raft::ChunkWanted& wanted : batch.chunks_wanted) host_.read_chunk(wanted);
  store(batch);
  for (const raft::ReadDone& read : batch.reads) host_.read_done(read);
}

// The core takes for stable what is only owed: a term, or entries of a group of one that do nothing, which a
// crash would let begin again. Somebody is to hear of it now: it must become so.
bool Replica::indebted() const {
  return (owed_ && !PLANTED("owed_term_is_told")) || (!log_kept_ && !core_.alone());
}

void Replica::send(std::vector<raft::Message>& messages) {
  for (raft::Message& message : messages) {
    if (indebted()) {
      held_.push_back(std::move(message));
      if (held_.size() > kMaxHeld) held_.pop_front();
    } else {
      host_.send(std::move(message));
    }
  }
}

void Replica::store(raft::Batch& batch) {
  const bool something = batch.sequence != 0 || !batch.apply.empty() || batch.unstage || batch.stage;
  if (busy() || (!something && held_.empty())) return;  // busy: the core was not asked for any of it
  writing_ = Writing{{}, batch.sequence};
  Transaction& t = writing_->transaction;
  t.hard_state = batch.hard_state ? batch.hard_state : owed_;
  t.unstage = batch.unstage;
  t.stage = std::move(batch.stage);
  t.install = std::move(batch.install);
  t.append = std::move(batch.append);
  t.apply = std::move(batch.apply);
  // The state that a snapshot brings is known only once it is there.
  LIMPET_ASSERT(t.apply.empty() || (!t.install && t.apply.front().index == applied_.index + 1));
  t.sync = batch.sequence != 0 || t.stage || t.hard_state;
  if (PLANTED("alone_needs_no_sync") && core_.alone()) t.sync = false;
  t.log = !core_.alone() || t.install || t.stage;
  if (t.log && !log_kept_ && !t.install && !PLANTED("log_goes_on_from_the_file")) {
    t.base = applied_;
    t.sync = true;  // somebody may wait to be told of these entries
  }
  const bool changes = !t.apply.empty() && host_.prepare(t.apply);
  if (needless(t, changes)) {
    owed_ = t.hard_state;
    // The file's log of when there were others does not go on with these.
    if (!t.append.empty()) log_kept_ = false;
    return finish(*std::exchange(writing_, std::nullopt));
  }
  submit();
}

// A membership is worth its writing: it says who may ask for the rest.
bool Replica::needless(const Transaction& t, bool changes) {
  if (t.log || changes || t.unstage || !held_.empty()) return false;
  for (const raft::Entry& entry : t.apply) {
    if (entry.kind == raft::EntryKind::membership) return false;
  }
  return true;
}

void Replica::submit() {
  writing_->waits = false;
  host_.write(writing_->transaction, [this](Result<> result) { written(std::move(result)); });
}

void Replica::written(Result<> result) {
  LIMPET_ASSERT(busy());
  if (result) {
    const Writing done = *std::exchange(writing_, std::nullopt);
    owed_.reset();
    log_kept_ = done.transaction.log;
    // Entries may be owed since this was begun, and are written next.
    if (!indebted()) {
      for (raft::Message& message : std::exchange(held_, {})) host_.send(std::move(message));
    }
    finish(done);
    return pump();
  }
  const Errc code = result.error().code;
  // A part of a snapshot that is none, or has no room, is let go; the leader offers it again.
  if (writing_->transaction.stage && (code == Errc::exhausted || code == Errc::invalid_argument)) {
    if (code == Errc::invalid_argument) host_.complaint(result.error().message);
    return let_go(code == Errc::exhausted);
  }
  if (code == Errc::exhausted) return full(result.error());
  stopped_ = true;
}

// The core first: whoever is answered may ask for more at once.
void Replica::finish(const Writing& done) {
  const Transaction& t = done.transaction;
  if (t.install) applied_ = t.install->point;
  if (!t.apply.empty()) applied_ = {t.apply.back().index, t.apply.back().term};
  if (t.stage) core_.chunk_stored(true);
  if (done.sequence != 0) core_.persisted(done.sequence);
  if (!t.apply.empty()) core_.applied(applied_.index);
  if (t.install) host_.installed(*t.install);
  if (!t.apply.empty()) host_.applied();
}

// What else there is goes without it.
void Replica::let_go(bool only_this) {
  Transaction& t = writing_->transaction;
  t.stage.reset();
  if (only_this) {
    core_.chunk_stored(false);
  } else {
    core_.chunk_refused();
  }
  if (writing_->sequence != 0 || !t.apply.empty() || t.unstage) return submit();
  writing_.reset();
  pump();
}

void Replica::full(const Error& error) {
  const Transaction& t = writing_->transaction;
  // Of a group of one; whatever strangers were to be told of it is not so.
  const bool owed_alone = writing_->sequence == 0 && t.apply.empty() && !t.unstage;
  const bool only_log = !t.unstage && !t.install;
  if (owed_alone || (only_log && writing_->sequence != 0 && core_.withdraw(writing_->sequence))) {
    held_.clear();
    const Writing gone = *std::exchange(writing_, std::nullopt);
    if (!gone.transaction.append.empty()) host_.withdrawn(gone.transaction.append.front().index, error);
    return pump();
  }
  writing_->waits = true;
  host_.no_room(error);
}

void Replica::retry() {
  if (writing_ && writing_->waits) submit();
}

}  // namespace limpet::store
