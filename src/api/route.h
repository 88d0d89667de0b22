// Where a request goes once it may: discovery and the other documents, or the verb of a resource.
#pragma once

#include "api/context.h"

namespace limpet::api {

void route(CallPtr call);

}  // namespace limpet::api
