#include "node/pod/status.h"

#include <algorithm>

#include "node/pod/actions.h"

namespace limpet::node {

namespace {

using json::Cursor;
using json::Ref;
using json::Value;
using Phase = ContainerRecord::Phase;

const ContainerRecord kNone;

const ContainerRecord& record(const PodState& state, const std::string& name) {
  const auto it = state.containers.find(name);
  return it == state.containers.end() ? kNone : it->second;
}

// Kubernetes names containers with the runtime that owns them.
std::string runtime_id(const std::string& id) { return id.empty() ? "" : "limpet://" + id; }

Value terminated(const Terminated& t) {
  Value v = Value::object();
  Ref r = v;
  r.set("exitCode", t.exit_code);
  if (t.signal) r.set("signal", t.signal);
  r.set("reason", t.reason.empty() ? (t.exit_code == 0 ? "Completed" : "Error") : t.reason);
  if (!t.message.empty()) r.set("message", t.message);
  if (t.started_at.seconds) r.set("startedAt", rfc3339(t.started_at));
  if (t.finished_at.seconds) r.set("finishedAt", rfc3339(t.finished_at));
  r.set("containerID", runtime_id(t.container_id));
  return v;
}

Value waiting(const std::string& reason, const std::string& message) {
  Value v = Value::object();
  v.ref().set("reason", reason);
  if (!message.empty()) v.ref().set("message", message);
  return v;
}

bool before_containers(const ContainerSpec& c) {
  return c.kind == ContainerKind::init || c.kind == ContainerKind::sidecar;
}

// The reason of a container that nothing was done for yet: the pod is being set up, or init containers are
// on.
std::string idle_reason(const PodSpec& pod, const PodState& state) {
  const bool has_init = std::any_of(pod.containers.begin(), pod.containers.end(), before_containers);
  return has_init && !state.initialized ? "PodInitializing" : "ContainerCreating";
}

// The end of the last run stands as the state until something newer is known: a restart under way, whose
// container is made and counted, or a reason to wait.
bool shows_exit(const ContainerRecord& r) {
  if (r.exit && r.phase == Phase::starting && r.exit->container_id != r.id) return false;
  return r.exit && r.waiting_reason.empty() && r.phase != Phase::running && r.phase != Phase::stopping;
}

Value container_state(const PodSpec& pod, const PodState& state, const ContainerRecord& r) {
  Value v = Value::object();
  Ref out = v;
  if (r.phase == Phase::running || r.phase == Phase::stopping) {
    out.set("running", Value::object()).set("startedAt", rfc3339(r.started_at));
  } else if (shows_exit(r)) {
    out.set("terminated", terminated(*r.exit));
  } else if (!r.waiting_reason.empty()) {
    out.set("waiting", waiting(r.waiting_reason, r.waiting_message));
  } else if (state.terminal || state.failure) {
    // It never ran and never will.
    Terminated t;
    t.exit_code = 137;
    t.reason = "ContainerStatusUnknown";
    t.message = "The container could not be located when the pod was terminated";
    out.set("terminated", terminated(t));
  } else {
    out.set("waiting", waiting(idle_reason(pod, state), ""));
  }
  return v;
}

// The run before the one that `state` shows: while a container waits for its restart, that is the run that
// just ended.
const Terminated* last_run(const ContainerRecord& r) {
  const bool running = r.phase == Phase::running || r.phase == Phase::stopping;
  if (r.exit && !running && !shows_exit(r)) return &*r.exit;
  return r.last ? &*r.last : nullptr;
}

Value container_status(const PodSpec& pod, const PodState& state, const ContainerSpec& c) {
  const ContainerRecord& r = record(state, c.name);
  Value v = Value::object();
  Ref out = v;
  out.set("name", c.name);
  out.set("state", container_state(pod, state, r));
  Ref last = out.set("lastState", Value::object());
  if (const Terminated* t = last_run(r)) last.set("terminated", terminated(*t));
  // A finished init container counts as ready: the pod got past it.
  const bool init_done =
      c.kind == ContainerKind::init && r.phase == Phase::exited && r.exit && r.exit->exit_code == 0;
  out.set("ready", init_done || is_ready(r));
  out.set("restartCount", r.restart_count);
  out.set("image", r.image.empty() ? c.image : r.image);
  out.set("imageID", r.repo_digest.empty() ? r.image_id : r.repo_digest);
  if (!r.id.empty()) out.set("containerID", runtime_id(r.id));
  if (!c.stop_signal.empty()) out.set("stopSignal", c.stop_signal);
  out.set("started", (r.phase == Phase::running || r.phase == Phase::stopping) && r.started);
  return v;
}

struct Condition {
  std::string type;
  bool status = false;
  std::string reason, message;
};

std::string names_text(const std::vector<std::string>& names) {
  std::string out = "[";
  for (const std::string& n : names) out += (out.size() > 1 ? " " : "") + n;
  return out + "]";
}

Condition initialized_condition(const PodSpec& pod, const PodState& state, const std::string& phase) {
  Condition c{"Initialized", true, "", ""};
  if (state.initialized) return c;
  std::vector<std::string> missing;
  for (const ContainerSpec& s : pod.containers) {
    if (!before_containers(s)) continue;
    const ContainerRecord& r = record(state, s.name);
    const bool done = s.kind == ContainerKind::init
                          ? r.phase == Phase::exited && r.exit && r.exit->exit_code == 0
                          : r.phase == Phase::running && r.started;
    if (!done) missing.push_back(s.name);
  }
  if (missing.empty()) return c;
  if (phase == "Failed") return {"Initialized", false, "PodFailed", ""};
  return {"Initialized", false, "ContainersNotInitialized",
          "containers with incomplete status: " + names_text(missing)};
}

Condition containers_ready(const PodSpec& pod, const PodState& state, const std::string& phase) {
  if (phase == "Succeeded") return {"ContainersReady", false, "PodCompleted", ""};
  if (phase == "Failed") return {"ContainersReady", false, "PodFailed", ""};
  std::vector<std::string> unready;
  for (const ContainerSpec& s : pod.containers) {
    if (s.kind != ContainerKind::regular && s.kind != ContainerKind::sidecar) continue;
    if (!is_ready(record(state, s.name))) unready.push_back(s.name);
  }
  if (unready.empty()) return {"ContainersReady", true, "", ""};
  return {"ContainersReady", false, "ContainersNotReady",
          "containers with unready status: " + names_text(unready)};
}

Cursor find_condition(Cursor previous, std::string_view type) {
  Cursor found;
  previous["conditions"].each([&](std::string_view, Cursor c) {
    if (!c["type"].str_equals(type)) return true;
    found = c;
    return false;
  });
  return found;
}

Condition ready_condition(const PodSpec& pod, const Condition& containers, Cursor previous) {
  Condition c = containers;
  c.type = "Ready";
  if (!c.status) return c;
  for (const std::string& gate : pod.readiness_gates) {
    const Cursor g = find_condition(previous, gate);
    if (!g["status"].str_equals("True")) {
      return {"Ready", false, "ReadinessGatesNotReady",
              g ? "the status of pod readiness gate \"" + gate + "\" is not \"True\", but " +
                      g["status"].str("False")
                : "corresponding condition of pod readiness gate \"" + gate + "\" does not exist."};
    }
  }
  return c;
}

void add_condition(Ref list, const Condition& c, Cursor previous, WallTime now) {
  const Cursor old = find_condition(previous, c.type);
  const char* status = c.status ? "True" : "False";
  Ref out = list.push(Value::object());
  out.set("type", c.type);
  out.set("status", status);
  const bool same = old["status"].str_equals(status) && old["lastTransitionTime"];
  out.set("lastTransitionTime", same ? old["lastTransitionTime"].str() : rfc3339(now));
  if (!c.reason.empty()) out.set("reason", c.reason);
  if (!c.message.empty()) out.set("message", c.message);
}

Value conditions(const PodSpec& pod, const PodState& state, const std::string& phase, Cursor previous,
                 WallTime now) {
  Value v = Value::array();
  const Condition containers = containers_ready(pod, state, phase);
  const bool network = pod.host_network ? state.sandbox.is_done() : state.network.is_done();
  const Condition own[] = {{"PodReadyToStartContainers", network && !state.cleaned, "", ""},
                           initialized_condition(pod, state, phase),
                           ready_condition(pod, containers, previous),
                           containers,
                           {"PodScheduled", true, "", ""}};
  for (const Condition& c : own) add_condition(v, c, previous, now);
  previous["conditions"].each([&](std::string_view, Cursor old) {
    const std::string type = old["type"].str();
    if (is_own_condition(type)) return true;
    if (auto kept = json::parse(old.raw())) v.ref().push(std::move(*kept));
    return true;
  });
  return v;
}

void set_addresses(Ref out, const PodSpec& pod, const PodState& state, const HostInfo& host) {
  const auto list = [&](const char* one, const char* many, const std::vector<std::string>& ips) {
    if (ips.empty()) return;
    out.set(one, ips[0]);
    Ref items = out.set(many, Value::array());
    for (const std::string& ip : ips) items.push(Value::object()).set("ip", ip);
  };
  list("hostIP", "hostIPs", host.ips);
  list("podIP", "podIPs", pod.host_network ? host.ips : state.ips);
}

void set_container_lists(Ref out, const PodSpec& pod, const PodState& state) {
  for (const ContainerSpec& c : pod.containers) {
    const char* list = before_containers(c)                 ? "initContainerStatuses"
                       : c.kind == ContainerKind::ephemeral ? "ephemeralContainerStatuses"
                                                            : "containerStatuses";
    out.ensure_array(list).push(container_status(pod, state, c));
  }
}

}  // namespace

bool is_own_condition(std::string_view type) {
  static constexpr std::string_view kOwn[] = {"PodReadyToStartContainers", "Initialized", "Ready",
                                              "ContainersReady", "PodScheduled"};
  return std::find(std::begin(kOwn), std::end(kOwn), type) != std::end(kOwn);
}

bool is_ready(const ContainerRecord& r) { return r.phase == Phase::running && r.started && r.ready; }

std::string pod_phase(const PodSpec& pod, const PodState& state) {
  const auto is = [&](const ContainerRecord& r, std::initializer_list<Phase> phases) {
    return std::find(phases.begin(), phases.end(), r.phase) != phases.end();
  };
  const bool alive = std::any_of(state.containers.begin(), state.containers.end(), [&](const auto& e) {
    return is(e.second, {Phase::starting, Phase::running, Phase::stopping});
  });
  // Controllers take a final phase as word that nothing runs any more: it is said when that is true.
  if (!alive && state.failure) return "Failed";
  const bool deleted_and_stopped = pod.deletion && !alive &&
                                   std::any_of(state.containers.begin(), state.containers.end(),
                                               [](const auto& e) { return e.second.exit.has_value(); });
  if (!alive && (deleted_and_stopped || has_ended(pod, state))) {
    const bool all_good =
        std::all_of(pod.containers.begin(), pod.containers.end(), [&](const ContainerSpec& c) {
          if (c.kind != ContainerKind::regular) return true;
          const ContainerRecord& r = record(state, c.name);
          return r.exit && r.exit->exit_code == 0;
        });
    return all_good ? "Succeeded" : "Failed";
  }
  if (!state.initialized) return "Pending";
  // Once every container ran, the pod stays Running, also while it waits for a restart.
  const bool all_ran = std::all_of(pod.containers.begin(), pod.containers.end(), [&](const ContainerSpec& c) {
    if (c.kind != ContainerKind::regular) return true;
    const ContainerRecord& r = record(state, c.name);
    return r.phase == Phase::running || r.phase == Phase::stopping || r.exit || r.last;
  });
  return all_ran ? "Running" : "Pending";
}

Value pod_status(const PodSpec& pod, const PodState& state, const HostInfo& host, Cursor previous,
                 WallTime now) {
  Value v = Value::object();
  Ref out = v;
  const std::string phase = pod_phase(pod, state);
  out.set("phase", phase);
  out.set("conditions", conditions(pod, state, phase, previous, now));
  if (state.failure && phase == "Failed") {
    out.set("reason", state.failure->reason);
    out.set("message", state.failure->message);
  }
  set_addresses(out, pod, state, host);
  if (state.start_time.seconds) out.set("startTime", rfc3339(state.start_time));
  set_container_lists(out, pod, state);
  out.set("qosClass", pod.qos_class);
  if (const Cursor generation = Cursor(*pod.bytes)["metadata"]["generation"]) {
    out.set("observedGeneration", generation.integer());
  }
  // What others wrote and this device does not own.
  for (const char* key : {"nominatedNodeName", "resize", "resourceClaimStatuses"}) {
    if (!previous[key]) continue;
    if (auto kept = json::parse(previous[key].raw())) out.set(key, std::move(*kept));
  }
  return v;
}

}  // namespace limpet::node
