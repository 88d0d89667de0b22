// The raft connection of one member to this device: frames in, one message after the other to the owner, and
// short answers to what has just come, since they ride on the acknowledgement that TCP owes for it. Internal;
// owned by the acceptor, shared with the call that runs in it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "peer/core.h"

namespace limpet::peer {

class Incoming : public std::enable_shared_from_this<Incoming> {
 public:
  struct Counts {
    uint64_t messages = 0, answers = 0;
    uint64_t bytes = 0, answer_bytes = 0;
    int64_t last_ms = -1;
  };
  // Its end, once: `refused` when it sent what it may not. Not after close().
  using OnEnd = std::function<void(const std::shared_ptr<Incoming>&, std::optional<Refusal> refused)>;

  Incoming(Core& core, Caller caller, std::unique_ptr<tls::Stream> stream, Counts& counts, OnEnd on_end);
  void start(std::string_view received, bool paused);
  void pause(bool paused);
  void close();
  // False: to be sent another way. One answer for each arrival, and nothing that could wait here.
  bool answer(const std::string& message);
  const Caller& caller() const { return caller_; }

 private:
  void arrived(std::string_view bytes);
  void deliver();
  void end(std::optional<Refusal> refused);

  Core& core_;
  Caller caller_;
  std::unique_ptr<tls::Stream> stream_;  // null once closed
  Counts& counts_;                       // of the member: they go on with its next connection
  OnEnd on_end_;
  FrameReader reader_{Kind::raft};
  bool paused_ = false;
  bool delivering_ = false;
  bool owes_ = false;  // an answer to what came
};

}  // namespace limpet::peer
