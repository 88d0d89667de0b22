#include "node/pod/probe.h"

#include <doctest/doctest.h>

using namespace limpet::node;

TEST_CASE("verdicts of probes from a row of results") {
  struct Row {
    const char* name;
    ProbeKind kind;
    int64_t successes, failures;  // thresholds
    const char* results;          // + and -
    const char* verdicts;         // per result: . no change, P passed, F failed
  };
  const Row rows[] = {
      {"readiness passes at once", ProbeKind::readiness, 1, 3, "+++", "P.."},
      {"readiness that never passed stays", ProbeKind::readiness, 1, 3, "-----", "....."},
      {"readiness lost after three", ProbeKind::readiness, 1, 3, "+--+---+", "P.....FP"},
      {"two successes in a row", ProbeKind::readiness, 2, 1, "+-++-", "...PF"},
      {"liveness fails again for the next run", ProbeKind::liveness, 1, 3, "+-----", "P..F.."},
      {"liveness interrupted", ProbeKind::liveness, 1, 2, "-+--", ".P.F"},
      {"startup fails", ProbeKind::startup, 1, 2, "--", ".F"},
      {"startup passes late", ProbeKind::startup, 1, 5, "----+", "....P"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    ProbeSpec spec;
    spec.success_threshold = row.successes;
    spec.failure_threshold = row.failures;
    Probe probe(row.kind, spec, 0);
    std::string got;
    for (const char* r = row.results; *r; r++) {
      const auto v = probe.result(*r == '+', 0);
      got += v ? (*v ? 'P' : 'F') : '.';
    }
    CHECK(got == row.verdicts);
  }
}

TEST_CASE("times of a probe") {
  ProbeSpec spec;
  spec.initial_delay_s = 5;
  spec.period_s = 2;
  Probe probe(ProbeKind::liveness, spec, 1000);
  CHECK(probe.next_ms() == 6000);
  (void)probe.result(true, 6100);
  CHECK(probe.next_ms() == 8100);
}
