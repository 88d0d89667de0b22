#include "api/namespace_conditions.h"

#include <algorithm>

namespace limpet::api {
namespace {

struct Condition {
  std::string type, reason, message;
  bool on = false;
};

std::string joined(const std::map<std::string, int>& counts, const char* between) {
  std::string out;
  for (const auto& [what, n] : counts) {
    if (!out.empty()) out += ", ";
    out += what + between + std::to_string(n) + " resource instances";
  }
  return out;
}

std::string joined(std::vector<std::string> errors) {
  std::sort(errors.begin(), errors.end());
  errors.erase(std::unique(errors.begin(), errors.end()), errors.end());
  std::string out = "Failed to delete all resource types, " + std::to_string(errors.size()) + " remaining: ";
  for (size_t i = 0; i < errors.size(); ++i) out += (i ? ", " : "") + errors[i];
  return out;
}

// In upstream's order.
std::vector<Condition> conditions_of(const NamespaceRest& rest) {
  std::vector<Condition> out = {
      {"NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"},
      {"NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions",
       "All legacy kube types successfully parsed"},
      {"NamespaceDeletionContentFailure", "ContentDeleted",
       "All content successfully deleted, may be waiting on finalization"},
      {"NamespaceContentRemaining", "ContentRemoved", "All content successfully removed"},
      {"NamespaceFinalizersRemaining", "ContentHasNoFinalizers",
       "All content-preserving finalizers finished"},
  };
  if (!rest.errors.empty()) {
    out[2] = {out[2].type, "ContentDeletionFailed", joined(rest.errors), true};
  }
  if (!rest.resources.empty()) {
    out[3] = {out[3].type, "SomeResourcesRemain",
              "Some resources are remaining: " + joined(rest.resources, " has "), true};
  }
  if (!rest.finalizers.empty()) {
    out[4] = {out[4].type, "SomeFinalizersRemain",
              "Some content in the namespace has finalizers remaining: " + joined(rest.finalizers, " in "),
              true};
  }
  return out;
}

json::Ref find(json::Ref list, std::string_view type) {
  for (json::Ref c : list) {
    if (c["type"].str() == type) return c;
  }
  return {};
}

}  // namespace

bool set_namespace_conditions(json::Ref ns, const NamespaceRest& rest, WallTime now) {
  json::Ref list = ns.ensure_object("status").ensure_array("conditions");
  bool changed = false;
  for (const Condition& c : conditions_of(rest)) {
    const char* state = c.on ? "True" : "False";
    json::Ref old = find(list, c.type);
    if (old && old["status"].str() == state && old["reason"].str() == c.reason &&
        old["message"].str() == c.message) {
      continue;
    }
    changed = true;
    const bool turned = !old || old["status"].str() != state;
    if (!old) old = list.push(json::Value::object());
    old.set("type", c.type);
    old.set("status", state);
    if (turned) old.set("lastTransitionTime", rfc3339({now.seconds, 0}));
    old.set("reason", c.reason);
    old.set("message", c.message);
  }
  return changed;
}

}  // namespace limpet::api
