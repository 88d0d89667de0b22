// One connection to a shim's socket: requests in, frames out, both in bounded buffers that exist only while
// the connection does. A peer that does not read loses its connection, never the container.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "node/runtime/shim_protocol.h"

namespace limpet::shim {

namespace wire = node::shim;

class Client {
 public:
  static Client* make(int fd);  // null without memory; takes fd over
  void destroy();

  int fd() const { return fd_; }
  bool watching = false;
  bool attached = false;
  bool wants_output = false;
  bool wants_stdin = false;
  bool stdin_blocked = false;  // a stdin frame waits for room in the container's pipe
  size_t stdin_sent = 0;       // of that frame
  bool doomed = false;         // close as soon as the buffer is out

  // Reads what is there. False: the peer is gone or breaks the rules.
  bool fill();
  // The first whole request. False: none yet.
  bool next(uint8_t* type, const char** payload, size_t* size);
  void drop_request();  // that one is done

  bool send(uint8_t type, const void* payload, size_t size);  // false: no room
  bool flush();                                               // false: the peer is gone
  bool has_output() const { return out_end_ > out_start_; }
  size_t output_room() const { return sizeof out_ - (out_end_ - out_start_); }
  int64_t last_progress_ms = 0;

 private:
  int fd_ = -1;
  size_t in_used_ = 0;
  size_t out_start_ = 0, out_end_ = 0;
  char in_[wire::header_bytes + wire::max_request_bytes];
  char out_[48 * 1024];
};

}  // namespace limpet::shim
