// What the worker tells the API, and what it takes over from an earlier run of the daemon.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/atomic_file.h"
#include "base/log.h"
#include "base/unique_fd.h"
#include "node/container_starter.h"
#include "node/pod/image_damage.h"
#include "node/pod/status.h"
#include "node/pod_worker.h"
#include "node/pod_worker_probes.h"
#include "node/runtime/cri_log.h"

namespace limpet::node {

namespace {

constexpr size_t kMaxMessage = 4096;  // of a termination message, as upstream

using json::Cursor;

std::optional<Terminated> read_terminated(Cursor c) {
  if (!c) return std::nullopt;
  Terminated t;
  t.container_id = c["containerID"].str();
  if (t.container_id.starts_with("limpet://")) t.container_id.erase(0, 9);
  t.exit_code = static_cast<int>(c["exitCode"].integer());
  t.signal = static_cast<int>(c["signal"].integer());
  t.reason = c["reason"].str();
  t.message = c["message"].str();
  if (const auto at = parse_rfc3339(c["startedAt"].str())) t.started_at = *at;
  if (const auto at = parse_rfc3339(c["finishedAt"].str())) t.finished_at = *at;
  return t;
}

Cursor reported_container(Cursor status, const std::string& name) {
  Cursor found;
  for (const char* list : {"initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"}) {
    status[list].each([&](std::string_view, Cursor c) {
      if (c["name"].str_equals(name)) found = c;
      return true;
    });
  }
  return found;
}

// The last lines of a log, for containers that leave no message of their own.
std::string tail_of_log(const std::string& path, size_t max_lines, size_t max_bytes) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat st{};
  if (!fd || fstat(fd.get(), &st) != 0) return "";
  std::string block(static_cast<size_t>(std::min<off_t>(st.st_size, 64 << 10)), 0);
  const ssize_t n =
      pread(fd.get(), block.data(), block.size(), st.st_size - static_cast<off_t>(block.size()));
  block.resize(n > 0 ? static_cast<size_t>(n) : 0);
  std::string out;
  size_t end = block.size();
  for (size_t lines = 0; end > 0 && lines < max_lines; lines++) {
    if (block[end - 1] == '\n') end--;
    const size_t begin = end == 0 ? 0 : block.rfind('\n', end - 1) + 1;  // npos + 1 is the start
    const auto line = parse_log_line(std::string_view(block).substr(begin, end - begin));
    if (line) {
      if (out.size() + line->text.size() + 1 > max_bytes) break;
      out.insert(0, std::string(line->text) + (line->partial ? "" : "\n"));
    }
    end = begin;
  }
  return out;
}

// A merge patch cannot take a member away by leaving it out: what is gone is sent as null.
json::Value status_patch(const PodSpec& pod, const json::Value& status, Cursor previous) {
  json::Value body = json::Value::object();
  body.ref().ensure_object("metadata").set("uid", pod.uid);
  // Conditions of others go with our list: it must not undo what they wrote since.
  bool foreign = false;
  previous["conditions"].each([&](std::string_view, Cursor c) {
    foreign = foreign || !is_own_condition(c["type"].str());
    return !foreign;
  });
  if (foreign) {
    body.ref()["metadata"].set("resourceVersion", Cursor(*pod.bytes)["metadata"]["resourceVersion"].str());
  }
  json::Ref out = body.ref().set("status", status.clone());
  previous.each([&](std::string_view key, Cursor) {
    if (!out[key]) out.set(key, json::Value::null());
    return true;
  });
  return body;
}

}  // namespace

std::string PodWorker::termination_message(const ContainerSpec& spec, const ContainerStatus& status) const {
  const ContainerRecord& r = state_.containers.at(spec.name);
  const auto text = read_file(run_path("termination/" + r.id + ".log"), 1 << 20);
  if (text && !text->empty()) return text->substr(0, kMaxMessage);
  if (spec.termination_message_policy == "FallbackToLogsOnError" && status.exit_code != 0) {
    return tail_of_log(log_path(spec.name, false), 80, 2048);
  }
  return status.message;
}

// Most programs that are no more what they were fail after the runtime has let go: what is said of it is in
// the log.
void PodWorker::note_damage(const std::string& name, const ContainerStatus& status) {
  ContainerRecord& r = record(name);
  if (signal_hints_at_damage(status.signal) && !r.image_id.empty() && r.checked_image != r.image_id) {
    r.checked_image = r.image_id;
    r.damage_evidence = strf("the container was ended by signal %d", status.signal);
  }
  if (status.exit_code == 0 || status.signal != 0 || r.kill_deadline_ms != 0) return;
  const std::string last = tail_of_log(log_path(name, false), 2, 1024);
  if (output_hints_at_damage(last)) r.damage_evidence = last.substr(0, last.find_last_not_of('\n') + 1);
}

