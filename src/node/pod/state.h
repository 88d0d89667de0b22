// What is known of a pod on this device: the memory of its worker, and the input of the pure functions that
// decide (actions.h) and report (status.h). Times: *_ms are monotonic, WallTime is for people.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "node/runtime/runtime.h"

namespace limpet::node {

// The delay that people know: none before the first retry, then 10 s doubling to 5 min; forgotten after 10
// quiet minutes.
class Backoff {
 public:
  static constexpr int64_t kFirstMs = 10'000, kMostMs = 300'000;
  // A retry begins now: the next one waits longer.
  void step(int64_t now_ms) {
    if (delay_ms_ > 0 && now_ms - updated_ms_ > 2 * kMostMs) delay_ms_ = 0;
    delay_ms_ = delay_ms_ == 0 ? kFirstMs : delay_ms_ * 2 < kMostMs ? delay_ms_ * 2 : kMostMs;
    updated_ms_ = now_ms;
  }
  // When a retry may begin, for a failure at since_ms.
  int64_t until(int64_t since_ms, int64_t now_ms) const {
    if (delay_ms_ == 0 || now_ms - updated_ms_ > 2 * kMostMs) return since_ms;
    return since_ms + delay_ms_;
  }
  int64_t delay_ms() const { return delay_ms_; }
  void clear() { delay_ms_ = 0; }

 private:
  int64_t delay_ms_ = 0, updated_ms_ = 0;
};

// How a run ended.
struct Terminated {
  std::string container_id;
  int exit_code = 0, signal = 0;
  std::string reason, message;
  WallTime started_at, finished_at;
};

// One container of the pod, over all its runs.
struct ContainerRecord {
  enum class Phase {
    waiting,   // nothing in the runtime (yet, or again)
    starting,  // an operation is under way: pull, create, start
    running,
    stopping,  // the stop was asked for; ends in exited
    exited,
  };
  Phase phase = Phase::waiting;
  std::string waiting_reason, waiting_message;  // phase waiting; empty reason: not tried yet
  std::string id;                               // in the runtime; of the current or last run
  int restart_count = 0;
  bool ran_before = false;                   // an earlier run exists, so that the next start is a restart
  std::string image_id, repo_digest, image;  // of the current or last run
  WallTime started_at;
  int64_t started_ms = 0;
  std::optional<Terminated> exit;  // phase exited: how the current run ended
  int64_t exited_ms = 0;
  std::optional<Terminated> last;  // the run before the current one
  bool started = false;            // startup probe passed, post-start hook done
  bool ready = false;
  std::string kill_message;      // stopping: why, for the event
  int64_t kill_deadline_ms = 0;  // stopping: SIGKILL is sent then
  Backoff crash;
  Backoff pull;
  // Evidence that the image below is damaged ("exec format error"): it is checked before the next start.
  std::string damage_evidence;
  // It ran when the device stopped: the same image again, without asking a registry that may not be in reach.
  bool interrupted = false;
  std::string checked_image;  // id of the image last checked because a program of it crashed; once is enough
  int64_t failed_ms = 0;      // waiting after a failure: when it failed
  // A person asked for it: when it has ended it is started again at once, whatever its policy says.
  bool restart_asked = false;
};

// A step of setting up the pod that is done once and retried when it fails.
struct Step {
  enum class State { none, busy, done } state = State::none;
  int64_t failed_ms = -1;  // last failure; -1: never
  Backoff backoff;
  std::string reason, message;
  bool is_done() const { return state == State::done; }
};

// Why a pod ends before its containers did (deadline, eviction, refusal).
struct PodFailure {
  std::string reason, message;
};

struct PodState {
  Step volumes, sandbox, network;
  SandboxInfo sandbox_info;
  std::vector<std::string> ips;
  std::map<std::string, ContainerRecord> containers;
  std::optional<PodFailure> failure;
  bool initialized = false;   // all init containers ran to their end in this sandbox
  bool end_reported = false;  // the API knows how the pod ended
  bool cleanup_busy = false;
  Step cleanup;           // only its back-off: what could not be undone is tried again
  bool cleaned = false;   // after the end: nothing of it is left in runtime, network and volumes
  bool terminal = false;  // phase is Succeeded or Failed and will stay so
  WallTime start_time;    // seen by this device first
  int64_t start_ms = 0;
};

}  // namespace limpet::node
