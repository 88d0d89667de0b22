// Nodes and their leases as the controller of their life cycle sees them.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "controllers/object.h"

namespace limpet::controllers {

struct Taint {
  std::string key, value, effect;
  std::string raw;  // JSON as stored, with what is not read here

  bool is(std::string_view k, std::string_view e) const { return key == k && effect == e; }
};

struct NodeView : Object {
  std::vector<Taint> taints;
  std::vector<std::pair<std::string, std::string>> conditions;  // type and status
  std::string heartbeat;  // lastHeartbeatTime of Ready, as the device wrote it
  bool unschedulable = false;

  // Status of a condition: True, False, Unknown; empty when there is none.
  std::string_view condition(std::string_view type) const;
  bool ready() const { return condition("Ready") == "True"; }
  bool has_taint(std::string_view key) const;
  bool has_taint(std::string_view key, std::string_view effect) const;
};
NodeView read_node(json::Cursor node);

// What matters is that it changed: a lease says nothing here but its version, since the clock of the device
// that wrote it may be wrong.
struct LeaseView : Object {};
LeaseView read_lease(json::Cursor lease);

}  // namespace limpet::controllers
