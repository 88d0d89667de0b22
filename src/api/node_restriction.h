// What a device may not write although it may write the object: another device's Node, pods or lease, taints
// and labels that would draw workloads to it, tokens of accounts that none of its pods has. After upstream's
// admission plugin of this name, word by word:
// https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction
// https://github.com/kubernetes/kubernetes/blob/master/plugin/pkg/admission/noderestriction/admission.go
//
// Pure functions; for users that are no devices they allow everything. A server (group limpet:servers) may
// also set its own Node's taints and node-role.kubernetes.io labels: it holds the keys of the cluster anyway.
#pragma once

#include <string>
#include <vector>

#include "api/admission.h"

namespace limpet::api {

void node_restriction_needs(const Admission& a, json::Ref object, std::vector<std::string>& keys);
// Of an object as it is about to be stored; `old` is nothing for a new one. Also for writes of status.
Outcome<> node_restriction(const Admission& a, json::Ref object, json::Cursor old, const Lookups& lookups);

// Of DELETE pods/NAME and POST pods/NAME/eviction, on the object that would go.
Outcome<> restrict_deletion(const Call& call, const schema::Resource& r, json::Cursor stored);
// Of POST serviceaccounts/NAME/token: `reference` is spec.boundObjectRef, `bound` the pod that it names, or
// null.
Outcome<> restrict_token(const Call& call, json::Ref reference, const store::Item* bound);

}  // namespace limpet::api
