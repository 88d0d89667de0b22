// The life of a probe as a pure state machine: results in, verdicts out. The worker runs the handlers
// (prober.h) and acts on verdicts.
//
// https://kubernetes.io/docs/concepts/workloads/pods/probes/: a startup probe holds back the others until it
// passed once; liveness and readiness start out as passed and failed; thresholds count results in a row;
// liveness and startup failures end the container.
#pragma once

#include <cstdint>
#include <optional>

#include "node/pod/spec.h"

namespace limpet::node {

enum class ProbeKind { startup, liveness, readiness };
const char* probe_name(ProbeKind kind);  // "Startup", "Liveness", "Readiness": as in events

class Probe {
 public:
  Probe(ProbeKind kind, const ProbeSpec& spec, int64_t container_started_ms)
      : kind_(kind), spec_(spec), next_ms_(container_started_ms + spec.initial_delay_s * 1000) {}

  ProbeKind kind() const { return kind_; }
  const ProbeSpec& spec() const { return spec_; }
  // When to run the handler next; no earlier than the startup probe's verdict, which the caller holds.
  int64_t next_ms() const { return next_ms_; }
  // One result. The new verdict, when it changed (readiness both ways; liveness and startup: failed once, or
  // passed).
  std::optional<bool> result(bool success, int64_t now_ms);
  // The handler could not be run: as if it had not been its turn.
  void unknown(int64_t now_ms) { next_ms_ = now_ms + period_ms(); }
  bool passed() const { return verdict_; }

 private:
  int64_t period_ms() const { return (spec_.period_s > 0 ? spec_.period_s : 1) * 1000; }

  ProbeKind kind_;
  ProbeSpec spec_;
  int64_t next_ms_;
  int64_t in_a_row_ = 0;
  bool last_ = false;
  bool any_ = false;
  bool verdict_ = false;
};

}  // namespace limpet::node
