// /livez, /readyz, /healthz (also with ?verbose and for one check), /version and /metrics.
#pragma once

#include "api/context.h"

namespace limpet::api {

// False: no such path.
bool serve_health(const CallPtr& call);

}  // namespace limpet::api
