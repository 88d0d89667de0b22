#include "node/pod/actions.h"

#include <algorithm>

namespace limpet::node {

namespace {

using Phase = ContainerRecord::Phase;

const ContainerRecord kUntouched;
constexpr int64_t pull_error_shown_ms = 2'000;

const ContainerRecord& record(const PodState& state, const std::string& name) {
  const auto it = state.containers.find(name);
  return it == state.containers.end() ? kUntouched : it->second;
}

bool alive(const ContainerRecord& r) {
  return r.phase == Phase::running || r.phase == Phase::starting || r.phase == Phase::stopping;
}

// The image is the one part of a container that can be changed while it runs.
bool changed(const ContainerSpec& c, const ContainerRecord& r) {
  return c.kind == ContainerKind::regular && !r.image.empty() && r.image != c.image;
}

// Whether a container that ended is run again.
bool restarts(const PodSpec& pod, const ContainerSpec& c, const ContainerRecord& r) {
  if (c.kind == ContainerKind::sidecar) return true;
  if (c.kind == ContainerKind::ephemeral) return false;
  if (r.restart_asked) return true;
  if (changed(c, r)) return true;
  const bool failed = !r.exit || r.exit->exit_code != 0;
  if (c.kind == ContainerKind::init) return failed && pod.restart_policy != RestartPolicy::never;
  return pod.restart_policy == RestartPolicy::always ||
         (pod.restart_policy == RestartPolicy::on_failure && failed);
}

bool init_failed_for_good(const PodSpec& pod, const PodState& state) {
  return std::any_of(pod.containers.begin(), pod.containers.end(), [&](const ContainerSpec& c) {
    if (c.kind != ContainerKind::init || state.initialized) return false;
    const ContainerRecord& r = record(state, c.name);
    return r.phase == Phase::exited && r.exit && r.exit->exit_code != 0 && !restarts(pod, c, r);
  });
}

std::string seconds(int64_t ms) {
  const int64_t s = ms / 1000;
  if (s < 60) return std::to_string(s) + "s";
  return std::to_string(s / 60) + "m" + std::to_string(s % 60) + "s";
}

void wake_at(PodActions* a, int64_t at_ms) {
  if (a->wake_ms < 0 || at_ms < a->wake_ms) a->wake_ms = at_ms;
}

// A step that failed is tried again after its back-off. True: begin it now.
bool due(const Step& step, int64_t now_ms, PodActions* a) {
  if (step.state != Step::State::none) return false;
  if (step.failed_ms < 0) return true;
  const int64_t at = step.backoff.until(step.failed_ms, now_ms);
  if (now_ms >= at) return true;
  wake_at(a, at);
  return false;
}

// Starts the container unless its back-off holds it. Waiting texts are those of the kubelet.
void start_or_wait(const PodSpec& pod, const ContainerSpec& c, const ContainerRecord& r, int64_t now_ms,
                   PodActions* a) {
  const std::string who = "container=" + c.name + " pod=" + pod.name + "_" + pod.ns + "(" + pod.uid + ")";
  if (r.phase == Phase::exited) {
    const int64_t at = r.crash.until(r.exited_ms, now_ms);
    if (now_ms < at) {
      wake_at(a, at);
      a->wait.push_back({c.name, "CrashLoopBackOff",
                         "back-off " + seconds(r.crash.delay_ms()) + " restarting failed " + who});
      return;
    }
  }
  if (r.phase == Phase::waiting && r.failed_ms > 0) {
    const int64_t at = r.pull.until(r.failed_ms, now_ms);
    if (now_ms < at) {
      wake_at(a, at);
      // The failure itself is shown for a moment, so that people and watches see it, then that it is being
      // waited out.
      if (r.waiting_reason == "ErrImagePull" && now_ms < r.failed_ms + pull_error_shown_ms) {
        wake_at(a, r.failed_ms + pull_error_shown_ms);
      } else if (r.waiting_reason == "ErrImagePull") {
        a->wait.push_back(
            {c.name, "ImagePullBackOff", "Back-off pulling image \"" + c.image + "\": " + r.waiting_message});
      }
      return;
    }
  }
  a->start.push_back(c.name);
}

// The grace period of a stop: what the deletion says, else the pod's.
int64_t grace_of(const PodSpec& pod) {
  return pod.deletion ? pod.deletion->grace_s : pod.termination_grace_s;
}

void stop_one(const ContainerSpec& c, const ContainerRecord& r, int64_t grace_s, const std::string& message,
              int64_t now_ms, PodActions* a) {
  if (r.phase == Phase::running || r.phase == Phase::starting) a->stop.push_back({c.name, grace_s, message});
  // Deleted again with less grace while stopping: hurry.
  if (r.phase == Phase::stopping && r.kill_deadline_ms > now_ms + grace_s * 1000) {
    a->stop.push_back({c.name, grace_s, message});
  }
}

// Stops everything: containers first, then the sidecars from the last to the first, each after the one before
// ended. True when nothing runs any more.
bool stop_all(const PodSpec& pod, const PodState& state, const std::string& message, int64_t now_ms,
              PodActions* a) {
  bool busy = false;
  for (const ContainerSpec& c : pod.containers) {
    if (c.kind == ContainerKind::sidecar) continue;
    const ContainerRecord& r = record(state, c.name);
    if (!alive(r)) continue;
    busy = true;
    stop_one(c, r, grace_of(pod), message, now_ms, a);
  }
  if (busy) return false;
  for (auto c = pod.containers.rbegin(); c != pod.containers.rend(); ++c) {
    if (c->kind != ContainerKind::sidecar) continue;
    const ContainerRecord& r = record(state, c->name);
    if (!alive(r)) continue;
    stop_one(*c, r, grace_of(pod), message, now_ms, a);
    return false;
  }
  return true;
}

// The way down, for a pod that is deleted or has ended. Logs and status stay until the object goes.
void wind_up(const PodSpec& pod, const PodState& state, const std::string& message, int64_t now_ms,
             PodActions* a) {
  if (!stop_all(pod, state, message, now_ms, a)) return;
  // A step of setting up that is under way ends first, so that it cannot come after its own undoing.
  for (const Step* step : {&state.volumes, &state.sandbox, &state.network}) {
    if (step->state == Step::State::busy) return;
  }
  if (!state.cleaned) {
    // What the runtime keeps is the only record of how the pod ended until the API has it.
    if (!pod.deletion && !state.terminal && !state.end_reported) return;
    a->clean_up = !state.cleanup_busy && due(state.cleanup, now_ms, a);
    return;
  }
  if (pod.deletion) a->confirm_deletion = true;
}

// Init containers and sidecars in order. True when all are through and containers may run.
bool run_init(const PodSpec& pod, const PodState& state, int64_t now_ms, PodActions* a) {
  for (const ContainerSpec& c : pod.containers) {
    const ContainerRecord& r = record(state, c.name);
    if (c.kind == ContainerKind::sidecar) {
      if (r.phase == Phase::waiting || r.phase == Phase::exited) start_or_wait(pod, c, r, now_ms, a);
      if (!state.initialized && !(r.phase == Phase::running && r.started)) return false;
      continue;
    }
    if (c.kind != ContainerKind::init || state.initialized) continue;
    if (r.phase == Phase::exited && r.exit && r.exit->exit_code == 0) continue;
    if (r.phase == Phase::waiting || r.phase == Phase::exited) start_or_wait(pod, c, r, now_ms, a);
    return false;
  }
  return true;
}

void run_containers(const PodSpec& pod, const PodState& state, int64_t now_ms, PodActions* a) {
  for (const ContainerSpec& c : pod.containers) {
    if (c.kind != ContainerKind::regular && c.kind != ContainerKind::ephemeral) continue;
    const ContainerRecord& r = record(state, c.name);
    if (r.phase == Phase::running && changed(c, r)) {
      a->stop.push_back({c.name, pod.termination_grace_s,
                         "Container " + c.name + " definition changed, will be restarted"});
    }
    const bool again = r.phase == Phase::exited && restarts(pod, c, r);
    if (r.phase == Phase::waiting || again) start_or_wait(pod, c, r, now_ms, a);
  }
}

void set_up_and_run(const PodSpec& pod, const PodState& state, int64_t now_ms, PodActions* a) {
  a->prepare_volumes = due(state.volumes, now_ms, a);
  if (!state.volumes.is_done()) return;
  a->create_sandbox = due(state.sandbox, now_ms, a);
  if (!state.sandbox.is_done()) return;
  a->attach_network = !pod.host_network && due(state.network, now_ms, a);
  if (!pod.host_network && !state.network.is_done()) return;
  if (!run_init(pod, state, now_ms, a)) return;
  a->now_initialized = !state.initialized;
  run_containers(pod, state, now_ms, a);
}

}  // namespace

bool has_ended(const PodSpec& pod, const PodState& state) {
  if (state.end_reported || state.failure || init_failed_for_good(pod, state)) return true;
  if (!state.initialized) return false;
  return std::all_of(pod.containers.begin(), pod.containers.end(), [&](const ContainerSpec& c) {
    if (c.kind != ContainerKind::regular) return true;
    const ContainerRecord& r = record(state, c.name);
    return r.phase == Phase::exited && !restarts(pod, c, r);
  });
}

PodActions compute_actions(const PodSpec& pod, const PodState& state, int64_t now_ms) {
  PodActions a;
  if (pod.deletion) {
    wind_up(pod, state, "Stopping container", now_ms, &a);
    return a;
  }
  if (state.terminal || has_ended(pod, state)) {
    wind_up(pod, state, "Stopping container", now_ms, &a);
    return a;
  }
  if (pod.active_deadline_s) {
    const int64_t at = state.start_ms + *pod.active_deadline_s * 1000;
    if (now_ms >= at) {
      a.fail =
          PodFailure{"DeadlineExceeded", "Pod was active on the node longer than the specified deadline"};
      return a;
    }
    wake_at(&a, at);
  }
  set_up_and_run(pod, state, now_ms, &a);
  return a;
}

std::string PodActions::text() const {
  std::string out;
  const auto add = [&](const std::string& word) { out += (out.empty() ? "" : " ") + word; };
  if (fail) add("fail(" + fail->reason + ")");
  if (prepare_volumes) add("volumes");
  if (create_sandbox) add("sandbox");
  if (attach_network) add("network");
  if (now_initialized) add("initialized");
  for (const std::string& name : start) add("start(" + name + ")");
  for (const Stop& s : stop) add("stop(" + s.container + "," + std::to_string(s.grace_s) + ")");
  for (const Wait& w : wait) add("wait(" + w.container + "," + w.reason + ")");
  if (clean_up) add("clean_up");
  if (confirm_deletion) add("confirm_deletion");
  if (wake_ms >= 0) add("wake@" + std::to_string(wake_ms));
  return out;
}

}  // namespace limpet::node
