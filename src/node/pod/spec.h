// A pod as the node agent needs it: the parts that decide its life cycle as values, read once from the stored
// bytes. What only the making of a container needs (env, mounts, security) stays in the bytes and is read
// then (container_config.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/json.h"

namespace limpet::node {

enum class RestartPolicy { always, on_failure, never };

// init: runs to its end before the next; sidecar: an init container with restartPolicy Always, runs beside
// all that follow; ephemeral: added by `kubectl debug`, never restarted.
enum class ContainerKind { init, sidecar, regular, ephemeral };

struct HttpHeader {
  std::string name, value;
};

// Of probes and life cycle hooks.
struct Handler {
  enum class Kind { none, exec, http, tcp, grpc, sleep } kind = Kind::none;
  std::vector<std::string> command;
  std::string host, path, scheme;  // http (and tcp: host)
  std::string port;                // a number, or the name of a port of the container
  std::vector<HttpHeader> headers;
  std::string service;  // grpc
  int64_t seconds = 0;  // sleep
};

struct ProbeSpec {
  Handler handler;
  int64_t initial_delay_s = 0, period_s = 10, timeout_s = 1;
  int64_t success_threshold = 1, failure_threshold = 3;
  std::optional<int64_t> termination_grace_s;
  bool exists() const { return handler.kind != Handler::Kind::none; }
};

struct ContainerSpec {
  std::string name;
  ContainerKind kind = ContainerKind::regular;
  std::string image, pull_policy;
  ProbeSpec startup, liveness, readiness;
  Handler post_start, pre_stop;
  std::string stop_signal;  // "SIGUSR1"; empty: the image's, else SIGTERM
  std::string termination_message_path, termination_message_policy;
  size_t index = 0;  // in its list of the pod
};

struct Deletion {
  int64_t grace_s = 30;
};

struct PodSpec {
  std::string ns, name, uid;
  RestartPolicy restart_policy = RestartPolicy::always;
  int64_t termination_grace_s = 30;
  std::optional<int64_t> active_deadline_s;
  bool host_network = false;
  std::optional<Deletion> deletion;       // metadata.deletionTimestamp is set
  std::vector<ContainerSpec> containers;  // init and sidecar in their order, then regular, then ephemeral
  std::vector<std::string> readiness_gates;
  std::string qos_class;
  SharedBytes bytes;  // the whole object

  const ContainerSpec* find(std::string_view container) const;
  std::string full_name() const { return ns + "/" + name; }
};

PodSpec read_pod_spec(SharedBytes bytes);

// The container's own object in the pod's bytes.
json::Cursor container_json(const PodSpec& pod, const ContainerSpec& container);

// Guaranteed, Burstable or BestEffort, from the requests and limits for cpu and memory of all containers.
// https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/
std::string qos_class(json::Cursor pod);

}  // namespace limpet::node
