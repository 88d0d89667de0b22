// Authorisation as a step of a request: asks authz.h, answers a refusal, and asks again where the answer may
// have come too early.
#pragma once

#include "api/context.h"

namespace limpet::api {

// False: refused and answered. Sets Call::unsure where confirm_authorisation has to come before anything is
// done.
bool authorise(const CallPtr& call);
// Waits until this server knows all that was acknowledged, asks again, and either answers or calls `allowed`.
void confirm_authorisation(CallPtr call, std::function<void(const CallPtr&)> allowed);

}  // namespace limpet::api
