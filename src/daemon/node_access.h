// What the API asks of the device that runs a pod (logs, exec, attach), answered by this device's own node
// agent.
#pragma once

#include "api/node_access.h"
#include "base/clock.h"
#include "loop/loop.h"
#include "node/agent.h"
#include "node/runtime/runtime.h"

namespace limpet::daemon {

class LocalNodeAccess final : public api::NodeAccess {
 public:
  LocalNodeAccess(loop::Loop& loop, Clock& clock, node::Agent& agent, node::Runtime& runtime)
      : loop_(loop), clock_(clock), agent_(agent), runtime_(runtime) {}
  [[nodiscard]] std::unique_ptr<api::LogSession> logs(const api::ContainerRef& container,
                                                      api::LogOptions options,
                                                      api::LogSession::Events events) override;
  [[nodiscard]] std::unique_ptr<api::ExecSession> exec(const api::ContainerRef& container,
                                                       api::ExecRequest request,
                                                       api::ExecSession::Events events) override;

 private:
  loop::Loop& loop_;
  Clock& clock_;
  node::Agent& agent_;
  node::Runtime& runtime_;
};

}  // namespace limpet::daemon
