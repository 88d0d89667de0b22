// What the scheduler knows of pods and nodes: plain values, read from stored bytes, without a client or a
// clock in sight. Names follow Kubernetes' scheduler.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace limpet::scheduler {

// Amounts by resource name: cpu in thousandths of a core, all others in their base unit (bytes, pieces).
using Amounts = std::map<std::string, int64_t, std::less<>>;

struct Taint {
  std::string key, value, effect;
};

struct Toleration {
  std::string key, op, value, effect;  // empty key with Exists: everything; empty effect: all effects
};

// One line of a node selector term; `field` lines speak of metadata.name instead of labels.
struct Requirement {
  bool field = false;
  std::string key, op;
  std::vector<std::string> values;
};

struct SelectorTerm {
  std::vector<Requirement> all_of;
};

struct PreferredTerm {
  int64_t weight = 0;
  SelectorTerm term;
};

struct HostPort {
  std::string protocol, ip;
  int64_t port = 0;
};

struct PodInfo {
  std::string ns, name, uid;
  std::string node_name;  // bound to, empty when pending
  std::string scheduler_name;
  bool finished = false;  // Succeeded or Failed: holds nothing any more
  bool terminating = false;
  bool gated = false;  // schedulingGates are left
  int64_t priority = 0;
  bool never_preempts = false;  // preemptionPolicy: Never
  Amounts requests;
  std::vector<std::pair<std::string, std::string>> node_selector;
  bool has_required_affinity = false;
  std::vector<SelectorTerm> required;  // any of
  std::vector<PreferredTerm> preferred;
  std::vector<Toleration> tolerations;
  std::vector<HostPort> host_ports;
};

struct NodeInfo {
  std::string name;
  std::map<std::string, std::string, std::less<>> labels;
  std::vector<Taint> taints;
  bool unschedulable = false;
  Amounts allocatable;
  Amounts requested;  // by the pods bound here
  std::vector<HostPort> used_ports;
  // The same by the priority of the pods: what would be free without those below a priority.
  struct Share {
    Amounts requested;
    std::vector<HostPort> ports;
  };
  std::map<int64_t, Share> shares;

  void add(const PodInfo& pod);
  void remove(const PodInfo& pod);
};

// All nodes, ordered by name.
struct Snapshot {
  std::vector<NodeInfo> nodes;
};

}  // namespace limpet::scheduler
