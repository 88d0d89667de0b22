// What SQLite promises of one file in WAL mode, as a model: transactions happen whole and in order; a sync
// makes all before it stable; a crash keeps what was synced and some prefix of what was not.
//
// One worker executes transactions one after the other, as the storage thread does, and tells when each is
// done.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "breach.h"
#include "clockwork.h"
#include "store/replica.h"

namespace sim {

namespace raft = limpet::raft;
namespace store = limpet::store;

// The state machine: keys with the value that was last put, and how it came to be.
struct Machine {
  std::map<std::string, std::string> values;
  uint64_t hash = 0;  // of all entries that changed something, in order

  // Whether it changes anything: the beginning of a term does not.
  static bool changes(const raft::Entry& entry);
  void apply(const raft::Entry& entry);
  std::string to_bytes() const;
  static Machine from_bytes(const std::string& bytes);
};

struct Contents {
  raft::HardState hard_state;
  raft::Index log_start = 0;  // the entry before the first one that is kept
  raft::Term log_start_term = 0;
  std::deque<raft::Entry> log;
  raft::SnapshotPoint applied;
  raft::Membership membership;
  raft::Index membership_index = 0;
  Machine machine;
  std::optional<raft::Staged> staged;
  std::string staged_bytes;
  uint64_t installed_hash = 0;   // of the state machine as the last snapshot brought it
  std::vector<uint64_t> hashes;  // of the state machine after each entry that the last transaction applied

  raft::Index last() const { return log_start + log.size(); }
  const raft::Entry* entry(raft::Index index) const;
  std::optional<raft::Term> term(raft::Index index) const;
  uint64_t checksum() const;
};

// What one job does to it.
struct Change {
  store::Transaction transaction;
  raft::Index compact_to = 0;  // 0: nothing
  // Of a planted bug: the state and the index that says what is in it in a transaction each.
  enum class Part : uint8_t { whole, state, index } part = Part::whole;

  void on(Contents& contents) const;
};

class Disk {
 public:
  struct Speed {
    Time execute = 100, sync_low = 500, sync_high = 5000;
  };
  Disk(Clockwork& clock, Speed speed) : clock_(clock), speed_(speed) {}

  void submit(store::Transaction t, store::Replica::Done done);
  void compact(raft::Index to);
  void stall_until(Time when) { stalled_until_ = std::max(stalled_until_, when); }
  // No transaction has room until then.
  void full_until(Time when) { full_until_ = std::max(full_until_, when); }
  // The machine stops: nothing more is done and nobody is told. True: something that was written is lost.
  bool crash();
  // Of a machine that stopped: one bit of an entry or of the record of the group is another one.
  void rot();
  // Checksums say so: what a machine finds when it starts is what was there when it stopped.
  bool sound() const { return !sum_ || *sum_ == stable_.checksum(); }
  void set_up(raft::Membership membership);  // a first member's empty disk
  const Contents& live() const { return live_; }
  const Contents& stable() const { return stable_; }

 private:
  struct Job {
    Change change;
    store::Replica::Done done;
  };
  void work();
  void executed(const Change& change);
  void finish(bool sync);

  Clockwork& clock_;
  Speed speed_;
  Contents live_, stable_;
  std::deque<Change> unsynced_;   // executed, in order
  std::deque<Job> jobs_, group_;  // waiting; being executed
  bool busy_ = false;
  uint64_t life_ = 0;
  Time stalled_until_ = 0, full_until_ = 0;
  std::optional<uint64_t> sum_;  // when it stopped
};

}  // namespace sim
