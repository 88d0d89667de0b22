// What hangs below an object without being one: each in its own file.
#pragma once

#include "api/context.h"

namespace limpet::api {

void pod_log(CallPtr call);             // log.cc
void pod_exec(CallPtr call);            // exec.cc, also attach
void bind_pod(CallPtr call);            // binding.cc
void evict_pod(CallPtr call);           // eviction.cc
void create_token(CallPtr call);        // token.cc
void finalize_namespace(CallPtr call);  // namespaces.cc
void get_scale(CallPtr call);           // scale.cc
void update_scale(CallPtr call);
void patch_scale(CallPtr call);
void create_review(CallPtr call);  // reviews.cc: kinds that are answered and not kept

}  // namespace limpet::api
