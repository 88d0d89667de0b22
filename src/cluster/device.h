// What the cluster knows of a device: one JSON object in the store, under a prefix that no resource of the
// API maps to. Written when it joins, changed when it moves or leaves.
//
//   limpet/devices/NAME      of every device, by which the name is held
//   limpet/members/ID        the same of a server, by the id of its raft member in 16 hex digits
//
// Shape: {"name", "role", "member" (hex, servers), "addresses" (of 6444), "apiPort", "joined" (RFC 3339),
// "publicKey" (SubjectPublicKeyInfo, base64), "version", "state"}. Unknown members are passed over: a newer
// limpet may have written it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/result.h"
#include "cluster/role.h"
#include "raft/membership.h"

namespace limpet::cluster {

constexpr size_t max_addresses = 16;
constexpr int default_api_port = 6443;

// removed: left for good, its name is free. revoked: in wrong hands; the name is free, its key never again.
enum class DeviceState : uint8_t { active, removed, revoked };

struct Device {
  std::string name;
  Role role = Role::agent;
  raft::MemberId member = 0;           // 0 on agents
  std::vector<std::string> addresses;  // HOST:PORT, [ADDRESS]:PORT
  int api_port = default_api_port;
  int64_t joined_at = 0;  // seconds since 1970
  std::string spki;       // public half of node.key
  std::string version;    // of limpet, when it joined
  DeviceState state = DeviceState::active;
};

constexpr std::string_view devices_prefix = "limpet/devices/";
constexpr std::string_view members_prefix = "limpet/members/";
constexpr std::string_view denied_prefix = "limpet/denied/";

std::string device_key(std::string_view name);
std::string member_key(raft::MemberId id);
// Of a device whose certificate is refused everywhere, by the hash of its key (hex of SHA-256 of the
// SubjectPublicKeyInfo), and what stands there.
std::string denied_key(std::string_view spki_sha256);
// {"name", "state" (removed, revoked), "at"}: of a device that left; read by decode_denied() of join.h.
std::string denied_record(const Device& device, WallTime at);

std::string encode(const Device& device);
// `corrupt`: it could not have been written by encode().
Result<Device> decode_device(std::string_view json);

std::string member_text(raft::MemberId id);  // 16 hex digits
// 0 when it is no such text.
raft::MemberId parse_member(std::string_view text);
// Where a peer can be dialled: a host name or address, and a port.
bool valid_address(std::string_view address);
// An array of at most max_addresses of them.
Result<std::vector<std::string>> read_addresses(json::Ref array);
void write_addresses(json::Writer& w, const std::vector<std::string>& addresses);

}  // namespace limpet::cluster
