// The pod that a replica set makes from its template: a tree, built for one write.
#pragma once

#include <string>

#include "base/json.h"

namespace limpet::controllers {

// What stands in ownerReferences for an owner that controls its object.
json::Value controller_ref(json::Ref owner);

// A body for POST .../pods from an owner with spec.template and its fresh state.
std::string pod_from_template(json::Ref owner);

}  // namespace limpet::controllers
