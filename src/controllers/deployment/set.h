// The replica set that a deployment makes for its template: a tree, built for one write.
#pragma once

#include <string>

#include "base/json.h"
#include "controllers/deployment/reconcile.h"

namespace limpet::controllers::deployment {

// A body for POST .../replicasets from the fresh state of the deployment.
std::string set_from_deployment(json::Ref deployment, const NewSet& plan);

}  // namespace limpet::controllers::deployment
