// POST /limpet/v1/cluster/join of a device that runs: asks a server to let it in, answers with the reason or
// begins anew as one of that cluster. Nothing of the device changes when it is refused.
//
// Owned by whoever serves it; goes before the Device. Loop thread.
#pragma once

#include <memory>

#include "daemon/joiner.h"
#include "daemon/part.h"
#include "http/message.h"

namespace limpet::daemon {

class JoinCommand {
 public:
  explicit JoinCommand(Device& device) : device_(device) {}
  JoinCommand(const JoinCommand&) = delete;

  // Whether it is a POST of JSON, {"url", "token", "role", "discard"}; else it was answered.
  static bool check(const http::ExchangePtr& exchange);
  void run(http::ExchangePtr exchange);  // after check()

 private:
  Device& device_;
  std::unique_ptr<Joiner> joiner_;
};

}  // namespace limpet::daemon
