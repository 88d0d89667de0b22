// What is written into the status of nodes that are no longer heard of, and of the pods on them: patches, as
// pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "controllers/nodelifecycle/node.h"
#include "controllers/views.h"

namespace limpet::controllers::nodelifecycle {

// Every condition that only the device can speak for becomes Unknown; nothing when they are. A strategic
// patch of the status, on the condition that the node is still as it was seen.
std::optional<std::string> plan_unknown(const NodeView& node, WallTime now);

// A strategic patch of a pod's status on the same condition: it is not ready.
std::string unready_patch(const Object& pod, WallTime now);

// A strategic patch of a pod's status that says why it is deleted (condition DisruptionTarget); `failed`: and
// that it has ended, since no device will say so.
std::string disruption_patch(const Object& pod, std::string_view reason, std::string_view message,
                             bool failed, WallTime now);

}  // namespace limpet::controllers::nodelifecycle
