// The node agent: keeps the pods bound to this device running, and the API told.
//
// It watches the pods of its node through the client interface, gives each a worker (pod_worker.h), adopts
// what runs already, starts what the device's record says when there is no server, and reports. Owned by the
// daemon; all on the loop's thread; destroying it stops no container.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "client/client.h"
#include "client/events.h"
#include "http/client.h"
#include "loop/loop.h"
#include "node/node_db.h"
#include "node/objects.h"
#include "node/pod/host_files.h"
#include "node/runtime/runtime.h"
#include "node/services.h"

namespace limpet::node {

struct AgentOptions {
  std::string node_name;
  std::string data_dir, run_dir;
  std::string log_dir = "/var/log/pods";
  std::string seccomp_dir;  // localhost profiles; empty: <data_dir>/seccomp
  DnsOptions dns;
  std::vector<std::string> host_ips;
  int64_t node_cpu_millis = 0, node_memory_bytes = 0;
};

// What workers need, owned elsewhere and outliving them.
struct AgentServices {
  loop::Loop& loop;
  Clock& clock;
  Random& random;
  client::Client& client;
  Runtime& runtime;
  Images& images;
  PodNetwork& network;
  NodeDb& db;
  client::EventRecorder& events;
  Objects& objects;
  const AgentOptions& options;
  http::Dialer* probe_dialer = nullptr;  // TLS without a check of names: probes go to the device's own pods
};

class PodWorker;

class Agent {
 public:
  explicit Agent(AgentServices services);
  ~Agent();

  // Adopts, starts what the record says, begins to watch. `done` when the adoption is over.
  void start(std::function<void(Result<>)> done);
  // Stops watching and reporting; containers run on.
  void stop();
  // What options say of the device changed (its address), or the servers can be reached again: the status of
  // every pod is brought up to date, also where the API did not take it a moment ago.
  void report_again();

  // The worker of a pod by "namespace/name", for logs, exec and attach; null when it is not of this device.
  PodWorker* find(const std::string& full_name);
  std::vector<const PodWorker*> workers() const;
  bool synced() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // callbacks that come late hold it weakly
};

}  // namespace limpet::node
