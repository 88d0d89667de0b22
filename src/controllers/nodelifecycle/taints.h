// Taints of nodes and what pods put up with, as pure functions:
// https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "controllers/nodelifecycle/health.h"
#include "controllers/nodelifecycle/node.h"

namespace limpet::controllers::nodelifecycle {

inline constexpr std::string_view kNotReady = "node.kubernetes.io/not-ready";
inline constexpr std::string_view kUnreachable = "node.kubernetes.io/unreachable";
inline constexpr std::string_view kOutOfService = "node.kubernetes.io/out-of-service";

// The list of taints that the node should have by its conditions, as JSON; nothing when it has them. Taints
// of others stay. NoExecute is not newly put on while evictions are held.
std::optional<std::string> plan_taints(const NodeView& node, bool held, WallTime now);

// The NoExecute taints that pods are evicted for now. Those that this controller puts on (not-ready,
// unreachable) count only when this term's judgement agrees, and not while evictions are held.
std::vector<Taint> evicting(const NodeView& node, Standing standing, bool held);

// How long a pod with these tolerations (spec.tolerations) may stay under these taints: 0 when one is not
// tolerated, nothing for ever. As upstream, the first toleration that matches a taint speaks for it, and of
// these the shortest counts.
std::optional<int64_t> allowance_ms(const std::vector<Taint>& taints, json::Cursor tolerations);

}  // namespace limpet::controllers::nodelifecycle
