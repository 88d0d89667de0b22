// Rolls deployments out: watches them, their replica sets and pods, lets plan() decide, and does it.
//
// Owned by the Manager, like the caches it borrows. Loop thread only.
#pragma once

#include <memory>

#include "controllers/manager.h"

namespace limpet::controllers::deployment {

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

}  // namespace limpet::controllers::deployment
