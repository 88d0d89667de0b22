// From "who sent it" to "who serves it": here, at the newest state, or at the leader. Where it is served it
// is authorised, the objects that its user's proof hangs on are looked for, and it is routed.
#pragma once

#include "api/context.h"

namespace limpet::api {

// `authorisation` answers the call and returns false, or lets it pass.
void dispatch(CallPtr call, bool (*authorisation)(const CallPtr&));

}  // namespace limpet::api
