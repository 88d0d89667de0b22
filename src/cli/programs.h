// Other programs of the device, asked by commands: what they write, within a deadline.
#pragma once

#include <string>
#include <vector>

#include "loop/loop.h"

namespace limpet::cli {

struct ProgramResult {
  bool started = false, ok = false;
  std::string out;  // standard output, then standard error; at most max_bytes of each
};

// Turns the loop until the program has ended, for deadline_ms at most.
ProgramResult run_program(loop::Loop& loop, std::vector<std::string> argv, int64_t deadline_ms,
                          size_t max_bytes = 64 * 1024);

}  // namespace limpet::cli
