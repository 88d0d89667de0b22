// Pods as the commands show them, read from the API's objects. Pure, save find_pod and list_pods.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "cli/commands.h"

namespace limpet::cli {

struct ContainerLine {
  std::string name, image;
  bool init = false;
  std::string state;  // "Running", "CrashLoopBackOff", "Completed", "Error (exit 7)", "Waiting"
  bool running = false, ready = false;
  int64_t restarts = 0;
  std::string since;  // RFC 3339: when the state began; empty where the API does not say
};

struct PodLine {
  std::string ns, name, phase, ip, node, created;
  std::string why;  // why nothing runs yet: the scheduler's message, for example
  bool terminating = false;
  std::vector<ContainerLine> containers;  // init containers that are done are left out
  bool all_running() const;
};

PodLine read_pod(json::Ref pod);
// Pods bound to the node, and those that are bound to none yet.
std::vector<PodLine> read_pods(json::Ref list, std::string_view node);

// ns empty: of all namespaces.
Outcome<std::vector<PodLine>> list_pods(Context& context, const std::string& ns);

// The API's object; a failure names the pod and where to look for others.
Outcome<json::Value> fetch_pod(Context& context, const std::string& ns, const std::string& pod);
// Of the pod that the operand names, in the namespace of -n. No container may be named.
struct PodName {
  std::string ns, pod;
};
Outcome<PodName> named_pod(const Context& context);

// "POD", "POD/CONTAINER" and -c, checked against the API's pod: the container is one of the pod's.
struct Target {
  std::string ns, pod, container;
  std::string path() const;  // "/api/v1/namespaces/NS/pods/POD"
};
Outcome<Target> find_target(Context& context);
// The container meant; `wanted` may be empty. Pure.
Outcome<std::string> pick_container(json::Ref pod, const std::string& wanted);

// "45s", "3m12s", "2d4h" since an RFC 3339 time; "-" when that is empty.
std::string age(std::string_view since, WallTime now);

}  // namespace limpet::cli
