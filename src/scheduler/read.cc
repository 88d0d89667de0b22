#include "scheduler/read.h"

#include <algorithm>

#include "schema/quantity.h"

namespace limpet::scheduler {

namespace {

using json::Cursor;

template <class F>
void each(Cursor list, F f) {
  list.each([&](std::string_view key, Cursor value) {
    f(key, value);
    return true;
  });
}

Amounts read_amounts(Cursor list) {
  Amounts out;
  each(list, [&](std::string_view name, Cursor value) {
    const std::string text = value.type() == json::Type::string ? value.str() : std::string(value.raw());
    const auto q = schema::Quantity::parse(text);
    if (q) out[std::string(name)] = name == "cpu" ? q->milli_value() : q->value();
  });
  return out;
}

void add(Amounts* to, const Amounts& more) {
  for (const auto& [name, n] : more) (*to)[name] += n;
}

void raise(Amounts* to, const Amounts& other) {
  for (const auto& [name, n] : other) (*to)[name] = std::max((*to)[name], n);
}

// A container without a request asks for its limit.
Amounts container_requests(Cursor c) {
  Amounts out = read_amounts(c["resources"]["limits"]);
  for (const auto& [name, n] : read_amounts(c["resources"]["requests"])) out[name] = n;
  return out;
}

Requirement read_requirement(Cursor c, bool field) {
  Requirement r{field, c["key"].str(), c["operator"].str(), {}};
  each(c["values"], [&](std::string_view, Cursor v) { r.values.push_back(v.str()); });
  return r;
}

SelectorTerm read_term(Cursor c) {
  SelectorTerm t;
  each(c["matchExpressions"],
       [&](std::string_view, Cursor e) { t.all_of.push_back(read_requirement(e, false)); });
  each(c["matchFields"], [&](std::string_view, Cursor e) { t.all_of.push_back(read_requirement(e, true)); });
  return t;
}

void read_affinity(Cursor affinity, PodInfo* p) {
  const Cursor required = affinity["requiredDuringSchedulingIgnoredDuringExecution"];
  p->has_required_affinity = required.type() == json::Type::object;
  each(required["nodeSelectorTerms"],
       [&](std::string_view, Cursor t) { p->required.push_back(read_term(t)); });
  each(affinity["preferredDuringSchedulingIgnoredDuringExecution"], [&](std::string_view, Cursor t) {
    p->preferred.push_back({t["weight"].integer(), read_term(t["preference"])});
  });
}

void read_ports(Cursor spec, PodInfo* p) {
  const bool host_network = spec["hostNetwork"].boolean();
  const auto container = [&](std::string_view, Cursor c) {
    each(c["ports"], [&](std::string_view, Cursor port) {
      int64_t n = port["hostPort"].integer();
      if (n == 0 && host_network) n = port["containerPort"].integer();
      if (n > 0) p->host_ports.push_back({port["protocol"].str("TCP"), port["hostIP"].str(), n});
    });
  };
  each(spec["containers"], container);
  each(spec["initContainers"], [&](std::string_view key, Cursor c) {
    if (c["restartPolicy"].str_equals("Always")) container(key, c);
  });
}

}  // namespace

Amounts pod_requests(Cursor pod) {
  const Cursor spec = pod["spec"];
  Amounts running, sidecars, init_peak;
  each(spec["containers"], [&](std::string_view, Cursor c) { add(&running, container_requests(c)); });
  each(spec["initContainers"], [&](std::string_view, Cursor c) {
    const Amounts own = container_requests(c);
    if (c["restartPolicy"].str_equals("Always")) {
      add(&sidecars, own);
      raise(&init_peak, sidecars);
      return;
    }
    Amounts peak = sidecars;
    add(&peak, own);
    raise(&init_peak, peak);
  });
  add(&running, sidecars);
  raise(&running, init_peak);
  add(&running, read_amounts(spec["overhead"]));
  return running;
}

PodInfo read_pod(Cursor pod) {
  PodInfo p;
  const Cursor meta = pod["metadata"], spec = pod["spec"];
  p.ns = meta["namespace"].str();
  p.name = meta["name"].str();
  p.uid = meta["uid"].str();
  p.terminating = static_cast<bool>(meta["deletionTimestamp"]);
  p.node_name = spec["nodeName"].str();
  p.scheduler_name = spec["schedulerName"].str("default-scheduler");
  p.gated = spec["schedulingGates"].size() > 0;
  p.priority = spec["priority"].integer();
  p.never_preempts = spec["preemptionPolicy"].str_equals("Never");
  const std::string phase = pod["status"]["phase"].str();
  p.finished = phase == "Succeeded" || phase == "Failed";
  p.requests = pod_requests(pod);
  each(spec["nodeSelector"], [&](std::string_view k, Cursor v) { p.node_selector.emplace_back(k, v.str()); });
  read_affinity(spec["affinity"]["nodeAffinity"], &p);
  each(spec["tolerations"], [&](std::string_view, Cursor t) {
    p.tolerations.push_back({t["key"].str(), t["operator"].str(), t["value"].str(), t["effect"].str()});
  });
  read_ports(spec, &p);
  return p;
}

NodeInfo read_node(Cursor node) {
  NodeInfo n;
  n.name = node["metadata"]["name"].str();
  each(node["metadata"]["labels"], [&](std::string_view k, Cursor v) { n.labels[std::string(k)] = v.str(); });
  n.unschedulable = node["spec"]["unschedulable"].boolean();
  each(node["spec"]["taints"], [&](std::string_view, Cursor t) {
    n.taints.push_back({t["key"].str(), t["value"].str(), t["effect"].str()});
  });
  n.allocatable = read_amounts(node["status"]["allocatable"]);
  return n;
}

}  // namespace limpet::scheduler
