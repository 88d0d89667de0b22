// /openapi/v3 and /openapi/v2, from the schema's tables.
#pragma once

#include "api/context.h"

namespace limpet::api {

// False: no such path.
bool serve_openapi(const CallPtr& call);

}  // namespace limpet::api
