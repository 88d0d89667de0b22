// SPDY/3.1 over a loop::Stream, server's side: spdy.h fed from the stream and written to it.
//
// The stream is a connection that Exchange::take_over() gave, or anything else that carries the bytes. Owned
// by who made it. Destroying it drops the connection, except that after close() what is queued still goes
// out. Callbacks come on the loop's thread, never from inside a call; they may destroy the connection.
//
// Bounds: at most max_streams streams; input that waits while reading is paused ends in the kernel's buffer;
// the owner watches write_queue_size() and pauses the source of what it sends.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "http/message.h"
#include "http/spdy_frames.h"
#include "loop/stream.h"

namespace limpet::http {

class SpdyConnection {
 public:
  struct Events {
    std::function<void(uint32_t stream, const Headers&)> on_stream;  // answer with reply() or reset()
    std::function<void(uint32_t stream, std::string_view bytes)> on_data;
    std::function<void(uint32_t stream)> on_end;    // the client sends no more on it
    std::function<void(uint32_t stream)> on_reset;  // gone for both directions
    // Exactly once: the client left, or it broke the protocol (why, for the log). After close(): it is over.
    std::function<void(std::string_view why)> on_close;
    std::function<void()> on_drain;
  };
  SpdyConnection(loop::Loop& loop, std::unique_ptr<loop::Stream> stream, size_t max_streams);
  ~SpdyConnection();
  SpdyConnection(const SpdyConnection&) = delete;

  void set_events(Events events);  // before the next turn of the loop
  void reply(uint32_t stream);
  void send(uint32_t stream, std::string_view bytes);
  void finish(uint32_t stream);  // no more of ours on it
  void reset(uint32_t stream, SpdyReset why);
  // GOAWAY, then waits for the client to leave: one that reads slowly loses what it has not read yet when the
  // connection ends under it. One that does not leave although everything is sent is left after 30 seconds.
  void close();
  size_t write_queue_size() const;
  void pause_reading(bool pause);

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace limpet::http
