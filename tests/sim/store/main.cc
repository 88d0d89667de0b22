// The simulator of whole stores: sim_store [--seeds N] [--from SEED] [--seed SEED] [--trace]
// [--failpoints N]
//
// As sim_raft: each seed is one run, the same seed the same run; exit code 1 when one failed, or when fewer
// than N failpoints were met by all of them together. A crash tells its seed before. The build with planted
// bugs (sim_store_planted) also takes --plant NAME. --until-found ends with the first that fails.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/log.h"
#include "whole.h"

#ifdef LIMPET_PLANTED
#include "base/planted.h"

static std::string g_planted;
bool limpet::planted(std::string_view name) { return g_planted == name; }
#endif

namespace {

volatile uint64_t g_seed = 0;

extern "C" void tell_seed(int number) {
  char line[64];
  const int length = std::snprintf(line, sizeof line, "CRASHED seed %llu\n", (unsigned long long)g_seed);
  if (write(STDOUT_FILENO, line, static_cast<size_t>(length)) < 0) _exit(3);
  raise(number);
}

void tell_seed_of_crashes() {
  struct sigaction action = {};
  action.sa_handler = tell_seed;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (const int number : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) sigaction(number, &action, nullptr);
}

bool run_one(uint64_t seed, bool trace, limpet::store::test::Disk& disk) {
  g_seed = seed;
  sim::Whole whole(seed, trace, disk);
  try {
    whole.run();
    return true;
  } catch (const sim::Breach& breach) {
    std::printf("FAIL seed %llu: %s\n  %s\n", (unsigned long long)seed, breach.what(),
                whole.weather().c_str());
    return false;
  }
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t from = 1, seeds = 20, need = 0;
  bool trace = false, until_found = false;
  for (int i = 1; i < argc; ++i) {
    const auto is = [&](const char* name) { return std::strcmp(argv[i], name) == 0; };
    if (is("--trace")) {
      trace = true;
    } else if (is("--until-found")) {
      until_found = true;
    } else if (i + 1 == argc) {
      std::fprintf(stderr, "sim_store: %s needs a value\n", argv[i]);
      return 2;
    } else if (is("--seeds")) {
      seeds = std::strtoull(argv[++i], nullptr, 0);
    } else if (is("--from") || is("--seed")) {
      if (is("--seed")) seeds = 1;
      from = std::strtoull(argv[++i], nullptr, 0);
    } else if (is("--failpoints")) {
      need = std::strtoull(argv[++i], nullptr, 0);
#ifdef LIMPET_PLANTED
    } else if (is("--plant")) {
      g_planted = argv[++i];
#endif
    } else {
      std::fprintf(stderr, "sim_store: unknown option %s\n", argv[i]);
      return 2;
    }
  }
  limpet::log::set_sink([](limpet::log::Level, std::string_view) {});
  tell_seed_of_crashes();
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  limpet::store::test::Disk disk;
  disk.observe(1, [] {
    if (sim::Process* const writes = sim::Process::current()) writes->wrote();
  });
  uint64_t failed = 0, run = 0;
  for (; run < seeds && !(failed && until_found); ++run) failed += run_one(from + run, trace, disk) ? 0 : 1;
  for (const auto& [name, n] : sim::Process::firings) sim::Whole::faults.count(sim::Fault::failpoint, n);
  std::printf(
      "%llu seeds, %llu failed: %llu operations, %llu writes acknowledged, %llu events seen, "
      "%llu faults, %llu snapshot chunks, %.2f virtual hours\n",
      (unsigned long long)run, (unsigned long long)failed, (unsigned long long)sim::Whole::operations,
      (unsigned long long)sim::Whole::commits, (unsigned long long)sim::Whole::seen,
      (unsigned long long)sim::Whole::faults.done(), (unsigned long long)sim::Whole::snapshots,
      static_cast<double>(sim::Whole::passed) / 3.6e9);
  std::printf("%s\n", sim::Whole::faults.text(sim::Simulator::stores).c_str());
  for (const auto& [name, n] : sim::Process::firings)
    std::printf("  %llu %s\n", (unsigned long long)n, name.c_str());
  const bool enough = sim::Process::firings.size() >= need;
  if (!enough)
    std::printf("FAIL %zu failpoints were met, not %llu\n", sim::Process::firings.size(),
                (unsigned long long)need);
  return failed == 0 && enough ? 0 : 1;
}
