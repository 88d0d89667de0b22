// What is left of a namespace that ends, and the conditions by which its status says so, worded as upstream's
// namespace controller does. https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json.h"

namespace limpet::api {

struct NamespaceRest {
  std::map<std::string, int> resources;   // "configmaps.", "deployments.apps" -> how many objects
  std::map<std::string, int> finalizers;  // that hold some of them -> in how many
  std::vector<std::string> errors;        // of deletions that failed
  bool empty() const { return resources.empty() && errors.empty(); }
};

// Writes status.conditions. False when they are so already.
bool set_namespace_conditions(json::Ref ns, const NamespaceRest& rest, WallTime now);

}  // namespace limpet::api