void PodWorker::adopt_history(const std::map<std::string, int>& restart_counts) {
  const Cursor status = Cursor(*spec_.bytes)["status"];
  for (const ContainerSpec& c : spec_.containers) {
    const Cursor reported = reported_container(status, c.name);
    const auto counted = restart_counts.find(c.name);
    if (!reported && counted == restart_counts.end()) continue;
    ContainerRecord& r = record(c.name);
    r.restart_count = static_cast<int>(reported["restartCount"].integer());
    if (counted != restart_counts.end()) r.restart_count = std::max(r.restart_count, counted->second);
    r.repo_digest = reported["imageID"].str();
    if (r.repo_digest.starts_with("sha256:")) r.image_id = r.repo_digest;  // of an image without a registry
    r.image = reported["image"].str();
    r.last = read_terminated(reported["lastState"]["terminated"]);
    const Cursor running = reported["state"]["running"], ended = reported["state"]["terminated"];
    r.ran_before = running || ended || r.last || counted != restart_counts.end();
    r.id = reported["containerID"].str();
    if (r.id.starts_with("limpet://")) r.id.erase(0, 9);
    if (ended) {
      r.exit = read_terminated(ended);
      r.phase = ContainerRecord::Phase::exited;
    } else if (running) {
      // Until the runtime says otherwise, it went with the device's power.
      r.exit = Terminated{r.id, 255, 0, "Unknown", "The device was restarted", {}, {}};
      if (const auto at = parse_rfc3339(running["startedAt"].str())) r.exit->started_at = *at;
      r.exit->finished_at = services_.clock.wall();
      r.phase = ContainerRecord::Phase::exited;
      r.interrupted = r.image == c.image;
    }
    r.restart_asked = restart_was_asked(c.name);
    // In a new sandbox init containers run again, from the first.
    if (c.kind == ContainerKind::init && !state_.terminal) r.phase = ContainerRecord::Phase::waiting;
  }
  const bool ran = std::any_of(state_.containers.begin(), state_.containers.end(),
                               [](const auto& e) { return e.second.ran_before; });
  const bool has_init = std::any_of(spec_.containers.begin(), spec_.containers.end(),
                                    [](const ContainerSpec& c) { return c.kind == ContainerKind::init; });
  state_.initialized = state_.terminal || (ran && !has_init);
}

bool PodWorker::restart_was_asked(const std::string& name) {
  const auto asked = services_.db.restarts_asked(spec_.uid);
  const auto run = asked.find(name);
  return run != asked.end() && run->second == record(name).id;
}

void PodWorker::adopt_sandbox(const AdoptedSandbox& sandbox) {
  // The step itself runs again (it is idempotent); what it would undo, the init containers' work, counts as
  // done.
  state_.sandbox_info = sandbox.info;
  settling_ = true;
  const Cursor status = Cursor(*spec_.bytes)["status"];
  if (!spec_.host_network) {
    status["podIPs"].each([&](std::string_view, Cursor ip) {
      state_.ips.push_back(ip["ip"].str());
      return true;
    });
  }
  status["conditions"].each([&](std::string_view, Cursor c) {
    if (c["type"].str_equals("Initialized") && c["status"].str_equals("True")) state_.initialized = true;
    return true;
  });
  if (!state_.initialized) return;
  for (const ContainerSpec& c : spec_.containers) {
    ContainerRecord& r = record(c.name);
    if (c.kind == ContainerKind::init && r.exit) r.phase = ContainerRecord::Phase::exited;
  }
}

// The runs of each container from the oldest: the last one is the current one, whatever became of it.
void PodWorker::adopt_containers(std::vector<AdoptedContainer> containers) {
  std::multimap<int, AdoptedContainer> by_attempt;
  for (AdoptedContainer& c : containers) {
    const int attempt = static_cast<int>(Cursor(c.meta)["attempt"].integer());
    by_attempt.emplace(attempt, std::move(c));
  }
  for (const auto& [attempt, c] : by_attempt) adopt_container(c, attempt);
  for (const ContainerSpec& c : spec_.containers) {  // the grace period of a daemon before begins anew
    const ContainerRecord& r = record(c.name);
    if (r.restart_asked && r.phase == ContainerRecord::Phase::running && !spec_.deletion)
      stop_for_restart(c.name);
  }
}

