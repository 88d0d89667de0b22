// The input of a framed connection whose owner may pause it: for websocket.cc and spdy_connection.cc.
//
// Bytes that come while reading is paused, or while a frame is being handled further up the stack, wait here
// up to a bound, then in the kernel's buffer. Lives in the object that owns the stream, which keeps itself
// alive over a call: handling a frame may end the connection, and the stream with it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "loop/stream.h"

namespace limpet::http {

class FrameInput {
 public:
  // `stream` is the owner's; null once the connection is over.
  explicit FrameInput(std::unique_ptr<loop::Stream>& stream, std::string received = {})
      : stream_(stream), unread_(std::move(received)) {}

  // `step(input)` handles one frame and takes it off the front; false when it needs more bytes or there is no
  // more to handle. Both run it until then, until the owner pauses, or until the connection is over.
  template <class Step>
  void received(std::string_view bytes, Step step) {
    if (paused_ || running_ || !unread_.empty()) {
      unread_.append(bytes);
      if (unread_.size() > max_unread) stream_->read_stop();
      return;
    }
    run(bytes, step);
    if (stream_) unread_.assign(bytes);
  }
  template <class Step>
  void resume(Step step) {
    if (paused_ || running_ || !stream_) return;
    const std::string bytes = std::exchange(unread_, std::string());
    std::string_view view = bytes;
    run(view, step);
    if (!stream_) return;
    if (!view.empty()) unread_.insert(0, view);
    if (!paused_) stream_->read_start();
  }

  // True when that was a change. After pause(false) the owner calls resume(), in a later turn of the loop.
  bool pause(bool paused) { return std::exchange(paused_, paused) != paused; }
  void clear() { unread_ = std::string(); }

 private:
  static constexpr size_t max_unread = 64 * 1024;

  template <class Step>
  void run(std::string_view& input, Step& step) {
    running_ = true;
    while (stream_ && !paused_ && step(input)) {
    }
    running_ = false;
  }

  std::unique_ptr<loop::Stream>& stream_;
  std::string unread_;
  bool paused_ = false;
  bool running_ = false;  // a frame is being handled further up the stack
};

}  // namespace limpet::http
