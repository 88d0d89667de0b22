// The simulator of the consensus core: sim_raft [--seeds N] [--from SEED] [--seed SEED] [--trace] [--seconds
// S]
//
// Each seed is one run of a group with everything that can go wrong; the same seed is the same run. A failing
// seed is printed with what it broke; --seed SEED --trace tells every step of it. The build with planted bugs
// (sim_planted) also takes --plant NAME. --until-found ends with the first that fails.
//
// A rule that was broken is a line "FAIL seed N", and exit code 1 at the end. A run that crashes (an
// assertion, a signal) ends the process, which tells its seed before: "CRASHED seed N".
#include <unistd.h>

#include <chrono>
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "world.h"

#ifdef LIMPET_PLANTED
#include "base/planted.h"

static std::string g_planted;
bool limpet::planted(std::string_view name) { return g_planted == name; }
#endif

namespace {

struct Arguments {
  uint64_t from = 1, seeds = 100;
  double seconds = 1e9;
  bool trace = false, until_found = false;
};

volatile uint64_t g_seed = 0;

extern "C" void tell_seed(int number) {
  char line[64];
  const int length = std::snprintf(line, sizeof line, "CRASHED seed %" PRIu64 "\n", g_seed);
  if (write(STDOUT_FILENO, line, static_cast<size_t>(length)) < 0) _exit(3);
  raise(number);  // as it was before: the handler is for one time
}

void tell_seed_of_crashes() {
  struct sigaction action = {};
  action.sa_handler = tell_seed;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (const int number : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) sigaction(number, &action, nullptr);
}

bool run_one(uint64_t seed, bool trace, sim::Ledger& ledger) {
  g_seed = seed;
  sim::World world(seed, trace);
  try {
    world.run();
    ledger.add(world.ledger());
    return true;
  } catch (const sim::Breach& breach) {
    std::printf("FAIL seed %" PRIu64 ": %s\n  %s\n", seed, breach.what(), world.weather().text().c_str());
    return false;
  }
}

Arguments read(int argc, char** argv) {
  Arguments out;
  for (int i = 1; i < argc; ++i) {
    const auto is = [&](const char* name) { return std::strcmp(argv[i], name) == 0; };
    if (is("--trace")) {
      out.trace = true;
    } else if (is("--until-found")) {
      out.until_found = true;
    } else if (i + 1 == argc) {
      std::fprintf(stderr, "sim_raft: %s needs a value\n", argv[i]);
      std::exit(2);
    } else if (is("--seeds")) {
      out.seeds = std::strtoull(argv[++i], nullptr, 0);
    } else if (is("--from")) {
      out.from = std::strtoull(argv[++i], nullptr, 0);
    } else if (is("--seed")) {
      out.from = std::strtoull(argv[++i], nullptr, 0);
      out.seeds = 1;
#ifdef LIMPET_PLANTED
    } else if (is("--plant")) {
      g_planted = argv[++i];
#endif
    } else if (is("--seconds")) {
      out.seconds = std::strtod(argv[++i], nullptr);
    } else {
      std::fprintf(stderr, "sim_raft: unknown option %s\n", argv[i]);
      std::exit(2);
    }
  }
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments = read(argc, argv);
  tell_seed_of_crashes();
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  sim::Ledger ledger;
  uint64_t failed = 0, run = 0;
  const auto begin = std::chrono::steady_clock::now();
  const auto spent = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  for (; run < arguments.seeds && spent() < arguments.seconds && !(failed && arguments.until_found); ++run) {
    if (!run_one(arguments.from + run, arguments.trace, ledger)) ++failed;
  }
  std::printf("%" PRIu64 " seeds, %" PRIu64 " failed: %" PRIu64 " operations, %" PRIu64
              " writes acknowledged, %" PRIu64 " reads, %" PRIu64 " faults, %" PRIu64
              " memberships applied, %" PRIu64 " snapshot chunks, %" PRIu64 " leaders, %" PRIu64
              " messages, %.1f virtual hours\n",
              run, failed, ledger.operations, ledger.acknowledged, ledger.reads, ledger.faults.done(),
              ledger.memberships, ledger.snapshots, ledger.terms, ledger.messages,
              static_cast<double>(ledger.time) / 3.6e9);
  std::printf("%s\n", ledger.faults.text(sim::Simulator::core).c_str());
  return failed == 0 ? 0 : 1;
}
