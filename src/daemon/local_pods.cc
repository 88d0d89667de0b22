#include "daemon/local_pods.h"

#include "daemon/local_api.h"
#include "node/container_starter.h"
#include "node/pod_worker.h"
#include "node/pod_worker_probes.h"

namespace limpet::daemon {
namespace {

using Phase = node::ContainerRecord::Phase;

constexpr std::string_view root = "/limpet/v1/pods/";
constexpr std::string_view restart_path = "/restart";

const char* phase_name(Phase phase) {
  static constexpr const char* names[] = {"waiting", "starting", "running", "stopping", "exited"};
  return names[static_cast<int>(phase)];
}

// A moment of the monotonic clock as whole seconds from now, at least 0.
int64_t seconds_until(int64_t at_ms, int64_t now_ms) {
  return std::max<int64_t>(0, (at_ms - now_ms + 999) / 1000);
}

void write_step(json::Writer& w, const char* name, const node::Step& step, int64_t now_ms) {
  w.begin_object().field("name", name).field("done", step.is_done());
  if (!step.message.empty() && !step.is_done()) {
    w.field("message", step.message);
    w.field("retryInSeconds", seconds_until(step.backoff.until(step.failed_ms, now_ms), now_ms));
  }
  w.end_object();
}

void write_container(json::Writer& w, const node::ContainerSpec& spec, const node::ContainerRecord& r,
                     int64_t now_ms) {
  w.begin_object().field("name", spec.name).field("phase", phase_name(r.phase));
  const int64_t crash = r.crash.until(r.exited_ms, now_ms), pull = r.pull.until(r.failed_ms, now_ms);
  // Only what is held by a back-off: whether a container that ended is started at all, its policy says.
  if (r.phase == Phase::exited && crash > r.exited_ms && r.waiting_reason == "CrashLoopBackOff") {
    w.field("retryInSeconds", seconds_until(crash, now_ms));
  }
  if (r.phase == Phase::waiting && r.failed_ms > 0) w.field("retryInSeconds", seconds_until(pull, now_ms));
  w.end_object();
}

std::string describe(const node::PodWorker& worker, int64_t now_ms) {
  const node::PodState& state = worker.state();
  json::Writer w;
  w.begin_object().key("steps").begin_array();
  write_step(w, "volumes", state.volumes, now_ms);
  write_step(w, "sandbox", state.sandbox, now_ms);
  if (!worker.spec().host_network) write_step(w, "network", state.network, now_ms);
  w.end_array().key("containers").begin_array();
  for (const node::ContainerSpec& c : worker.spec().containers) {
    const auto record = state.containers.find(c.name);
    write_container(w, c, record == state.containers.end() ? node::ContainerRecord() : record->second,
                    now_ms);
  }
  w.end_array().end_object();
  return w.take();
}

http::Response restart_pod(node::PodWorker& worker) {
  if (const auto asked = worker.restart(); !asked) {
    return local_failure(409, "Conflict", worker.spec().full_name() + ": " + asked.error().message);
  }
  json::Writer w;
  w.begin_object().key("containers").begin_array();
  for (const node::ContainerSpec& c : worker.spec().containers) {
    if (c.kind == node::ContainerKind::regular || c.kind == node::ContainerKind::sidecar) w.string(c.name);
  }
  w.end_array().end_object();
  return local_json(w.take());
}

}  // namespace

void serve_local_pods(const http::ExchangePtr& exchange, node::Agent& agent, Clock& clock) {
  const http::Request& request = exchange->request();
  std::string name = request.path.starts_with(root) ? request.path.substr(root.size()) : "";
  const bool restart = name.ends_with(restart_path);
  if (restart) name.resize(name.size() - restart_path.size());
  node::PodWorker* worker = agent.find(name);
  if (!worker)
    return exchange->respond(local_failure(404, "NotFound", "pod \"" + name + "\" is not on this device"));
  if (restart && request.method == "POST") return exchange->respond(restart_pod(*worker));
  if (restart || request.method != "GET") {
    return exchange->respond(
        local_failure(405, "MethodNotAllowed", "pods are read by GET and restarted by POST"));
  }
  exchange->respond(local_json(describe(*worker, clock.monotonic_ms())));
}

}  // namespace limpet::daemon
