#include "controllers/nodelifecycle/node.h"

#include <algorithm>

namespace limpet::controllers {

std::string_view NodeView::condition(std::string_view type) const {
  for (const auto& [t, status] : conditions) {
    if (t == type) return status;
  }
  return {};
}

bool NodeView::has_taint(std::string_view key) const {
  return std::any_of(taints.begin(), taints.end(), [key](const Taint& t) { return t.key == key; });
}

bool NodeView::has_taint(std::string_view key, std::string_view effect) const {
  return std::any_of(taints.begin(), taints.end(), [&](const Taint& t) { return t.is(key, effect); });
}

NodeView read_node(json::Cursor node) {
  NodeView out;
  read_object(node, out);
  const json::Cursor spec = node["spec"];
  out.unschedulable = spec["unschedulable"].boolean();
  spec["taints"].each([&out](std::string_view, json::Cursor t) {
    out.taints.push_back({t["key"].str(), t["value"].str(), t["effect"].str(), std::string(t.raw())});
    return true;
  });
  node["status"]["conditions"].each([&out](std::string_view, json::Cursor c) {
    out.conditions.emplace_back(c["type"].str(), c["status"].str());
    if (c["type"].str_equals("Ready")) out.heartbeat = c["lastHeartbeatTime"].str();
    return true;
  });
  return out;
}

LeaseView read_lease(json::Cursor lease) {
  LeaseView out;
  read_object(lease, out);
  return out;
}

}  // namespace limpet::controllers
