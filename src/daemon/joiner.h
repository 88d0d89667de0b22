// Asks a server to let this device in: one POST /limpet/v1/join over TLS, to whoever the token's hash of the
// authority names. What comes back is staged (place.h) and becomes the device's at its next start.
//
// Loop thread. Destroying it ends the attempt.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "daemon/place.h"
#include "loop/loop.h"

namespace limpet::daemon {

struct JoinOptions {
  std::string data_dir;
  std::string node_name;
  std::vector<std::string> addresses;  // of this device's port 6444; servers
  int api_port = 0;
  JoinOrder order;
};

class Joiner {
 public:
  // `unavailable`, `timeout`: not reached, no answer, or the server has trouble of its own; it may be tried
  // again. Other errors are the other side's reasons, or what is wrong with the order, for people.
  using Done = std::function<void(Result<Place>)>;
  // `done` comes once, never before start() returned.
  static std::unique_ptr<Joiner> start(loop::Loop& loop, Clock& clock, JoinOptions options, Done done);
  virtual ~Joiner() = default;
};

}  // namespace limpet::daemon
