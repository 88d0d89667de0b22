// What the Manager knows of a controller. Each is made by a function of its own folder and says in its
// controller.cc (nodelifecycle: controller.h) what it does.
//
// Owned by the Manager, like the caches it borrows. Created anew with each leadership. Loop thread only.
#pragma once

#include <memory>

#include "controllers/manager.h"

namespace limpet::controllers {

class Controller {
 public:
  virtual ~Controller() = default;
  // When its caches are full; again and again is fine.
  virtual void start() = 0;
};

namespace deployment {
std::unique_ptr<Controller> make_controller(const Context& context, Caches& caches);
}
namespace nodelifecycle {
std::unique_ptr<Controller> make_controller(const Context& context, Caches& caches,
                                            const NodeOptions& options);
}
namespace replicaset {
std::unique_ptr<Controller> make_controller(const Context& context, Caches& caches);
}
namespace tokencleaner {
std::unique_ptr<Controller> make_controller(const Context& context, Caches& caches);
}

}  // namespace limpet::controllers
