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

#include "clockwork.h"
#include "raft/types.h"

namespace sim {

namespace raft = limpet::raft;

// The state machine: keys with the value that was last put, and how it came to be.
struct Machine {
  std::map<std::string, std::string> values;
  uint64_t hash = 0;  // of all entries that were applied, in order

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
};

struct Transaction {
  std::optional<raft::HardState> hard_state;
  std::optional<raft::SnapshotMeta> install;
  std::vector<raft::Entry> append, apply;
  std::optional<raft::SnapshotChunk> stage;
  bool unstage = false;
  raft::Index compact_to = 0;  // 0: nothing
  bool sync = false;

  void on(Contents& contents) const;
};

class Disk {
 public:
  struct Speed {
    Time execute = 100, sync_low = 500, sync_high = 5000;
  };
  Disk(Clockwork& clock, Speed speed) : clock_(clock), speed_(speed) {}

  void submit(Transaction t, std::function<void()> done);
  void stall_until(Time when) { stalled_until_ = std::max(stalled_until_, when); }
  // The machine stops: nothing more is done and nobody is told.
  void crash();
  void set_up(raft::Membership membership);  // a first member's empty disk
  const Contents& live() const { return live_; }
  const Contents& stable() const { return stable_; }

 private:
  struct Job {
    Transaction t;
    std::function<void()> done;
  };
  void work();
  void finish(bool sync);

  Clockwork& clock_;
  Speed speed_;
  Contents live_, stable_;
  std::deque<Transaction> unsynced_;  // executed, in order
  std::deque<Job> jobs_, group_;      // waiting; being executed
  bool busy_ = false;
  uint64_t life_ = 0;
  Time stalled_until_ = 0;
};

}  // namespace sim
