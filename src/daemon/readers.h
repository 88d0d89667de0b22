// Who besides root may look at a device through its socket: the members of listen.socketGroup.
#pragma once

#include <cstdint>
#include <string>

namespace limpet::daemon {

constexpr uint32_t no_group = ~0u;

// The group's number, no_group when there is no such group.
uint32_t group_id(const std::string& name);
// Whether the user is a member of the group. The socket says only the peer's primary group.
bool is_member(uint32_t uid, uint32_t primary_gid, uint32_t wanted_gid);

}  // namespace limpet::daemon
