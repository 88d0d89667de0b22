// Readiness of a descriptor that someone else owns: netlink sockets, inotify, pidfds, mbedTLS-free protocols.
//
// The descriptor must be non-blocking, stay open until the Poll is destroyed, and have one Poll at a time.
// Regular files cannot be polled. Destroying the Poll from inside its own callback is safe.
#pragma once

#include "loop/loop.h"

namespace limpet::loop {

struct PollEvents {
  bool readable = false;
  bool writable = false;
  bool hangup = false;  // the other side closed (reported with either interest)
  int error = 0;        // errno of a failed poll
};

class Poll {
 public:
  using OnEvents = std::function<void(PollEvents)>;
  static Result<std::unique_ptr<Poll>> make(Loop& loop, int fd);
  ~Poll();
  Poll(const Poll&) = delete;
  // Replaces interest and callback. Level-triggered: called again while the condition lasts.
  void start(bool readable, bool writable, OnEvents f);
  void stop();

 private:
  struct Impl;
  explicit Poll(Impl* impl) : impl_(impl) {}
  Impl* impl_;
};

}  // namespace limpet::loop
