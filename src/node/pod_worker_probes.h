// The probes of one running container. Internal to the pod worker.
#pragma once

#include <memory>
#include <vector>

#include "node/pod_worker.h"

namespace limpet::node {

struct PodWorker::Probes {
  struct One {
    Probe probe;
    std::unique_ptr<loop::Timer> timer;
    std::unique_ptr<Operation> running;
  };
  std::vector<One> list;
};

}  // namespace limpet::node
