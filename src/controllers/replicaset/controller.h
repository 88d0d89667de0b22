// Keeps the pods of replica sets in number: watches both, lets plan() decide, and does it.
//
// Owned by the Manager, like the caches it borrows. Loop thread only.
#pragma once

#include <memory>

#include "controllers/manager.h"

namespace limpet::controllers::replicaset {

class Controller {
 public:
  Controller(const Context& context, Caches& caches);
  ~Controller();
  void start();

 private:
  struct Impl;
  struct Run;
  std::unique_ptr<Impl> impl_;
};

}  // namespace limpet::controllers::replicaset
