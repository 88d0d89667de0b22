// What a device is in its cluster.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace limpet::cluster {

// A server holds a replica of the store and may vote; an agent only runs pods.
enum class Role : uint8_t { server, agent };

constexpr std::string_view role_name(Role role) { return role == Role::server ? "server" : "agent"; }
constexpr std::optional<Role> parse_role(std::string_view name) {
  if (name == "server") return Role::server;
  if (name == "agent") return Role::agent;
  return {};
}

}  // namespace limpet::cluster
