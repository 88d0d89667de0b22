// What a pod gets beyond the table: policies that depend on other fields, requests from limits, the quality
// class. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "schema/codec.h"
#include "schema/defaults.h"
#include "schema/quantity.h"

namespace limpet::schema {

namespace {

using json::Ref;
using json::Value;

// Always for the tag "latest", which is also what no tag and no digest means.
const char* pull_policy(std::string_view image) {
  if (image.find('@') != std::string_view::npos) {
    const std::string_view named = image.substr(0, image.find('@'));
    return named.ends_with(":latest") ? "Always" : "IfNotPresent";
  }
  const size_t colon = image.rfind(':');
  const size_t slash = image.rfind('/');
  const bool tagged = colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash);
  return !tagged || image.substr(colon + 1) == "latest" ? "Always" : "IfNotPresent";
}

template <class F>
void each_container(Ref spec, F&& f) {
  for (const char* list : {"initContainers", "containers", "ephemeralContainers"}) {
    for (Ref container : spec[list]) f(container);
  }
}

void requests_from_limits(Ref resources) {
  const Ref limits = resources["limits"];
  if (limits.size() == 0) return;
  Ref requests = resources.ensure_object("requests");
  for (Ref limit : limits) {
    if (!requests[limit.key()]) requests.set(limit.key(), limit.clone());
  }
}

bool is_pod_level(std::string_view resource) {
  return resource == "cpu" || resource == "memory" || resource.starts_with("hugepages-");
}

using Amounts = std::map<std::string, Quantity, std::less<>>;

Amounts amounts_of(Ref list) {
  Amounts out;
  for (Ref entry : list) out[std::string(entry.key())] = Quantity::parse_or_zero(entry.str());
  return out;
}

void raise(Amounts& to, const Amounts& from) {
  for (const auto& [name, amount] : from) {
    auto [it, fresh] = to.try_emplace(name, amount);
    if (!fresh && it->second < amount) it->second = amount;
  }
}

void sum(Amounts& to, const Amounts& from) {
  for (const auto& [name, amount] : from) to[name].add(amount);
}

// What all containers ask for together: the running ones and sidecars add up, an init container needs its own
// plus the sidecars started before it.
Amounts container_requests(Ref spec) {
  Amounts total, sidecars, init_peak;
  for (Ref c : spec["containers"]) sum(total, amounts_of(c["resources"]["requests"]));
  for (Ref c : spec["initContainers"]) {
    Amounts own = amounts_of(c["resources"]["requests"]);
    if (c["restartPolicy"].str() == "Always") {
      sum(total, own);
      sum(sidecars, own);
      own = sidecars;
    } else {
      sum(own, sidecars);
    }
    raise(init_peak, own);
  }
  raise(total, init_peak);
  return total;
}

// Pod-level requests, for pods that set pod-level limits.
void pod_level_requests(Ref spec) {
  const Ref limits = spec["resources"]["limits"];
  if (limits.size() == 0) return;
  Ref requests = spec["resources"].ensure_object("requests");
  for (const auto& [name, amount] : container_requests(spec)) {
    if ((name == "cpu" || name == "memory") && !requests[name]) requests.set(name, amount.str());
  }
  for (Ref limit : limits) {
    if (is_pod_level(limit.key()) && !requests[limit.key()]) requests.set(limit.key(), limit.clone());
  }
}

void host_ports(Ref spec) {
  for (const char* list : {"containers", "initContainers"}) {
    for (Ref container : spec[list]) {
      for (Ref port : container["ports"]) {
        if (port["hostPort"].integer() == 0 && port["containerPort"].integer() != 0) {
          port.set("hostPort", port["containerPort"].integer());
        }
      }
    }
  }
}

void default_volume(Ref volume) {
  if (volume.size() == 1 && volume["name"]) volume.set("emptyDir", Value::object());
  if (Ref image = volume["image"]; image && image["pullPolicy"].str().empty()) {
    image.set("pullPolicy", pull_policy(image["reference"].str()));
  }
}

void gather_qos(Ref list, bool limits, Amounts& sums, std::set<std::string>& found) {
  for (Ref entry : list) {
    if (entry.key() != "cpu" && entry.key() != "memory") continue;
    const Quantity amount = Quantity::parse_or_zero(entry.str());
    if (amount.sign() <= 0) continue;
    sums[std::string(entry.key())].add(amount);
    if (limits) found.insert(std::string(entry.key()));
  }
}

}  // namespace

void default_pod_spec(Ref spec) {
  each_container(spec, [](Ref container) {
    if (container["imagePullPolicy"].str().empty()) {
      container.set("imagePullPolicy", pull_policy(container["image"].str()));
    }
  });
  for (Ref volume : spec["volumes"]) default_volume(volume);
  // serviceAccount is the old name of the same field; both are kept equal, the new one wins.
  const std::string account(spec["serviceAccountName"].str().empty() ? spec["serviceAccount"].str()
                                                                     : spec["serviceAccountName"].str());
  if (!account.empty()) {
    spec.set("serviceAccountName", account);
    spec.set("serviceAccount", account);
  }
}

void default_pod(Ref pod) {
  Ref spec = pod["spec"];
  if (!spec.is_object()) return;
  default_pod_spec(spec);
  for (const char* list : {"containers", "initContainers"}) {
    for (Ref container : spec[list]) {
      if (Ref resources = container["resources"]) requests_from_limits(resources);
    }
  }
  pod_level_requests(spec);
  if (spec["hostNetwork"].boolean()) host_ports(spec);
}

void default_new_pod(Ref pod) {
  pod.remove("status");
  Ref status = pod.ensure_object("status");
  status.set("phase", "Pending");
  status.set("qosClass", pod_qos_class(pod));
}

std::string_view pod_qos_class(Ref pod) {
  Amounts requests, limits;
  bool guaranteed = true;
  const Ref pod_level = pod["spec"]["resources"];
  if (pod_level.size() > 0) {
    std::set<std::string> found;
    gather_qos(pod_level["requests"], false, requests, found);
    gather_qos(pod_level["limits"], true, limits, found);
    guaranteed = found.size() == 2;
  } else {
    for (const char* list : {"containers", "initContainers"}) {
      for (Ref container : pod["spec"][list]) {
        std::set<std::string> found;
        gather_qos(container["resources"]["requests"], false, requests, found);
        gather_qos(container["resources"]["limits"], true, limits, found);
        if (found.size() != 2) guaranteed = false;
      }
    }
  }
  if (requests.empty() && limits.empty()) return "BestEffort";
  if (!guaranteed || requests.size() != limits.size()) return "Burstable";
  for (const auto& [name, request] : requests) {
    const auto limit = limits.find(name);
    if (limit == limits.end() || !(limit->second == request)) return "Burstable";
  }
  return "Guaranteed";
}

}  // namespace limpet::schema
