// Deletes tokens that have expired, after upstream's tokencleaner. Whoever joins with a token checks it
// anyway; this keeps the store clean.
//
// Owned by the Manager, like the caches it borrows. Loop thread only.
#pragma once

#include <memory>

#include "controllers/manager.h"

namespace limpet::controllers::tokencleaner {

class Controller {
 public:
  Controller(const Context& context, Caches& caches);
  ~Controller();
  void start();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace limpet::controllers::tokencleaner
