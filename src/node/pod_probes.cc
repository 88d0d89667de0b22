// The worker's probes: when to ask, and what a verdict means.
#include <algorithm>

#include "node/container_starter.h"
#include "node/pod_worker.h"
#include "node/pod_worker_probes.h"

namespace limpet::node {

void PodWorker::start_probes(const std::string& name) {
  const ContainerSpec* spec = spec_.find(name);
  if (!spec) return;
  auto probes = std::make_unique<Probes>();
  const int64_t since_ms = record(name).started_ms;
  const auto add = [&](ProbeKind kind, const ProbeSpec& p) {
    if (!p.exists()) return;
    probes->list.push_back(
        {Probe(kind, p, since_ms), std::make_unique<loop::Timer>(services_.loop, "probe"), nullptr});
  };
  add(ProbeKind::startup, spec->startup);
  add(ProbeKind::liveness, spec->liveness);
  add(ProbeKind::readiness, spec->readiness);
  if (probes->list.empty()) return;
  probes_[name] = std::move(probes);
  for (size_t i = 0; i < probes_[name]->list.size(); i++) schedule_probe(name, i);
}

void PodWorker::stop_probes(const std::string& name) { probes_.erase(name); }

void PodWorker::schedule_probe(const std::string& name, size_t index) {
  Probes::One& one = probes_[name]->list[index];
  // Liveness and readiness wait for the startup probe.
  if (one.probe.kind() != ProbeKind::startup && !record(name).started) return;
  if (one.probe.kind() == ProbeKind::startup && record(name).started) return;
  const int64_t delay_ms = one.probe.next_ms() - services_.clock.monotonic_ms();
  one.timer->start(std::max<int64_t>(delay_ms, 1), [this, name, index] { run_probe(name, index); });
}

void PodWorker::run_probe(const std::string& name, size_t index) {
  Probes::One& one = probes_[name]->list[index];
  const ContainerSpec* spec = spec_.find(name);
  if (!spec) return;
  const std::string ip =
      spec_.host_network || state_.ips.empty()
          ? (services_.options.host_ips.empty() ? "127.0.0.1" : services_.options.host_ips[0])
          : state_.ips[0];
  one.running = run_handler(services_.loop, services_.runtime, one.probe.spec().handler,
                            {record(name).id, ip, container_json(spec_, *spec), services_.probe_dialer},
                            one.probe.spec().timeout_s * 1000, [this, name, index](ProbeOutcome outcome) {
                              probe_result(name, index, outcome);
                            });
}

void PodWorker::probe_result(const std::string& name, size_t index, const ProbeOutcome& outcome) {
  Probes::One& one = probes_[name]->list[index];
  const std::unique_ptr<Operation> finished = std::move(one.running);
  ContainerRecord& r = record(name);
  const ProbeKind kind = one.probe.kind();
  // A device without room or with a broken runtime must not end what is healthy: upstream throws such a
  // result away, too.
  if (outcome.unknown) {
    services_.events.warning(reference(name), "Unhealthy",
                             std::string(probe_name(kind)) + " probe errored: " + outcome.message);
    one.probe.unknown(services_.clock.monotonic_ms());
    return schedule_probe(name, index);
  }
  if (!outcome.success) {
    services_.events.warning(reference(name), "Unhealthy",
                             std::string(probe_name(kind)) + " probe failed: " + outcome.message);
  }
  const auto verdict = one.probe.result(outcome.success, services_.clock.monotonic_ms());
  if (verdict && kind == ProbeKind::readiness) r.ready = *verdict;
  if (verdict && kind == ProbeKind::startup && *verdict) {
    r.started = true;
    for (size_t i = 0; i < probes_[name]->list.size(); i++) {
      if (i != index) schedule_probe(name, i);
    }
  }
  if (verdict && !*verdict && kind != ProbeKind::readiness) {
    const int64_t grace_s = one.probe.spec().termination_grace_s.value_or(spec_.termination_grace_s);
    const std::string word = kind == ProbeKind::liveness ? "liveness" : "startup";
    // Stopping drops the probes, this one included.
    stop_container({name, grace_s, "Container " + name + " failed " + word + " probe, will be restarted"});
    return soon();
  }
  schedule_probe(name, index);
  if (verdict) soon();
}

}  // namespace limpet::node
