// The shell around the consensus core: does what its batches ask for, in the order that they need it.
//
//   replica.propose(bytes); replica.receive(message); replica.tick(); ...   inputs, as the core has them
//   replica.pump();                                                         then whatever follows from them
//
// One transaction is under way at a time. What the core has to store meanwhile is the next one, so that a
// sync is shared by all who wait for it; messages leave meanwhile, so that a stalled disk does not silence a
// member.
//
// A member that is all of its group stores what an entry does and not the entry, and nothing at all for
// entries that do nothing (a failed precondition, the beginning of a term): nobody else can have seen them.
// What such a transaction would have said goes with the next one.
//
// Knows neither SQLite nor libuv: the store is its host, and so is the simulator (tests/sim) with a model
// disk. All on one thread.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <vector>

#include "base/result.h"
#include "raft/raft.h"

namespace limpet::store {

// What is done to the file, whole or not at all, in this order.
struct Transaction {
  std::optional<raft::HardState> hard_state;
  bool unstage = false;
  std::optional<raft::SnapshotChunk> stage;
  std::optional<raft::SnapshotMeta> install;
  // The state is that of this entry, though nothing was written for the last ones: the log begins after it.
  std::optional<raft::SnapshotPoint> base;
  std::vector<raft::Entry> append;  // the log ends before the first one's index and goes on with these
  bool log = true;                  // false: `append` is not kept, and nothing that the log held
  std::vector<raft::Entry> apply;   // what these do was worked out by prepare()
  bool sync = false;                // must be on stable storage when it is done
};

class Replica {
 public:
  using Done = std::function<void(Result<>)>;

  class Host {
   public:
    virtual ~Host() = default;
    // Works out what these entries do to the state as it is. False: nothing. Each prepare() is followed by
    // one applied(), or by another one when its transaction was not to be.
    virtual bool prepare(const std::vector<raft::Entry>& entries) = 0;
    // Nothing of it is done when the error is `exhausted`. After any other one nobody knows: the replica
    // stops.
    virtual void write(const Transaction& transaction, Done done) = 0;
    // What was prepared is the state now.
    virtual void applied() = 0;
    // There is no room: the entries of this group of one from this index on are not in its log any more. They
    // may be proposed again.
    virtual void withdrawn(raft::Index first, const Error& error) = 0;
    // There is no room, and others count on what was to be written: retry() is wanted when there may be.
    virtual void no_room(const Error& error) = 0;
    virtual void installed(const raft::SnapshotMeta& meta) = 0;  // the staged snapshot is the state now

    virtual void send(raft::Message message) = 0;
    virtual void read_entries(const raft::EntriesWanted& wanted) = 0;  // answered by entries_read()
    virtual void read_chunk(const raft::ChunkWanted& wanted) = 0;      // answered by chunk_read()
    virtual void read_done(const raft::ReadDone& read) = 0;
    virtual void standing(const raft::Standing& standing) = 0;
    virtual void complaint(const std::string& what) = 0;
    virtual void trace(const raft::Batch& batch) { (void)batch; }
  };

  Replica(raft::Options options, raft::Start start, Host& host);

  // The core, for inputs that need no more than a pump() after them.
  raft::Raft& core() { return core_; }
  const raft::Raft& core() const { return core_; }
  void pump();
  void retry();  // after no_room()
  // The last entry that is in the host's state.
  const raft::SnapshotPoint& applied() const { return applied_; }
  // A transaction is under way, or waits for room.
  bool busy() const { return writing_.has_value(); }
  bool waits_for_room() const { return writing_ && writing_->waits; }
  bool stopped() const { return stopped_; }

 private:
  struct Writing {
    Transaction transaction;
    uint64_t sequence = 0;
    bool waits = false;  // for room
  };
  void perform(raft::Batch batch);
  bool indebted() const;
  void send(std::vector<raft::Message>& messages);
  void store(raft::Batch& batch);
  bool needless(const Transaction& t, bool changes);
  void submit();
  void written(Result<> result);
  void let_go(bool only_this);
  void full(const Error& error);
  void finish(const Writing& done);

  Host& host_;
  raft::Raft core_;
  std::optional<Writing> writing_;
  std::optional<raft::HardState> owed_;  // not stored, as nothing rests on it yet
  std::deque<raft::Message> held_;       // until nothing is owed, of entries either: indebted()
  raft::SnapshotPoint applied_;
  bool log_kept_;  // the file's log goes on from the state that the file has
  bool pumping_ = false;
  bool stopped_ = false;
};

}  // namespace limpet::store
