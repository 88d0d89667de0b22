// An agent's control connection, on either end: whole messages both ways, pings answered by themselves,
// silence noticed.
//
// Owned by whoever dialled it (Kind::agent) or was handed it (PeersCallbacks::on_stream). Callbacks come on
// the loop; the Control may be destroyed from inside them. After on_end nothing comes.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "loop/loop.h"
#include "loop/stream.h"
#include "peer/wire.h"

namespace limpet::peer {

struct ControlOptions {
  int64_t ping_ms = 0;  // a ping so often when nothing else came from the other side; 0: none, wait for its
  int64_t silence_ms = 0;  // nothing came for so long: the connection ends. More than twice the pings' time
  static ControlOptions agent_lan() { return {10'000, 30'000}; }
  static ControlOptions agent_metered() { return {120'000, 300'000}; }
  static ControlOptions server_lan() { return {0, 30'000}; }
  static ControlOptions server_metered() { return {0, 300'000}; }
};

class Control {
 public:
  struct Events {
    std::function<void(const ControlMessage&)> on_message;  // pings and pongs are not handed on
    std::function<void(Error)> on_end;                      // once
  };
  Control(loop::Loop& loop, std::unique_ptr<loop::Stream> stream, ControlOptions options, Events events);
  ~Control();
  Control(const Control&) = delete;
  // `exhausted`: the other side takes nothing and the queue is full; `unavailable`: the connection has ended.
  Result<> send(const ControlMessage& message);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace limpet::peer
