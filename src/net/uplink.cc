#include "net/uplink.h"

#include <arpa/inet.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace limpet::net {

namespace {

// Reached by the default route and no other: a root name server (a.root-servers.net). Only asked about.
constexpr uint32_t kSomewhere = 0xC6290004;
constexpr uint32_t kDefaultMtu = 1500, kLargestMtu = 65535;  // the most that a veth takes

bool engine_made(const std::string& link) {
  for (const char* prefix : {"docker", "podman", "cni", "virbr", "lxcbr", "lxdbr", "veth"}) {
    if (link.starts_with(prefix)) return true;
  }
  // Docker's further networks: br- and twelve hexadecimal digits. Others call their LAN br-lan.
  return link.starts_with("br-") && link.size() == 15 &&
         link.find_first_not_of("0123456789abcdef", 3) == std::string::npos;
}

uint32_t number(std::string_view data) {
  uint32_t v = 0;
  if (data.size() == sizeof v) memcpy(&v, data.data(), sizeof v);
  return v;
}

}  // namespace

Result<std::optional<Uplink>> find_uplink(NetlinkSocket& socket) {
  NetlinkMessage m(RTM_GETROUTE, NLM_F_REQUEST | NLM_F_ACK);
  rtmsg h{};
  h.rtm_family = AF_INET;
  h.rtm_dst_len = 32;
  m.header(h).attr_u32(RTA_DST, htonl(kSomewhere));
  Uplink found;
  int out = 0;
  auto r = socket.query(m, "ask for the default route", [&](uint16_t type, std::string_view payload) {
    if (type != RTM_NEWROUTE || payload.size() < sizeof h) return;
    each_attribute(payload.substr(NLMSG_ALIGN(sizeof h)), [&](uint16_t attr, std::string_view data) {
      if (attr == RTA_OIF) out = static_cast<int>(number(data));
      if (attr == RTA_PREFSRC) found.source = {ntohl(number(data))};
    });
  });
  if (!r) {
    const int e = r.error().sys_errno;
    const bool none = e == ENETUNREACH || e == EHOSTUNREACH || e == EACCES || e == EINVAL;
    return none ? Result<std::optional<Uplink>>(std::nullopt) : std::unexpected(std::move(r).error());
  }
  if (out == 0) return std::optional<Uplink>();
  TRY(const std::optional<Link> link, find_link(socket, out));
  if (!link || link->loopback || found.source.host_order == 0) return std::optional<Uplink>();
  found.link = link->name;
  found.mtu = link->mtu;
  return std::optional<Uplink>(std::move(found));
}

Result<std::vector<DeviceAddress>> global_addresses(NetlinkSocket& socket) {
  NetlinkMessage m(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP);
  ifaddrmsg h{};
  h.ifa_family = AF_INET;
  m.header(h);
  std::vector<std::pair<int, Ipv4>> all;
  CHECK_OK(socket.query(m, "list addresses", [&](uint16_t type, std::string_view payload) {
    ifaddrmsg a{};
    if (type != RTM_NEWADDR || payload.size() < sizeof a) return;
    memcpy(&a, payload.data(), sizeof a);
    if (a.ifa_scope != RT_SCOPE_UNIVERSE) return;
    each_attribute(payload.substr(NLMSG_ALIGN(sizeof a)), [&](uint16_t attr, std::string_view data) {
      if (attr == IFA_LOCAL) all.emplace_back(static_cast<int>(a.ifa_index), Ipv4{ntohl(number(data))});
    });
  }));
  std::vector<DeviceAddress> out;
  for (const auto& [index, address] : all) {
    TRY(const std::optional<Link> link, find_link(socket, index));
    if (link && link->up && !link->loopback) out.push_back({address, link->name});
  }
  return out;
}

Ipv4 choose_device_address(const std::optional<Uplink>& uplink, const std::vector<DeviceAddress>& addresses,
                           const std::string& bridge, const Cidr& pods) {
  const auto fit = [&](Ipv4 a) { return a.host_order >> 24 != 127 && !pods.contains(a); };
  if (uplink && fit(uplink->source)) return uplink->source;
  const auto it = std::find_if(addresses.begin(), addresses.end(), [&](const DeviceAddress& a) {
    return fit(a.address) && a.link != bridge && !engine_made(a.link);
  });
  return it == addresses.end() ? Ipv4{INADDR_LOOPBACK} : it->address;
}

uint32_t choose_mtu(uint32_t configured, const std::optional<Uplink>& uplink) {
  if (configured > 0) return configured;
  return uplink ? std::min(uplink->mtu, kLargestMtu) : kDefaultMtu;
}

}  // namespace limpet::net
