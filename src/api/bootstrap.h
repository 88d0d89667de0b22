// What a cluster has from its first moment on: the built-in namespaces, and in each namespace the default
// service account and the cluster's CA. Missing ones are made at start and when they vanish.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "api/context.h"
#include "store/store.h"

namespace limpet::api {

// The objects that are made together with a namespace, in its transaction.
std::vector<store::Op> namespace_companions(Core& core, std::string_view ns);

// True for keys of such objects; `ns` is set.
bool is_companion(std::string_view key, std::string* ns);
// Makes those again that are missing, unless the namespace is gone or going.
void restore_companions(Core& core, std::string ns);

// kube-root-ca.crt of one namespace, or of all, holds the cluster's CA again: it was renewed, or somebody
// changed the object. Nothing is written where it does.
void refresh_root_ca(Core& core, std::string ns);
void refresh_root_cas(Core& core);

// Whether the built-in namespaces are there: they come from the leader on a server that does not lead.
void find_built_in(Core& core, std::function<void(bool)> done);

// Makes the built-in namespaces that are missing; then Core::ready, then done.
void bootstrap(Core& core, std::function<void(Result<>)> done);

}  // namespace limpet::api
