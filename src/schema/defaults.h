// Defaults that a table cannot say, one function and file per kind that has any. Room-internal: codec.h runs
// them.
#pragma once

#include "base/json.h"

namespace limpet::schema {

void default_pod(json::Ref pod);        // whenever a pod comes in
void default_new_pod(json::Ref pod);    // at creation only
void default_pod_spec(json::Ref spec);  // pods and pod templates alike: pull policies, volumes, account name
void default_namespace(json::Ref ns);
void default_new_namespace(json::Ref ns);
void default_node(json::Ref node);
void default_deployment(json::Ref deployment);
void default_replica_set(json::Ref set);

}  // namespace limpet::schema
