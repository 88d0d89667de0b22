// What a service-account token is bound to: its account, and the pod, secret or node it was made for. A token
// outlives none of them, nor is it good for another object of the same name:
// https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/
#pragma once

#include <functional>
#include <vector>

#include "api/user.h"
#include "store/store.h"

namespace limpet::api {

// Whether all of them are there under their uid. The answer may come before the call returns; a store that
// cannot be read says no.
void are_there(store::Space& space, std::vector<BoundObject> objects, std::function<void(bool)> done);

}  // namespace limpet::api
