// limpet-bench-schedule: how many pods a second the scheduler's pure function places over 1,000 devices, each
// decision entered into the snapshot before the next. Prints {"pods":N,"nodes":N,"seconds":S}.
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "base/json.h"
#include "base/result.h"
#include "scheduler/read.h"
#include "scheduler/schedule.h"

using namespace limpet;
using namespace limpet::scheduler;

int main(int argc, char** argv) {
  const int devices = argc > 1 ? atoi(argv[1]) : 1000;
  const double seconds = argc > 2 ? atof(argv[2]) : 5;
  Snapshot snapshot;
  for (int i = 0; i < devices; ++i) {
    // Of three sites and two kinds; every tenth is tainted, as gateways are.
    const std::string text = strf(
        R"({"metadata":{"name":"edge-%04d","labels":{"kubernetes.io/arch":"arm64","site":"s%d","disk":"%s"}},
            "spec":{"taints":[%s]},"status":{"allocatable":{"cpu":"4","memory":"1Gi","pods":"1000000"}}})",
        i, i % 3, i % 2 == 0 ? "ssd" : "sd",
        i % 10 == 0 ? R"({"key":"role","value":"gateway","effect":"NoSchedule"})" : "");
    snapshot.nodes.push_back(read_node(json::Cursor(text)));
  }
  // As a deployment of a small program has them: small requests, a selector, a toleration.
  std::vector<PodInfo> pods;
  for (int i = 0; i < 64; ++i) {
    const std::string text = strf(
        R"({"metadata":{"name":"p%d","namespace":"d"},"spec":{"nodeSelector":{"site":"s%d"},
            "tolerations":[{"key":"role","operator":"Exists"}],
            "containers":[{"name":"c","resources":{"requests":{"cpu":"1m","memory":"1Ki"}}}]}})",
        i, i % 3);
    pods.push_back(read_pod(json::Cursor(text)));
  }
  const auto start = std::chrono::steady_clock::now();
  const auto passed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  long placed = 0;
  while (passed() < seconds) {
    const PodInfo& pod = pods[static_cast<size_t>(placed) % pods.size()];
    const Decision decision = schedule(pod, snapshot);
    if (decision.node.empty()) {
      fprintf(stderr, "pod %ld fits nowhere: %s\n", placed, decision.message.c_str());
      return 1;
    }
    const long number = atol(decision.node.c_str() + 5);
    snapshot.nodes[static_cast<size_t>(number)].add(pod);
    ++placed;
  }
  printf("{\"pods\":%ld,\"nodes\":%d,\"seconds\":%.3f}\n", placed, devices, passed());
}
