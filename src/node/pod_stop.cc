// The worker's way down: hooks, signals, grace periods, and then everything that was made is undone.
#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstring>

#include "base/log.h"
#include "node/container_starter.h"
#include "node/pod/run_files.h"
#include "node/pod_worker.h"
#include "node/pod_worker_probes.h"
#include "node/runtime/image_config.h"

namespace limpet::node {

namespace {

constexpr int64_t kKillAgainMs = 10'000;

// "SIGQUIT", "QUIT", "3", "SIGRTMIN+3", "SIGRTMAX-1"; SIGTERM for what is no signal: the text may come from
// an image.
int signal_number(std::string_view name) {
  if (name.starts_with("SIG")) name.remove_prefix(3);
  for (int n = 1; n < 32; n++) {
    const char* known = sigabbrev_np(n);
    if (known && name == known) return n;
  }
  static constexpr struct {
    std::string_view name;
    int number;
  } kAliases[] = {{"CLD", SIGCHLD}, {"IOT", SIGABRT}, {"POLL", SIGIO}};
  for (const auto& alias : kAliases) {
    if (name == alias.name) return alias.number;
  }
  int base = 0, direction = 1;
  if (name.starts_with("RTMIN")) base = SIGRTMIN;
  if (name.starts_with("RTMAX")) base = SIGRTMAX, direction = -1;
  if (base != 0) name.remove_prefix(5);
  if (base != 0 && name.empty()) return base;
  if (base != 0) {
    if (name[0] != (direction > 0 ? '+' : '-')) return SIGTERM;
    name.remove_prefix(1);
  }
  unsigned char offset = 0;  // bounded before it is added to anything
  const auto read = std::from_chars(name.data(), name.data() + name.size(), offset);
  const int number = base + direction * offset;
  const bool good = read.ec == std::errc() && read.ptr == name.data() + name.size();
  return good && number > 0 && number <= SIGRTMAX ? number : SIGTERM;
}

}  // namespace

void PodWorker::stop_container(const Stop& stop) {
  ContainerRecord& r = record(stop.container);
  const int64_t now_ms = services_.clock.monotonic_ms();
  if (const auto it = starters_.find(stop.container); it != starters_.end()) {
    if (it->second->can_cancel()) {
      starters_.erase(it);
      r.phase = r.exit ? ContainerRecord::Phase::exited : ContainerRecord::Phase::waiting;
      return soon();
    }
    if (!it->second->in_hook()) return;  // its outcome comes; then it is running and is stopped
    container_started(stop.container);   // its post-start hook holds up no end
  }
  if (r.phase == ContainerRecord::Phase::running) {
    services_.events.normal(
        reference(stop.container), "Killing",
        stop.message.starts_with("Stopping") ? "Stopping container " + stop.container : stop.message);
    r.phase = ContainerRecord::Phase::stopping;
    stop_probes(stop.container);
  } else if (r.phase != ContainerRecord::Phase::stopping) {
    return;
  }
  const bool first = r.kill_deadline_ms == 0 || !kill_timers_.contains(stop.container);
  r.kill_message = stop.message;
  r.kill_deadline_ms = now_ms + stop.grace_s * 1000;
  auto& timer = kill_timers_[stop.container];
  if (!timer) timer = std::make_unique<loop::Timer>(services_.loop, "pod-kill");
  timer->start(std::max<int64_t>(stop.grace_s * 1000, 1), [this, name = stop.container] { kill_now(name); });
  if (!first || stop.grace_s == 0) return;
  const ContainerSpec* spec = spec_.find(stop.container);
  if (!spec || spec->pre_stop.kind == Handler::Kind::none) return kill_after_hook(stop.container);
  const std::string ip = state_.ips.empty() ? "127.0.0.1" : state_.ips[0];
  hooks_[stop.container] =
      run_handler(services_.loop, services_.runtime, spec->pre_stop,
                  {r.id, ip, container_json(spec_, *spec), services_.probe_dialer}, stop.grace_s * 1000,
                  [this, name = stop.container](ProbeOutcome outcome) {
                    if (!outcome.success) {
                      services_.events.warning(reference(name), "FailedPreStopHook",
                                               "PreStopHook failed: " + outcome.message);
                    }
                    kill_after_hook(name);
                  });
}

// Again and again, until the exit is reported: a kill may get lost with whatever hung.
void PodWorker::kill_now(const std::string& name) {
  const std::string id = record(name).id;
  hooks_.erase(name);
  services_.runtime.kill(id, SIGKILL, [id](Result<> killed) {
    if (!killed) log::warning("cannot kill a container", {{"container", id}, {"error", killed.error()}});
  });
  kill_timers_[name]->start(kKillAgainMs, [this, name] { kill_now(name); });
}

void PodWorker::kill_after_hook(const std::string& name) {
  const ContainerRecord& r = record(name);
  const ContainerSpec* spec = spec_.find(name);
  std::string signal = spec ? spec->stop_signal : "";
  if (const auto root = signal.empty() ? services_.images.find(r.image) : std::nullopt) {
    if (const auto config = parse_image_config(root->config_json)) signal = config->stop_signal;
  }
  services_.runtime.kill(r.id, signal.empty() ? SIGTERM : signal_number(signal), [id = r.id](Result<> sent) {
    if (!sent) log::warning("cannot signal a container", {{"container", id}, {"error", sent.error()}});
  });
}

void PodWorker::clean_up() {
  state_.cleanup_busy = true;
  std::vector<std::string> ids;
  for (auto& [name, list] : runs_) ids.insert(ids.end(), list.begin(), list.end());
  clean_containers(std::move(ids));
}

void PodWorker::clean_containers(std::vector<std::string> ids) {
  if (ids.empty()) return clean_network();
  const std::string id = ids.back();
  ids.pop_back();
  services_.runtime.remove(id, [this, id, ids = std::move(ids), alive = weak_from_this()](Result<> r) {
    const auto self = alive.lock();
    if (!self) return;
    if (!r) return cleanup_failed("cannot remove a container", r.error());
    for (auto& [name, list] : runs_) std::erase(list, id);
    clean_containers(ids);
  });
}

// Namespace first held, then let go: the network is detached while the namespace still exists.
void PodWorker::clean_network() {
  network_operation_ = services_.network.detach(spec_.uid, [this](Result<> r) {
    if (!r) return cleanup_failed("cannot detach the network", r.error());
    services_.runtime.remove_sandbox(spec_.uid, [this, alive = weak_from_this()](Result<> removed) {
      const auto self = alive.lock();
      if (!self) return;
      if (!removed) return cleanup_failed("cannot remove the sandbox", removed.error());
      auto outcome = std::make_shared<Result<>>();
      volume_work_.start(
          services_.loop,
          [outcome, dirs = volume_dirs(), etc = run_dir()] {
            *outcome = remove_volumes(dirs);
            if (*outcome) *outcome = remove_run_files(etc);
          },
          [this, outcome] {
            if (!*outcome) return cleanup_failed("cannot remove the volumes", outcome->error());
            cleaned();
          });
    });
  });
}

// Tried again from the first step, all of which are idempotent: the object goes when nothing is left, not
// before.
void PodWorker::cleanup_failed(const char* what, const Error& error) {
  log::warning(what, {{"pod", spec_.full_name()}, {"error", error}});
  state_.cleanup_busy = false;
  state_.cleanup.failed_ms = services_.clock.monotonic_ms();
  state_.cleanup.backoff.step(state_.cleanup.failed_ms);
  soon();
}

void PodWorker::cleaned() {
  state_.cleanup_busy = false;
  state_.cleanup = Step();
  state_.cleaned = true;
  state_.volumes = state_.sandbox = state_.network = Step();
  volume_paths_.clear();
  soon();
}

void PodWorker::confirm_deletion() {
  if (deletion_confirmed_) return;
  if (!orphaned_ && !std::exchange(last_words_, true)) {
    // How the containers ended is told before there is nobody to tell it of.
    write_status();
    if (status_call_) return;  // its outcome comes back here
  }
  deletion_confirmed_ = true;
  if (orphaned_) {
    if (on_gone) on_gone();
    return;
  }
  client::Call call{"DELETE", "/api/v1/namespaces/" + spec_.ns + "/pods/" + spec_.name, "",
                    "application/json",
                    R"({"gracePeriodSeconds":0,"preconditions":{"uid":")" + spec_.uid + R"("}})"};
  delete_call_ = services_.client.call(std::move(call), [this](Result<client::Reply> reply) {
    // Gone, or another pod of the name: the watch tells the rest. Anything else is tried again.
    if (reply && (reply->ok() || reply->status == 404 || reply->status == 409)) return;
    deletion_confirmed_ = false;
    wake_.start(1000, [this] { sync(); });
  });
}

}  // namespace limpet::node
