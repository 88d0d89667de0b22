// The life cycle of nodes, after upstream's node life cycle controller, taint eviction controller and the
// part of its pod garbage collector that looks after nodes that are gone:
//
//   a lease that does not change for the grace period -> conditions Unknown, pods not ready
//   conditions -> taints;  NoExecute taints -> evictions, when tolerations are used up
//   more than 55 % of the devices unreachable -> no evictions for that
//   a Node that was removed -> its pods are removed for good after a quarantine
//
// Created anew with each leadership: it remembers nothing of before and reads no time that others wrote. One
// timer, for what is due next. Owned by the Manager, like the caches it borrows. Loop thread only.
#pragma once

#include <memory>

#include "controllers/manager.h"

namespace limpet::controllers::nodelifecycle {

class Controller {
 public:
  Controller(const Context& context, Caches& caches, const NodeOptions& options);
  ~Controller();
  void start();

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace limpet::controllers::nodelifecycle
