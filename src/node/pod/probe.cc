#include "node/pod/probe.h"

namespace limpet::node {

const char* probe_name(ProbeKind kind) {
  switch (kind) {
    case ProbeKind::startup:
      return "Startup";
    case ProbeKind::liveness:
      return "Liveness";
    case ProbeKind::readiness:
      break;
  }
  return "Readiness";
}

std::optional<bool> Probe::result(bool success, int64_t now_ms) {
  next_ms_ = now_ms + period_ms();
  in_a_row_ = any_ && last_ == success ? in_a_row_ + 1 : 1;
  last_ = success;
  any_ = true;
  if (in_a_row_ != (success ? spec_.success_threshold : spec_.failure_threshold)) return std::nullopt;
  if (!success) {
    const bool was = verdict_;
    verdict_ = false;
    // Readiness that never passed does not change by failing; the others ask for the container's end each
    // time.
    if (kind_ == ProbeKind::readiness) return was ? std::optional(false) : std::nullopt;
    in_a_row_ = 0;
    return false;
  }
  if (verdict_) return std::nullopt;
  verdict_ = true;
  return true;
}

}  // namespace limpet::node
