// What a leader knows of one other member, and how fast it may send to it (thesis 10.2.1).
//
//   probe      where the logs agree is not known: one message at a time
//   replicate  it is: messages follow each other without waiting, as many as the window holds
//   snapshot   what it needs next is not in the log any more
#pragma once

#include <deque>
#include <string>

#include "base/planted.h"
#include "raft/types.h"

namespace limpet::raft {

// Appends that were sent and not answered: bounded in number and in bytes.
class Window {
 public:
  bool full(size_t max_messages, size_t max_bytes) const {
    return sent_.size() >= max_messages || bytes_ >= max_bytes;
  }
  void add(Index last, size_t bytes) {
    sent_.push_back({last, bytes});
    bytes_ += bytes;
  }
  void free_to(Index match) {
    while (!sent_.empty() && sent_.front().last <= match) {
      bytes_ -= sent_.front().bytes;
      sent_.pop_front();
    }
  }
  void clear() {
    sent_.clear();
    bytes_ = 0;
  }

 private:
  struct Sent {
    Index last;
    size_t bytes;
  };
  std::deque<Sent> sent_;
  size_t bytes_ = 0;
};

enum class ProgressState : uint8_t { probe, replicate, snapshot };

struct Progress {
  ProgressState state = ProgressState::probe;
  Index match = 0;         // on its stable storage
  Index next = 1;          // the first entry to send; above match
  SnapshotPoint snapshot;  // that is being sent
  bool waiting = false;    // probe: one message is under way
  bool reading = false;    // the host reads older entries for it
  bool active = false;     // heard of since the leader last looked
  uint64_t round = 0;      // the last heartbeat it answered
  Index commit_sent = 0;   // with the last Append
  Index match_before =
      0;  // at the last but one heartbeat: no news since then is a sign that something was lost
  bool stuck = false;
  uint32_t waiting_ticks = 0;  // snapshot: how long nothing came
  Window window;

  void become(ProgressState to) {
    state = to;
    waiting = false;
    reading =
        reading && PLANTED("old_reading_blocks");  // an answer to what was asked for before comes too late
    waiting_ticks = 0;
    snapshot = {};
    window.clear();
    if (PLANTED("next_below_match") && to == ProgressState::replicate) return;
    if (to == ProgressState::probe || to == ProgressState::replicate) next = match + 1;
  }
};

}  // namespace limpet::raft
