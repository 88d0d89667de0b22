// The pods of this device as metrics, under the names that cAdvisor and kube-state-metrics made familiar.
#include <map>

#include "daemon/metrics.h"
#include "node/container_starter.h"
#include "node/pod/status.h"
#include "node/pod_worker.h"
#include "node/pod_worker_probes.h"

namespace limpet::daemon {
namespace {

using Phase = node::ContainerRecord::Phase;

const char* state_name(Phase phase) {
  switch (phase) {
    case Phase::running:
    case Phase::stopping:
      return "running";
    case Phase::exited:
      return "exited";
    case Phase::waiting:
    case Phase::starting:
      break;
  }
  return "waiting";
}

}  // namespace

void describe_pods(api::MetricsText& out, const node::Agent& agent, node::Runtime& runtime) {
  std::map<std::string, int> phases = {{"Pending", 0}, {"Running", 0}, {"Succeeded", 0}, {"Failed", 0}};
  std::map<std::string, int> states = {{"waiting", 0}, {"running", 0}, {"exited", 0}};
  const auto workers = agent.workers();
  for (const node::PodWorker* worker : workers) {
    phases[node::pod_phase(worker->spec(), worker->state())]++;
    for (const auto& [name, r] : worker->state().containers) states[state_name(r.phase)]++;
  }
  out.family("limpet_pods", "gauge", "Pods of this device by phase.");
  for (const auto& [phase, n] : phases) out.sample("limpet_pods", {{"phase", phase}}, n);
  out.family("limpet_containers", "gauge", "Containers of this device by state.");
  for (const auto& [state, n] : states) out.sample("limpet_containers", {{"state", state}}, n);

  const auto each = [&](const char* family, const char* type, const char* help, auto value) {
    out.family(family, type, help);
    for (const node::PodWorker* worker : workers) {
      for (const auto& [name, r] : worker->state().containers) {
        const std::optional<double> v = value(r);
        if (!v) continue;
        out.sample(family,
                   {{"namespace", worker->spec().ns}, {"pod", worker->spec().name}, {"container", name}}, *v);
      }
    }
  };
  each("kube_pod_container_status_restarts_total", "counter", "Restarts of a container.",
       [](const node::ContainerRecord& r) { return std::optional<double>(r.restart_count); });
  const auto usage = [&](const node::ContainerRecord& r, auto pick) -> std::optional<double> {
    if (r.phase != Phase::running && r.phase != Phase::stopping) return std::nullopt;
    const auto u = runtime.usage(r.id);
    if (!u) return std::nullopt;
    return pick(*u);
  };
  each("container_cpu_usage_seconds_total", "counter", "CPU time of a container's run.", [&](const auto& r) {
    return usage(r, [](const node::Usage& u) { return static_cast<double>(u.cpu_ns) / 1e9; });
  });
  each("container_memory_working_set_bytes", "gauge", "Memory in use, without file cache that can go.",
       [&](const auto& r) {
         return usage(r, [](const node::Usage& u) { return static_cast<double>(u.memory_working_set); });
       });
}

}  // namespace limpet::daemon
