#include "schema/columns_pod.h"

#include <set>
#include <vector>

#include "schema/columns.h"

namespace limpet::schema {

namespace {

using json::Cursor;

// What READY, STATUS and RESTARTS are worked out from.
struct PodSummary {
  std::string reason;
  int64_t restarts = 0, sidecar_restarts = 0;
  WallTime last_restart, last_sidecar_restart;  // zero: never
  size_t ready = 0, total = 0;
  bool initializing = false;
};

bool condition_true(Cursor pod, std::string_view type) {
  bool found = false;
  pod["status"]["conditions"].each([&](std::string_view, Cursor c) {
    if (!c["type"].str_equals(type)) return true;
    found = c["status"].str_equals("True");
    return false;
  });
  return found;
}

bool present(Cursor c) { return c.type() == json::Type::object; }

void later(WallTime& latest, Cursor status) {
  const auto t = parse_rfc3339(status["lastState"]["terminated"]["finishedAt"].str());
  if (t && *t > latest) latest = *t;
}

std::string termination(Cursor terminated, const char* prefix) {
  std::string reason = terminated["reason"].str();
  if (reason.empty()) {
    const int64_t signal = terminated["signal"].integer();
    reason = signal != 0 ? "Signal:" + std::to_string(signal)
                         : "ExitCode:" + std::to_string(terminated["exitCode"].integer());
  }
  return prefix + reason;
}

// Init containers run in order; the first that is not through decides what the pod shows.
void summarize_init(Cursor pod, PodSummary& s) {
  std::set<std::string> sidecars;
  pod["spec"]["initContainers"].each([&](std::string_view, Cursor c) {
    if (c["restartPolicy"].str_equals("Always")) sidecars.insert(c["name"].str());
    return true;
  });
  s.total += sidecars.size();
  size_t index = 0;
  pod["status"]["initContainerStatuses"].each([&](std::string_view, Cursor c) {
    const size_t position = index++;
    const bool sidecar = sidecars.contains(c["name"].str());
    s.restarts += c["restartCount"].integer();
    later(s.last_restart, c);
    if (sidecar) {
      s.sidecar_restarts += c["restartCount"].integer();
      later(s.last_sidecar_restart, c);
    }
    const Cursor terminated = c["state"]["terminated"];
    if (present(terminated) && terminated["exitCode"].integer() == 0) return true;
    if (sidecar && c["started"].boolean()) {
      if (c["ready"].boolean()) s.ready++;
      return true;
    }
    s.initializing = true;
    const std::string waiting = c["state"]["waiting"]["reason"].str();
    if (present(terminated)) {
      s.reason = termination(terminated, "Init:");
    } else if (!waiting.empty() && waiting != "PodInitializing") {
      s.reason = "Init:" + waiting;
    } else {
      s.reason =
          "Init:" + std::to_string(position) + "/" + std::to_string(pod["spec"]["initContainers"].size());
    }
    return false;
  });
}

void summarize_containers(Cursor pod, PodSummary& s) {
  s.restarts = s.sidecar_restarts;
  s.last_restart = s.last_sidecar_restart;
  bool running = false;
  std::string error;
  std::vector<Cursor> statuses;
  pod["status"]["containerStatuses"].each([&](std::string_view, Cursor c) {
    statuses.push_back(c);
    return true;
  });
  for (auto c = statuses.rbegin(); c != statuses.rend(); ++c) {
    s.restarts += (*c)["restartCount"].integer();
    later(s.last_restart, *c);
    const Cursor state = (*c)["state"];
    const std::string waiting = state["waiting"]["reason"].str();
    if (!waiting.empty()) {
      s.reason = waiting;
    } else if (present(state["terminated"])) {
      s.reason = termination(state["terminated"], "");
      if (state["terminated"]["exitCode"].integer() != 0) error = s.reason;
    } else if ((*c)["ready"].boolean() && present(state["running"])) {
      running = true;
      s.ready++;
    }
  }
  // One container may be done while another still runs.
  if (s.reason == "Completed") {
    if (running && condition_true(pod, "Ready")) {
      s.reason = "Running";
    } else if (!error.empty()) {
      s.reason = error;
    } else if (running) {
      s.reason = "NotReady";
    }
  }
}

PodSummary summarize(Cursor pod) {
  PodSummary s;
  const Cursor status = pod["status"];
  const std::string phase = status["phase"].str();
  s.reason = status["reason"].str();
  if (s.reason.empty()) s.reason = phase;
  status["conditions"].each([&](std::string_view, Cursor c) {
    if (c["type"].str_equals("PodScheduled") && c["reason"].str_equals("SchedulingGated"))
      s.reason = "SchedulingGated";
    return true;
  });
  s.total = pod["spec"]["containers"].size();
  summarize_init(pod, s);
  if (!s.initializing || condition_true(pod, "Initialized")) summarize_containers(pod, s);
  if (pod["metadata"]["deletionTimestamp"].type() == json::Type::string) {
    if (status["reason"].str_equals("NodeLost")) {
      s.reason = "Unknown";
    } else if (phase != "Succeeded" && phase != "Failed") {
      s.reason = "Terminating";
    }
  }
  return s;
}

std::string readiness_gates(Cursor pod) {
  size_t total = 0, met = 0;
  pod["spec"]["readinessGates"].each([&](std::string_view, Cursor gate) {
    total++;
    if (condition_true(pod, gate["conditionType"].str())) met++;
    return true;
  });
  return total == 0 ? "<none>" : std::to_string(met) + "/" + std::to_string(total);
}

}  // namespace

void pod_cells(Cursor pod, WallTime now, Cells& cells) {
  const PodSummary s = summarize(pod);
  std::string restarts = std::to_string(s.restarts);
  if (s.restarts != 0 && s.last_restart.seconds != 0) {
    restarts += " (" + human_duration(now.seconds - s.last_restart.seconds) + " ago)";
  }
  auto or_none = [](std::string v) { return v.empty() ? std::string("<none>") : v; };
  cells.text("ready", std::to_string(s.ready) + "/" + std::to_string(s.total));
  cells.text("status", s.reason);
  cells.text("restarts", restarts);
  cells.text("ip", or_none(pod["status"]["podIPs"].at(0)["ip"].str()));
  cells.text("node", or_none(pod["spec"]["nodeName"].str()));
  cells.text("nominated node", or_none(pod["status"]["nominatedNodeName"].str()));
  cells.text("readiness gates", readiness_gates(pod));
}

}  // namespace limpet::schema
