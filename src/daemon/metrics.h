// What rooms count, as families of /metrics. Called at each scrape only.
#pragma once

#include <map>
#include <string>

#include "api/metrics.h"
#include "daemon/agent_link.h"
#include "http/server.h"
#include "image/traffic.h"
#include "image/types.h"
#include "loop/loop.h"
#include "node/agent.h"
#include "node/lease_keeper.h"
#include "store/store.h"
#include "tls/tls.h"

namespace limpet::daemon {

// What the parts of a device count. A server's API hands it out beside its own, an agent's socket alone.
class Collectors {
 public:
  // An empty function takes it away.
  void add(const std::string& name, api::Metrics::Collector f) {
    f ? (void)(all_[name] = std::move(f)) : (void)all_.erase(name);
  }
  void collect(api::MetricsText& out) const {
    for (const auto& [name, f] : all_) f(out);
  }

 private:
  std::map<std::string, api::Metrics::Collector> all_;
};

void describe_store(api::MetricsText& out, const store::Stats& stats);
// How long the loop was busy in one turn, which is how long everything else waited.
void describe_loop(api::MetricsText& out, loop::Loop& loop);
void describe_tls(api::MetricsText& out, const tls::Stats& stats);
// By listener; `https` is null on an agent, which has the unix socket alone.
void describe_http(api::MetricsText& out, const http::ServerCounters* https,
                   const http::ServerCounters& socket);
// An agent's connection to the server that holds it, and the heartbeats that it sends.
void describe_link(api::MetricsText& out, const AgentLink& link);
void describe_heartbeats(api::MetricsText& out, const node::LeaseKeeper& lease);
// Pods and containers: how many in which state, restarts, CPU and memory by container.
void describe_pods(api::MetricsText& out, const node::Agent& agent, node::Runtime& runtime);
// What images cost in bytes of the link, and the pulls.
void describe_images(api::MetricsText& out, const image::Traffic& traffic,
                     const std::vector<image::PullStatus>& pulls, uint64_t pulled, uint64_t failed);
// This process: memory, descriptors, CPU time, from /proc/self.
void describe_process(api::MetricsText& out);

}  // namespace limpet::daemon
