// The terminal in raw mode: each key goes to the container as it is. Set back on every way out of the
// process but SIGKILL: by the destructor, and by handlers of the signals that end a process.
#pragma once

#include "base/result.h"

namespace limpet::cli {

class RawTerminal {
 public:
  // One at a time. The descriptor stays open as long as this lives.
  static Result<> enter(int fd);
  static void leave();  // does nothing when not in raw mode

  RawTerminal() = default;
  ~RawTerminal() { leave(); }
  RawTerminal(const RawTerminal&) = delete;
};

struct TerminalSize {
  int width = 0, height = 0;  // 0: unknown
};
TerminalSize terminal_size(int fd);

}  // namespace limpet::cli
