#include "node/pod_worker.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "node/container_starter.h"
#include "node/pod/image_damage.h"
#include "node/pod_worker_probes.h"

namespace limpet::node {

namespace {

constexpr int64_t orphan_grace_s = 2;

// Whether a volume holds what may change while the pod runs.
bool shows_objects(json::Cursor pod) {
  bool found = false;
  pod["spec"]["volumes"].each([&](std::string_view, json::Cursor v) {
    found = holds_written_files(v);
    return !found;
  });
  return found;
}

}  // namespace

PodWorker::PodWorker(AgentServices services, PodSpec spec)
    : services_(services),
      spec_(std::move(spec)),
      tokens_(services.client, services.clock),
      token_timer_(services.loop, "pod-tokens"),
      wake_(services.loop, "pod-wake"),
      status_timer_(services.loop, "pod-status") {
  state_.start_time = services_.clock.wall();
  state_.start_ms = services_.clock.monotonic_ms();
  const json::Cursor status = json::Cursor(*spec_.bytes)["status"];
  if (const auto since = parse_rfc3339(status["startTime"].str())) {
    state_.start_time = *since;
    state_.start_ms = monotonic_of(*since);  // a deadline does not begin anew with the daemon
  }
  const std::string phase = status["phase"].str();
  state_.terminal = phase == "Succeeded" || phase == "Failed";
}

PodWorker::~PodWorker() = default;

std::string PodWorker::container_id(const std::string& container) const {
  const auto it = state_.containers.find(container);
  return it == state_.containers.end() ? "" : it->second.id;
}

std::string PodWorker::pod_log_dir() const {
  return services_.options.log_dir + "/" + spec_.ns + "_" + spec_.name + "_" + spec_.uid;
}

std::string PodWorker::log_path(const std::string& container, bool previous) const {
  const auto it = state_.containers.find(container);
  if (it == state_.containers.end()) return "";
  const int run = it->second.restart_count - (previous ? 1 : 0);
  return run < 0 ? "" : pod_log_dir() + "/" + container + "/" + std::to_string(run) + ".log";
}

client::ObjectRef PodWorker::reference(const std::string& container) const {
  client::ObjectRef r{"Pod", spec_.ns, spec_.name, spec_.uid, ""};
  const ContainerSpec* c = container.empty() ? nullptr : spec_.find(container);
  if (!c) return r;
  const char* list = c->kind == ContainerKind::regular     ? "containers"
                     : c->kind == ContainerKind::ephemeral ? "ephemeralContainers"
                                                           : "initContainers";
  r.field_path = std::string("spec.") + list + "{" + container + "}";
  return r;
}

DownwardFacts PodWorker::facts() const {
  const AgentOptions& o = services_.options;
  return {o.node_name, spec_.host_network ? o.host_ips : state_.ips, o.host_ips, o.node_cpu_millis,
          o.node_memory_bytes};
}

VolumeDirs PodWorker::volume_dirs() const {
  return {services_.options.data_dir + "/pods/" + spec_.uid,
          services_.options.run_dir + "/volumes/" + spec_.uid};
}

std::string PodWorker::run_dir() const { return services_.options.run_dir + "/etc/" + spec_.uid; }

std::string PodWorker::run_path(const std::string& name) const { return run_dir() + "/" + name; }

// When it was on this clock. A wall clock that was set back since makes it "now".
int64_t PodWorker::monotonic_of(WallTime past) const {
  const int64_t ago_s = services_.clock.wall().seconds - past.seconds;
  return services_.clock.monotonic_ms() - std::max<int64_t>(ago_s, 0) * 1000;
}

void PodWorker::replace(PodSpec spec) {
  const json::Cursor before = json::Cursor(*spec_.bytes)["metadata"],
                     now = json::Cursor(*spec.bytes)["metadata"];
  for (const char* key : {"labels", "annotations"}) {
    if (before[key].raw() != now[key].raw()) volumes_stale_ = true;  // downward API volumes show them
  }
  spec_ = std::move(spec);
  status_timer_.stop();  // whatever was refused, this is news
}

void PodWorker::object_changed() {
  if (!wants_objects()) return;
  volumes_stale_ = true;
  for (auto& [name, r] : state_.containers) {
    if (r.waiting_reason == "CreateContainerConfigError") r.failed_ms = 0;  // this may be what it waited for
  }
  soon();
}

void PodWorker::soon() {
  if (sync_pending_) return;
  sync_pending_ = true;
  services_.loop.defer([alive = weak_from_this()] {
    const auto self = alive.lock();
    if (!self) return;
    self->sync_pending_ = false;
    self->sync();
  });
}

void PodWorker::sync() {
  const int64_t now_ms = services_.clock.monotonic_ms();
  // A pod whose object is gone goes the way of a deleted one.
  // Gone from the API without having been asked to stop: somebody forced it, and wants it gone soon.
  if (orphaned_) {
    const int64_t asked_s = spec_.deletion ? spec_.deletion->grace_s : spec_.termination_grace_s;
    spec_.deletion = Deletion{std::min(asked_s, orphan_grace_s)};
  }
  if (state_.volumes.is_done() && tokens_.due(now_ms)) volumes_stale_ = true;
  // The step of making them is idempotent: what is right already stays as it is.
  if (volumes_stale_ && state_.volumes.state != Step::State::busy) {
    volumes_stale_ = false;
    if (wants_objects() && shows_objects(json::Cursor(*spec_.bytes))) state_.volumes = Step();
  }
  const PodActions actions = compute_actions(spec_, state_, now_ms);
  if (log::enabled(log::Level::debug))
    log::debug("pod", {{"pod", spec_.full_name()}, {"actions", actions.text()}});
  act(actions);
  if (actions.wake_ms >= 0) {
    wake_.start(std::max<int64_t>(actions.wake_ms - now_ms, 1), [this] { sync(); });
  } else {
    wake_.stop();
  }
  write_status();
}

void PodWorker::act(const PodActions& a) {
  if (a.fail) {
    state_.failure = a.fail;
    services_.events.normal(reference(), a.fail->reason, a.fail->message);
    soon();
  }
  if (a.now_initialized) state_.initialized = true;
  if (a.prepare_volumes) prepare_volumes();
  if (a.create_sandbox) create_sandbox();
  if (a.attach_network) attach_network();
  for (const Wait& w : a.wait) {
    ContainerRecord& r = record(w.container);
    const bool fresh = r.waiting_reason != w.reason;
    r.waiting_reason = w.reason;
    r.waiting_message = w.message;
    if (!fresh) continue;
    if (w.reason == "CrashLoopBackOff") {
      services_.events.warning(reference(w.container), "BackOff",
                               "Back-off restarting failed container " + w.container + " in pod " +
                                   spec_.name + "_" + spec_.ns + "(" + spec_.uid + ")");
    } else {
      services_.events.normal(reference(w.container), "BackOff", w.message);
    }
  }
  for (const std::string& name : a.start) start_container(name);
  for (const Stop& s : a.stop) stop_container(s);
  if (a.clean_up) clean_up();
  if (a.confirm_deletion) confirm_deletion();
}

void PodWorker::start_container(const std::string& name) {
  const ContainerSpec* spec = spec_.find(name);
  if (!spec || starters_.contains(name)) return;
  ContainerRecord& r = record(name);
  if (r.phase == ContainerRecord::Phase::exited) {
    if (!r.restart_asked) r.crash.step(services_.clock.monotonic_ms());
    remove_old_run(r.id);
  }
  r.restart_asked = false;
  r.phase = ContainerRecord::Phase::starting;
  auto starter = std::make_shared<ContainerStarter>(*this, *spec);
  starters_[name] = starter;
  starter->begin();
}

void PodWorker::remove_old_run(std::string id) {
  for (auto& [name, ids] : runs_) std::erase(ids, id);
  unlink(run_path("termination/" + id + ".log").c_str());
  services_.runtime.remove(id, [id](Result<> r) {
    if (!r) log::warning("cannot remove an ended container", {{"container", id}, {"error", r.error()}});
  });
}

void PodWorker::container_started(const std::string& name) {
  starters_.erase(name);
  ContainerRecord& r = record(name);
  // It may have ended before its start was reported.
  if (r.phase != ContainerRecord::Phase::starting) return soon();
  r.phase = ContainerRecord::Phase::running;
  r.waiting_reason.clear();
  r.waiting_message.clear();
  if (r.exit) r.last = std::move(r.exit);
  r.exit.reset();
  r.failed_ms = 0;
  r.pull.clear();
  const ContainerStatus* status = services_.runtime.status(r.id);
  r.started_at = status && status->started_at.seconds ? status->started_at : services_.clock.wall();
  r.started_ms = services_.clock.monotonic_ms();
  const ContainerSpec* spec = spec_.find(name);
  r.started = !spec || !spec->startup.exists();
  r.ready = !spec || !spec->readiness.exists();
  start_probes(name);
  soon();
}

void PodWorker::container_failed(const std::string& name, const std::string& reason,
                                 const std::string& message) {
  const std::shared_ptr<ContainerStarter> keep = starters_[name];  // we are inside it
  starters_.erase(name);
  ContainerRecord& r = record(name);
  const int64_t now_ms = services_.clock.monotonic_ms();
  r.waiting_reason = reason;
  r.waiting_message = message;
  if (reason == "RunContainerError") {
    if (start_error_hints_at_damage(message)) r.damage_evidence = message;
    // It was made and could not be run: that is a run that ended, with the crash back-off of one.
    if (r.phase != ContainerRecord::Phase::exited) {
      ContainerStatus status;
      status.state = node::ContainerState::exited;
      status.exit_code = 128;
      status.reason = "StartError";
      status.message = message;
      status.finished_at = services_.clock.wall();
      exited(name, status);
    }
    // Without a restart to come the end is what there is to show.
    const ContainerSpec* spec = spec_.find(name);
    if (spec_.restart_policy != RestartPolicy::never || (spec && spec->kind == ContainerKind::sidecar)) {
      record(name).waiting_reason = reason;
      record(name).waiting_message = message;
    }
  } else {
    r.phase = ContainerRecord::Phase::waiting;
    r.failed_ms = now_ms;
    // Registries are spared by waiting longer each time; what the API lacks is looked for at a steady pace.
    if (reason == "CreateContainerConfigError") r.pull.clear();
    r.pull.step(now_ms);
  }
  soon();
}

void PodWorker::on_container_change(const std::string& id, const ContainerStatus& status) {
  if (status.state != node::ContainerState::exited) return;
  for (auto& [name, r] : state_.containers) {
    if (r.id != id) continue;
    if (r.phase == ContainerRecord::Phase::exited || r.phase == ContainerRecord::Phase::waiting) return;
    exited(name, status);
    soon();
    return;
  }
}

void PodWorker::exited(const std::string& name, const ContainerStatus& status) {
  ContainerRecord& r = record(name);
  stop_probes(name);
  hooks_.erase(name);
  kill_timers_.erase(name);
  note_damage(name, status);
  r.kill_deadline_ms = 0;
  // There is nothing left for a post-start hook to wait for.
  if (const auto it = starters_.find(name); it != starters_.end() && it->second->in_hook())
    starters_.erase(it);
  if (r.exit && r.exit->container_id != r.id) r.last = std::move(r.exit);
  const ContainerSpec* spec = spec_.find(name);
  r.exit = Terminated{r.id,
                      status.exit_code,
                      status.signal,
                      status.reason,
                      spec ? termination_message(*spec, status) : status.message,
                      status.started_at,
                      status.finished_at};
  r.phase = ContainerRecord::Phase::exited;
  r.exited_ms = services_.clock.monotonic_ms();
  r.started = r.ready = false;
  r.waiting_reason.clear();
  r.waiting_message.clear();
}

Result<> PodWorker::restart() {
  if (spec_.deletion || orphaned_) return fail(Errc::conflict, "the pod is being deleted");
  if (state_.terminal || has_ended(spec_, state_)) {
    return fail(Errc::conflict, "the pod has ended for good: delete it and create it again");
  }
  for (Step* step : {&state_.volumes, &state_.sandbox, &state_.network}) {
    if (step->state == Step::State::none) step->failed_ms = -1;
  }
  for (const ContainerSpec& c : spec_.containers) {
    if (c.kind == ContainerKind::ephemeral) continue;
    ContainerRecord& r = record(c.name);
    const bool through =
        c.kind == ContainerKind::init && (state_.initialized || (r.exit && r.exit->exit_code == 0));
    if (through && r.phase == ContainerRecord::Phase::exited) continue;
    r.crash.clear();
    r.pull.clear();
    r.failed_ms = 0;
    // One that is being ended already keeps its deadline, however often somebody asks.
    if (r.phase != ContainerRecord::Phase::stopping) stop_for_restart(c.name);
    // What is to be begun anew when it has ended; one whose start was only called off has ended already.
    r.restart_asked =
        r.phase == ContainerRecord::Phase::exited || r.phase == ContainerRecord::Phase::stopping;
    if (r.restart_asked) services_.db.put_restart_asked(spec_.uid, c.name, r.id);
  }
  soon();
  return {};
}

void PodWorker::stop_for_restart(const std::string& name) {
  stop_container({name, spec_.termination_grace_s, "Container " + name + " is restarted on request"});
}

void PodWorker::orphaned() {
  orphaned_ = true;
  deletion_confirmed_ = false;  // there is nobody left to confirm it to
  sync();
}

}  // namespace limpet::node
