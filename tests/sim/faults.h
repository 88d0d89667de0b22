// What went wrong in the runs of a simulator, by kind: what was done to the group, and what came of that.
// Counting draws nothing: a seed is the same run with it and without.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "raft/types.h"

namespace sim {

enum class Fault : uint8_t {
  // Done to it.
  loss,               // a message, by chance
  duplicate,          // a message, sent twice
  delay,              // a message, beyond what all take
  partition,          // paths cut both ways
  partition_one_way,  // or one way only
  crash,              // a machine stops: what was not synced may be gone
  kill,               // a process: the kernel keeps what it wrote
  stop,               // clean
  failpoint,          // killed there, or its error path taken
  pause,              // a process stands still
  stall,              // a disk does
  full,               // no transaction has room for a while
  no_room,            // one part of a snapshot has none
  wipe,               // all that a disk held is lost
  rot,                // a bit on it is another one
  drift,              // a clock that runs too fast or too slowly
  clock_stop,         // one that stands still
  clock_jump,
  membership,  // a change that a leader took
  transfer,    // of the lead, that a leader took
  // Came of it.
  reorder,    // a message that came after one that was sent later
  cut_off,    // a message that came to a cut
  unsynced,   // a crash that lost what was written
  torn,       // one that left a part of a write
  rot_found,  // and the file refused
  restart,
  snapshot,  // sent to its end
};
constexpr size_t kFaults = static_cast<size_t>(Fault::snapshot) + 1;

enum class Simulator : uint8_t { core = 1, stores = 2 };

class Faults {
 public:
  void count(Fault kind, uint64_t n = 1) { counts_[static_cast<size_t>(kind)] += n; }
  void add(const Faults& other);
  uint64_t done() const;  // to the groups, of all kinds
  // "faults by kind: loss=1 ...; seen: reorder=2 ...", with each kind that this simulator has, also those
  // that did not happen: parts of a run are added up name by name.
  std::string text(Simulator of) const;

 private:
  std::array<uint64_t, kFaults> counts_{};
};

// The order of messages between two members.
class Paths {
 public:
  uint64_t sent(limpet::raft::MemberId from, limpet::raft::MemberId to) { return ++paths_[{from, to}].sent; }
  // Whether one that was sent after this one came before it.
  bool overtaken(limpet::raft::MemberId from, limpet::raft::MemberId to, uint64_t number);

 private:
  struct Path {
    uint64_t sent = 0, came = 0;
  };
  std::map<std::pair<limpet::raft::MemberId, limpet::raft::MemberId>, Path> paths_;
};

}  // namespace sim
