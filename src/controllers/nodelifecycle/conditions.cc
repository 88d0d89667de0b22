#include "controllers/nodelifecycle/conditions.h"

#include "controllers/calls.h"

namespace limpet::controllers::nodelifecycle {
namespace {

// As upstream; NetworkUnavailable is not the device's to say.
constexpr std::string_view kOfTheDevice[] = {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"};

// An open list of conditions in an open status.
void open_conditions(json::Writer& w) {
  w.end_object().key("status").begin_object().key("conditions").begin_array();
}

std::string close(json::Writer& w) {
  w.end_array().end_object().end_object();
  return w.take();
}

}  // namespace

std::optional<std::string> plan_unknown(const NodeView& node, WallTime now) {
  json::Writer w = begin_patch(node);
  open_conditions(w);
  bool changed = false;
  for (const std::string_view type : kOfTheDevice) {
    const std::string_view status = node.condition(type);
    if (status == "Unknown") continue;
    changed = true;
    const bool never = status.empty();
    w.begin_object().field("type", type).field("status", "Unknown");
    w.field("reason", never ? "NodeStatusNeverUpdated" : "NodeStatusUnknown");
    w.field("message", never ? "Kubelet never posted node status." : "Kubelet stopped posting node status.");
    if (never) w.field("lastHeartbeatTime", rfc3339({node.created_s, 0}));
    w.field("lastTransitionTime", rfc3339(now)).end_object();
  }
  if (!changed) return std::nullopt;
  return close(w);
}

std::string unready_patch(const Object& pod, WallTime now) {
  json::Writer w = begin_patch(pod);
  open_conditions(w);
  w.begin_object().field("type", "Ready").field("status", "False");
  w.field("lastTransitionTime", rfc3339(now)).end_object();
  return close(w);
}

std::string disruption_patch(const Object& pod, std::string_view reason, std::string_view message,
                             bool failed, WallTime now) {
  json::Writer w = begin_patch_of(pod);
  w.end_object().key("status").begin_object();
  if (failed) w.field("phase", "Failed");
  w.key("conditions").begin_array();
  w.begin_object().field("type", "DisruptionTarget").field("status", "True");
  w.field("reason", reason).field("message", message);
  w.field("lastTransitionTime", rfc3339(now)).end_object();
  return close(w);
}

}  // namespace limpet::controllers::nodelifecycle
