#include "node/pod/spec.h"

#include "schema/quantity.h"

namespace limpet::node {

namespace {

using json::Cursor;

template <class F>
void each(Cursor list, F f) {
  list.each([&](std::string_view, Cursor item) {
    f(item);
    return true;
  });
}

Handler read_http(Cursor c) {
  Handler h{
      Handler::Kind::http, {}, c["host"].str(), c["path"].str("/"), c["scheme"].str("HTTP"), {}, {}, {}, 0};
  h.port = c["port"].type() == json::Type::number ? std::to_string(c["port"].integer()) : c["port"].str();
  each(c["httpHeaders"], [&](Cursor x) { h.headers.push_back({x["name"].str(), x["value"].str()}); });
  return h;
}

Handler read_handler(Cursor c) {
  Handler h;
  if (c["exec"]) {
    h.kind = Handler::Kind::exec;
    each(c["exec"]["command"], [&](Cursor a) { h.command.push_back(a.str()); });
  } else if (c["httpGet"]) {
    h = read_http(c["httpGet"]);
  } else if (const Cursor tcp = c["tcpSocket"]; tcp) {
    h.kind = Handler::Kind::tcp;
    h.host = tcp["host"].str();
    h.port =
        tcp["port"].type() == json::Type::number ? std::to_string(tcp["port"].integer()) : tcp["port"].str();
  } else if (c["grpc"]) {
    h.kind = Handler::Kind::grpc;
    h.port = std::to_string(c["grpc"]["port"].integer());
    h.service = c["grpc"]["service"].str();
  } else if (c["sleep"]) {
    h.kind = Handler::Kind::sleep;
    h.seconds = c["sleep"]["seconds"].integer();
  }
  return h;
}

ProbeSpec read_probe(Cursor c) {
  ProbeSpec p;
  if (!c) return p;
  p.handler = read_handler(c);
  p.initial_delay_s = c["initialDelaySeconds"].integer(0);
  p.period_s = c["periodSeconds"].integer(10);
  p.timeout_s = c["timeoutSeconds"].integer(1);
  p.success_threshold = c["successThreshold"].integer(1);
  p.failure_threshold = c["failureThreshold"].integer(3);
  if (c["terminationGracePeriodSeconds"])
    p.termination_grace_s = c["terminationGracePeriodSeconds"].integer();
  return p;
}

ContainerSpec read_container(Cursor c, ContainerKind kind, size_t index) {
  ContainerSpec s;
  s.name = c["name"].str();
  s.kind = kind;
  s.index = index;
  s.image = c["image"].str();
  s.pull_policy = c["imagePullPolicy"].str("IfNotPresent");
  s.startup = read_probe(c["startupProbe"]);
  s.liveness = read_probe(c["livenessProbe"]);
  s.readiness = read_probe(c["readinessProbe"]);
  s.post_start = read_handler(c["lifecycle"]["postStart"]);
  s.pre_stop = read_handler(c["lifecycle"]["preStop"]);
  s.stop_signal = c["lifecycle"]["stopSignal"].str();
  s.termination_message_path = c["terminationMessagePath"].str("/dev/termination-log");
  s.termination_message_policy = c["terminationMessagePolicy"].str("File");
  return s;
}

const char* list_of(ContainerKind kind) {
  switch (kind) {
    case ContainerKind::init:
    case ContainerKind::sidecar:
      return "initContainers";
    case ContainerKind::ephemeral:
      return "ephemeralContainers";
    case ContainerKind::regular:
      break;
  }
  return "containers";
}

void read_list(Cursor list, ContainerKind kind, std::vector<ContainerSpec>* out) {
  size_t index = 0;
  each(list, [&](Cursor c) {
    const bool sidecar = kind == ContainerKind::init && c["restartPolicy"].str_equals("Always");
    out->push_back(read_container(c, sidecar ? ContainerKind::sidecar : kind, index++));
  });
}

bool same_amount(Cursor a, Cursor b) {
  const auto x = schema::Quantity::parse(a.str()), y = schema::Quantity::parse(b.str());
  return x && y && *x == *y;
}

}  // namespace

const ContainerSpec* PodSpec::find(std::string_view container) const {
  for (const ContainerSpec& c : containers) {
    if (c.name == container) return &c;
  }
  return nullptr;
}

PodSpec read_pod_spec(SharedBytes bytes) {
  PodSpec p;
  const Cursor pod(*bytes);
  const Cursor meta = pod["metadata"], spec = pod["spec"];
  p.ns = meta["namespace"].str();
  p.name = meta["name"].str();
  p.uid = meta["uid"].str();
  if (meta["deletionTimestamp"]) p.deletion = Deletion{meta["deletionGracePeriodSeconds"].integer(30)};
  const std::string policy = spec["restartPolicy"].str("Always");
  p.restart_policy = policy == "Never"       ? RestartPolicy::never
                     : policy == "OnFailure" ? RestartPolicy::on_failure
                                             : RestartPolicy::always;
  p.termination_grace_s = spec["terminationGracePeriodSeconds"].integer(30);
  if (spec["activeDeadlineSeconds"]) p.active_deadline_s = spec["activeDeadlineSeconds"].integer();
  p.host_network = spec["hostNetwork"].boolean();
  read_list(spec["initContainers"], ContainerKind::init, &p.containers);
  read_list(spec["containers"], ContainerKind::regular, &p.containers);
  read_list(spec["ephemeralContainers"], ContainerKind::ephemeral, &p.containers);
  each(spec["readinessGates"], [&](Cursor g) { p.readiness_gates.push_back(g["conditionType"].str()); });
  p.qos_class = qos_class(pod);
  p.bytes = std::move(bytes);
  return p;
}

Cursor container_json(const PodSpec& pod, const ContainerSpec& container) {
  return Cursor(*pod.bytes)["spec"][list_of(container.kind)].at(container.index);
}

std::string qos_class(Cursor pod) {
  bool any = false, guaranteed = true;
  const auto look = [&](Cursor c) {
    const Cursor limits = c["resources"]["limits"], requests = c["resources"]["requests"];
    for (const char* name : {"cpu", "memory"}) {
      if (limits[name] || requests[name]) any = true;
      if (!limits[name] || (requests[name] && !same_amount(requests[name], limits[name]))) guaranteed = false;
    }
  };
  each(pod["spec"]["containers"], look);
  each(pod["spec"]["initContainers"], look);
  if (!any) return "BestEffort";
  return guaranteed ? "Guaranteed" : "Burstable";
}

}  // namespace limpet::node
