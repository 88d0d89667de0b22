// Standard input as chunks on the loop, whatever it is: terminal, pipe, socket, file.
//
// It is opened anew where that is possible, so that making it non-blocking is not felt by the shell that
// shares it. Owned by who reads; no callback after destruction.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "base/unique_fd.h"
#include "loop/loop.h"
#include "loop/poll.h"

namespace limpet::cli {

class Input {
 public:
  // on_bytes for each chunk, at most chunk_bytes long; empty at the end, once.
  using OnBytes = std::function<void(std::string_view)>;
  Input(loop::Loop& loop, int fd, size_t chunk_bytes, OnBytes on_bytes);
  ~Input();
  Input(const Input&) = delete;
  void pause(bool paused);

 private:
  void arm();
  void read_some();

  int fd_;
  int old_flags_ = -1;  // of a descriptor that could not be opened anew
  UniqueFd own_;
  size_t chunk_bytes_;
  OnBytes on_bytes_;
  std::unique_ptr<loop::Poll> poll_;  // null: a file, which is always readable
  loop::Timer timer_;
  bool paused_ = false, ended_ = false;
};

}  // namespace limpet::cli
