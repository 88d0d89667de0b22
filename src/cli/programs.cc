#include "cli/programs.h"

#include "loop/process.h"

namespace limpet::cli {

ProgramResult run_program(loop::Loop& loop, std::vector<std::string> argv, int64_t deadline_ms,
                          size_t max_bytes) {
  loop::ProcessOptions o;
  o.argv = std::move(argv);
  o.env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"};
  o.out = loop::Stdio::collect(max_bytes);
  o.err = loop::Stdio::collect(max_bytes);
  o.deadline_ms = deadline_ms;
  ProgramResult result;
  bool done = false;
  loop::Process process;
  const auto started = process.start(loop, std::move(o), [&](loop::ProcessExit exit) {
    result.ok = exit.ok();
    result.out = exit.out + exit.err;
    if (exit.timed_out) result.out += "it did not end in time";
    done = true;
  });
  if (!started) return {false, false, started.error().message};
  result.started = true;
  (void)loop.run_until([&] { return done; }, deadline_ms + 2000);
  return result;
}

}  // namespace limpet::cli