void PodWorker::adopt_container(const AdoptedContainer& container, int attempt) {
  const auto meta = json::parse(container.meta);
  const std::string name = meta ? std::string(meta->ref()["container"].str()) : "";
  const ContainerSpec* spec = spec_.find(name);
  auto& runs = runs_[name];
  if (spec && !runs.empty()) {
    // A restart was under way: the run before was about to be removed.
    if (record(name).phase == ContainerRecord::Phase::running) stop_probes(name);
    remove_old_run(runs.back());
  }
  runs.push_back(container.id);
  if (!spec) return;  // removed with the pod
  ContainerRecord& r = record(name);
  if (r.exit && r.exit->container_id != container.id && r.exit->reason != "Unknown")
    r.last = std::move(r.exit);
  r.restart_count = std::max(r.restart_count, attempt);
  r.id = container.id;
  r.ran_before = true;
  r.image = meta->ref()["image"].str();
  r.image_id = meta->ref()["imageID"].str();
  r.repo_digest = meta->ref()["repoDigest"].str();
  r.exit.reset();
  r.interrupted = false;
  r.restart_asked = restart_was_asked(name);
  if (container.status.state == node::ContainerState::running) {
    r.phase = ContainerRecord::Phase::running;
    r.started_at = container.status.started_at;
    r.started_ms = monotonic_of(r.started_at);
    const Cursor reported = reported_container(Cursor(*spec_.bytes)["status"], name);
    r.started = !spec->startup.exists() || reported["started"].boolean();
    r.ready = !spec->readiness.exists() || reported["ready"].boolean();
    start_probes(name);
  } else if (container.status.state == node::ContainerState::exited) {
    exited(name, container.status);
  } else {
    // Made and never started: the next start makes it anew.
    r.phase = ContainerRecord::Phase::waiting;
    remove_old_run(container.id);
  }
  if (spec->kind == ContainerKind::regular) state_.initialized = true;
}

// After a restart of the daemon the steps of setting up run again and find everything in place. What the API
// knows stands meanwhile: an address must not vanish and come back because the daemon was upgraded.
bool PodWorker::settling() {
  if (!settling_) return false;
  const bool up = state_.sandbox.is_done() && (spec_.host_network || state_.network.is_done());
  const bool failed =
      state_.volumes.failed_ms >= 0 || state_.sandbox.failed_ms >= 0 || state_.network.failed_ms >= 0;
  settling_ = !up && !failed && !spec_.deletion && !has_ended(spec_, state_);
  return settling_;
}

std::string PodWorker::object() const {
  const Cursor previous = Cursor(*spec_.bytes)["status"];
  auto object = json::parse(*spec_.bytes);
  if (!object || state_.terminal || settling_) return *spec_.bytes;
  object->ref().set(
      "status", pod_status(spec_, state_, {services_.options.host_ips}, previous, services_.clock.wall()));
  return object->ref().dump();
}

void PodWorker::write_status() {
  if (state_.terminal || orphaned_ || status_call_ || deletion_confirmed_ || settling()) return;
  if (status_timer_.active()) return;  // refused a moment ago
  const Cursor previous = Cursor(*spec_.bytes)["status"];
  const json::Value status =
      pod_status(spec_, state_, {services_.options.host_ips}, previous, services_.clock.wall());
  std::string text = status.ref().dump();
  const std::string_view phase = status.ref()["phase"].str();
  const bool end = phase == "Succeeded" || phase == "Failed";
  if (text == written_status_) return;
  if (written_status_.empty()) {
    if (const auto known = json::parse(previous.raw()); known && known->ref().equals(status)) {
      written_status_ = std::move(text);
      state_.end_reported = end;
      return;
    }
  }
  sending_status_ = std::move(text);
  sending_end_ = end;
  client::Call call{"PATCH", "/api/v1/namespaces/" + spec_.ns + "/pods/" + spec_.name + "/status", "",
                    "application/merge-patch+json", status_patch(spec_, status, previous).ref().dump()};
  status_call_ = services_.client.call(std::move(call),
                                       [this](Result<client::Reply> r) { status_written(std::move(r)); });
}

void PodWorker::report_now() {
  status_timer_.stop();
  status_backoff_ms_ = 0;
  sync();
}

void PodWorker::status_written(Result<client::Reply> reply) {
  const auto finished = std::move(status_call_);
  if (reply && reply->ok()) {
    written_status_ = std::move(sending_status_);
    state_.end_reported = sending_end_;
    status_backoff_ms_ = 0;
    return soon();  // it may have changed meanwhile
  }
  if (reply && (reply->status == 404 || reply->status == 409)) {
    // Gone, replaced or changed: the watch brings the truth.
    status_timer_.start(1000, [this] { sync(); });
    return;
  }
  status_backoff_ms_ = std::clamp<int64_t>(status_backoff_ms_ * 2, 1000, 30'000);
  if (reply) {
    log::warning("the API refused a pod's status", {{"pod", spec_.full_name()}, {"error", reply->error()}});
  }
  status_timer_.start(status_backoff_ms_, [this] { sync(); });
}

}  // namespace limpet::node
