// The daemon's side of one connection to a limpet-shim (or its exec helper): frames in both directions.
//
// Owned by whoever talks; destroying it closes the connection, which stops no container. Callbacks come from
// the loop; after on_closed nothing comes. See shim_protocol.h for the frames.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "loop/stream.h"
#include "node/runtime/shim_protocol.h"

namespace limpet::node {

class ShimLink {
 public:
  using Answer = std::function<void(Result<>)>;
  struct Events {
    std::function<void(uint8_t type, std::string_view payload)> on_frame;  // all but ok and error
    std::function<void()> on_closed;
    std::function<void()> on_drain;
  };
  // Connects to the shim's socket in `dir`, whatever the length of that path.
  static Result<std::unique_ptr<ShimLink>> connect(loop::Loop& loop, const std::string& dir, Events events);
  ~ShimLink();

  void send(uint8_t type, std::string_view payload);                // no answer comes
  void ask(uint8_t type, std::string_view payload, Answer answer);  // ok or error comes; lost: unavailable
  size_t queued() const;
  void pause(bool paused);

 private:
  ShimLink() = default;
  void take(std::string_view bytes);
  void closed();
  std::unique_ptr<loop::Stream> stream_;
  Events events_;
  std::string buffer_;
  std::deque<Answer> waiting_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

std::string frame_bytes(uint8_t type, std::string_view payload);

}  // namespace limpet::node
