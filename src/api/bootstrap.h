// What a cluster has from its first moment on: the built-in namespaces, and in each namespace the default
// service account and the cluster's CA. Missing ones are made at start and when they vanish.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "api/context.h"
#include "store/store.h"

namespace limpet::api {

// The objects that are made together with a namespace, in its transaction.
std::vector<store::Op> namespace_companions(Core& core, std::string_view ns);

// Makes the built-in namespaces that are missing; then Core::ready, then done.
void bootstrap(Core& core, std::function<void(Result<>)> done);

}  // namespace limpet::api
