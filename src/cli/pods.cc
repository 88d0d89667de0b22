#include "cli/pods.h"

#include <algorithm>

#include "schema/columns.h"

namespace limpet::cli {
namespace {

json::Ref by_name(json::Ref list, std::string_view name) {
  for (json::Ref each : list) {
    if (each["name"].str() == name) return each;
  }
  return {};
}

std::string ended(json::Ref terminated) {
  const int64_t code = terminated["exitCode"].integer();
  std::string out(terminated["reason"].str(code == 0 ? "Completed" : "Error"));
  if (code != 0) out += strf(" (exit %lld)", static_cast<long long>(code));
  return out;
}

ContainerLine read_container(json::Ref spec, json::Ref status, bool init) {
  ContainerLine c;
  c.init = init;
  c.name = spec["name"].str();
  c.image = spec["image"].str();
  c.ready = status["ready"].boolean();
  c.restarts = status["restartCount"].integer();
  const json::Ref state = status["state"];
  if (state["running"].is_object()) {
    c.running = true;
    c.state = c.ready || init ? "Running" : "Running, unready";
    c.since = state["running"]["startedAt"].str();
  } else if (state["terminated"].is_object()) {
    c.state = ended(state["terminated"]);
    c.since = state["terminated"]["finishedAt"].str();
  } else {
    c.state = state["waiting"]["reason"].str("Waiting");
  }
  return c;
}

bool done_init(json::Ref status) {
  const json::Ref terminated = status["state"]["terminated"];
  return terminated.is_object() && terminated["exitCode"].integer(1) == 0;
}

std::string name_list(json::Ref pod) {
  std::string out;
  for (const char* kind : {"containers", "initContainers", "ephemeralContainers"}) {
    for (json::Ref c : pod["spec"][kind]) out.append(out.empty() ? "" : ", ").append(c["name"].str());
  }
  return out;
}

}  // namespace

bool PodLine::all_running() const {
  return !containers.empty() &&
         std::all_of(containers.begin(), containers.end(), [](const ContainerLine& c) { return c.running; });
}

PodLine read_pod(json::Ref pod) {
  PodLine p;
  const json::Ref meta = pod["metadata"], spec = pod["spec"], status = pod["status"];
  p.ns = meta["namespace"].str();
  p.name = meta["name"].str();
  p.created = meta["creationTimestamp"].str();
  p.terminating = meta["deletionTimestamp"].is_string();
  p.phase = status["phase"].str("Pending");
  p.ip = status["podIP"].str();
  p.node = spec["nodeName"].str();
  p.why = status["message"].str();
  for (json::Ref c : status["conditions"]) {
    if (p.why.empty() && c["type"].str() == "PodScheduled" && c["status"].str() == "False") {
      p.why = c["message"].str();
    }
  }
  for (json::Ref c : spec["initContainers"]) {
    const json::Ref s = by_name(status["initContainerStatuses"], c["name"].str());
    if (!done_init(s)) p.containers.push_back(read_container(c, s, true));
  }
  for (json::Ref c : spec["containers"]) {
    p.containers.push_back(read_container(c, by_name(status["containerStatuses"], c["name"].str()), false));
  }
  return p;
}

std::vector<PodLine> read_pods(json::Ref list, std::string_view node) {
  std::vector<PodLine> out;
  for (json::Ref pod : list["items"]) {
    PodLine p = read_pod(pod);
    if (p.node.empty() || p.node == node) out.push_back(std::move(p));
  }
  return out;
}

Outcome<std::vector<PodLine>> list_pods(Context& context, const std::string& ns) {
  const auto version = context.daemon.get("/limpet/v1/version");
  if (!version) return std::unexpected(version.error());
  const std::string path =
      ns.empty() ? "/api/v1/pods" : "/api/v1/namespaces/" + http::percent_encode(ns) + "/pods";
  const auto list = context.daemon.get(path);
  if (!list) return std::unexpected(list.error());
  return read_pods(list->ref(), version->ref()["node"].str());
}

std::string Target::path() const {
  return "/api/v1/namespaces/" + http::percent_encode(ns) + "/pods/" + http::percent_encode(pod);
}

Outcome<std::string> pick_container(json::Ref pod, const std::string& wanted) {
  const json::Ref spec = pod["spec"];
  std::string name = wanted;
  if (name.empty()) name = pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"].str();
  for (const char* kind : {"containers", "initContainers", "ephemeralContainers"}) {
    if (!name.empty() && by_name(spec[kind], name)) return name;
  }
  if (!wanted.empty()) {
    return failed(exit_not_found, strf("the pod %s has no container %s; it has: %s",
                                       std::string(pod["metadata"]["name"].str()).c_str(), wanted.c_str(),
                                       name_list(pod).c_str()));
  }
  return std::string(spec["containers"].at(0)["name"].str());
}

Outcome<json::Value> fetch_pod(Context& context, const std::string& ns, const std::string& pod) {
  auto object = context.daemon.get(Target{ns, pod, ""}.path());
  if (object || object.error().code != exit_not_found) return object;
  return failed(exit_not_found,
                strf("there is no pod %s in the namespace %s\ntry: limpet ps -A", pod.c_str(), ns.c_str()));
}

// Also as kubectl names it: pod/web.
Outcome<PodName> named_pod(const Context& context) {
  std::string operand = context.arguments.positional[0];
  for (const std::string_view kind : {"pod/", "pods/", "po/"}) {
    if (operand.starts_with(kind)) operand.erase(0, kind.size());
  }
  if (operand.find('/') != std::string::npos) {
    return failed(exit_usage, "a pod is wanted, without a container: limpet " + context.arguments.command +
                                  " " + operand.substr(0, operand.find('/')));
  }
  return PodName{context.arguments.ns, operand};
}

Outcome<Target> find_target(Context& context) {
  const Arguments& a = context.arguments;
  const std::string& operand = a.positional[0];
  const size_t slash = operand.find('/');
  Target t{a.ns, operand.substr(0, slash), a.container};
  if (slash != std::string::npos) {
    const std::string behind = operand.substr(slash + 1);
    if (!t.container.empty() && t.container != behind) {
      return failed(exit_usage, "two containers are named: " + behind + " and " + t.container);
    }
    t.container = behind;
    if (t.pod.empty() || behind.empty())
      return failed(exit_usage, "POD/CONTAINER is wanted, as in web/proxy");
  }
  const auto pod = fetch_pod(context, t.ns, t.pod);
  if (!pod) return std::unexpected(pod.error());
  const auto container = pick_container(pod->ref(), t.container);
  if (!container) return std::unexpected(container.error());
  if (t.container.empty() && pod->ref()["spec"]["containers"].size() > 1 && context.output.err_terminal) {
    (void)context.output.err(
        strf("limpet: container %s (of: %s)\n", container->c_str(), name_list(pod->ref()).c_str()));
  }
  t.container = *container;
  return t;
}

std::string age(std::string_view since, WallTime now) {
  return since.empty() ? "-" : schema::age_of(since, now);
}

}  // namespace limpet::cli
