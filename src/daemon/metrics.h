// What rooms count, as families of /metrics. Called at each scrape only.
#pragma once

#include "api/metrics.h"
#include "http/server.h"
#include "image/traffic.h"
#include "image/types.h"
#include "loop/loop.h"
#include "node/agent.h"
#include "store/store.h"
#include "tls/tls.h"

namespace limpet::daemon {

void describe_store(api::MetricsText& out, const store::Stats& stats);
// How long the loop was busy in one turn, which is how long everything else waited.
void describe_loop(api::MetricsText& out, loop::Loop& loop);
void describe_tls(api::MetricsText& out, const tls::Stats& stats);
// One listener of possibly several: `https` and `socket` are the counters of the two.
void describe_http(api::MetricsText& out, const http::ServerCounters& https,
                   const http::ServerCounters& socket);
// Pods and containers: how many in which state, restarts, CPU and memory by container.
void describe_pods(api::MetricsText& out, const node::Agent& agent, node::Runtime& runtime);
// What images cost in bytes of the link, and the pulls.
void describe_images(api::MetricsText& out, const image::Traffic& traffic,
                     const std::vector<image::PullStatus>& pulls, uint64_t pulled, uint64_t failed);
// This process: memory, descriptors, CPU time, from /proc/self.
void describe_process(api::MetricsText& out);

}  // namespace limpet::daemon
