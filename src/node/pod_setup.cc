// The worker's way up: volumes, sandbox, network, the files in /etc.
#include <sys/stat.h>

#include <algorithm>

#include "base/atomic_file.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "node/pod/container_config.h"
#include "node/pod/run_files.h"
#include "node/pod_worker.h"

namespace limpet::node {

namespace {

constexpr size_t kMaxHostFile = 1 << 20;

std::vector<HostPort> host_ports(const PodSpec& pod) {
  std::vector<HostPort> out;
  for (const ContainerSpec& c : pod.containers) {
    container_json(pod, c)["ports"].each([&](std::string_view, json::Cursor p) {
      const int64_t host = p["hostPort"].integer();
      if (host > 0 && !pod.host_network) {
        out.push_back({p["protocol"].str("TCP"), static_cast<uint16_t>(host),
                       static_cast<uint16_t>(p["containerPort"].integer()), p["hostIP"].str()});
      }
      return true;
    });
  }
  return out;
}

SandboxConfig sandbox_config(const PodSpec& pod) {
  const json::Cursor object(*pod.bytes);
  const json::Cursor spec = object["spec"];
  SandboxConfig c;
  c.pod_uid = pod.uid;
  c.hostname = pod_hostname(object);
  c.host_network = pod.host_network;
  c.host_ipc = spec["hostIPC"].boolean();
  c.host_pid = spec["hostPID"].boolean();
  c.share_process_namespace = spec["shareProcessNamespace"].boolean();
  spec["securityContext"]["sysctls"].each([&](std::string_view, json::Cursor s) {
    c.sysctls.emplace_back(s["name"].str(), s["value"].str());
    return true;
  });
  c.limits = pod_limits(pod);
  c.meta = pod.full_name();
  return c;
}

}  // namespace

void PodWorker::step_failed(Step& step, const std::string& reason, const Error& error) {
  const int64_t now_ms = services_.clock.monotonic_ms();
  const bool fresh = step.message != error.message;
  step.state = Step::State::none;
  step.failed_ms = now_ms;
  step.backoff.step(now_ms);
  step.reason = reason;
  step.message = error.message;
  services_.events.warning(reference(), reason, error.message);
  if (fresh)
    log::warning("pod cannot be set up", {{"pod", spec_.full_name()}, {"step", reason}, {"error", error}});
  soon();
}

void PodWorker::step_done(Step& step) {
  step = Step();
  step.state = Step::State::done;
  soon();
}

void PodWorker::prepare_volumes() {
  state_.volumes.state = Step::State::busy;
  std::vector<std::string> names = mentioned_objects(json::Cursor(*spec_.bytes));
  if (names.empty()) return plan_with({});
  volume_fetch_ = services_.objects.fetch(spec_.ns, std::move(names), [this](Result<ObjectMap> objects) {
    if (!objects) return step_failed(state_.volumes, "FailedMount", objects.error());
    plan_with(std::move(*objects));
  });
}

void PodWorker::plan_with(ObjectMap objects) {
  tokens_.update(spec_, [this, objects = std::move(objects)](Result<> had) mutable {
    if (!had) return step_failed(state_.volumes, "FailedMount", had.error());
    tokens_.add_to(&objects);
    const int64_t due_ms = tokens_.next_ms();
    if (due_ms >= 0) {
      const int64_t wait_ms = due_ms - services_.clock.monotonic_ms();
      token_timer_.start(std::max<int64_t>(wait_ms, 1), [this] { sync(); });
    }
    const DownwardFacts known = facts();
    auto plans = plan_volumes(spec_, known, [&](std::string_view kind, std::string_view name) {
      const auto it = objects.find(std::string(kind) + "/" + std::string(name));
      return it == objects.end() ? SharedBytes() : it->second;
    });
    if (!plans) return step_failed(state_.volumes, "FailedMount", plans.error());
    make_planned(std::move(*plans));
  });
}

void PodWorker::make_planned(std::vector<VolumePlan> plans) {
  volume_outcome_ = std::make_shared<Result<std::map<std::string, std::string>>>();
  volume_work_.start(
      services_.loop,
      [plans = std::move(plans), dirs = volume_dirs(), outcome = volume_outcome_] {
        *outcome = make_volumes(plans, dirs);
      },
      [this, outcome = volume_outcome_] {
        if (!*outcome) return step_failed(state_.volumes, "FailedMount", outcome->error());
        volume_paths_ = std::move(**outcome);
        step_done(state_.volumes);
      });
}

void PodWorker::create_sandbox() {
  state_.sandbox.state = Step::State::busy;
  if (LIMPET_FAILPOINT("node.sandbox.create")) {
    return step_failed(state_.sandbox, "FailedCreatePodSandBox",
                       Error{Errc::io, "failpoint node.sandbox.create", 0});
  }
  services_.runtime.create_sandbox(
      sandbox_config(spec_), [this, alive = weak_from_this()](Result<SandboxInfo> info) {
        const auto self = alive.lock();
        if (!self) return;
        if (!info) {
          return step_failed(state_.sandbox, "FailedCreatePodSandBox",
                             std::move(info).error().with("Failed to create pod sandbox"));
        }
        state_.sandbox_info = std::move(*info);
        if (spec_.host_network) write_host_files();
        step_done(state_.sandbox);
      });
}

void PodWorker::attach_network() {
  state_.network.state = Step::State::busy;
  PodNetworkRequest request{spec_.uid, state_.sandbox_info.netns_path, host_ports(spec_)};
  network_operation_ = services_.network.attach(std::move(request), [this](Result<PodAddresses> addresses) {
    if (!addresses) {
      return step_failed(state_.network, "FailedCreatePodSandBox",
                         std::move(addresses).error().with("Failed to create pod sandbox: set up network"));
    }
    state_.ips = std::move(addresses->ips);
    write_host_files();
    step_done(state_.network);
  });
}

void PodWorker::write_host_files() {
  const json::Cursor pod(*spec_.bytes);
  const std::string hostname = pod_hostname(pod);
  const auto host_hosts = read_file("/etc/hosts", kMaxHostFile);
  DnsOptions dns = services_.options.dns;
  if (auto text = read_file("/etc/resolv.conf", kMaxHostFile)) dns.host_resolv_conf = std::move(*text);
  const std::vector<RunFile> files = {
      {"hostname", hostname + "\n"},
      {"hosts", etc_hosts(pod, hostname, facts().pod_ips, host_hosts ? *host_hosts : "", dns.cluster_domain)},
      {"resolv.conf", resolv_conf(pod, dns)},
  };
  const auto made = write_run_files(run_dir(), files);
  if (!made)
    log::warning("cannot write the pod's files for /etc",
                 {{"pod", spec_.full_name()}, {"error", made.error()}});
}

}  // namespace limpet::node
