// Which container of which pod a log, exec or attach request is about.
#pragma once

#include <functional>

#include "api/context.h"
#include "api/status.h"

namespace limpet::api {

// Reads the pod, picks the container (the one asked for, the annotated default, the only one) and checks that
// a device runs it.
void find_container(CallPtr call, std::function<void(Outcome<ContainerRef>)> done);

// The same for a stored pod: pure. `wanted` may be empty.
Outcome<ContainerRef> pick_container(std::string_view stored_pod, std::string_view wanted, bool logs);

}  // namespace limpet::api
