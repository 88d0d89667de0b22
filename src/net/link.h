// The requests about links, addresses and routes that limpet makes, each as a message and each in one
// function: what a bridge, a veth pair or a default route is in netlink's terms. Addresses are IPv4, the
// family that the pod network hands out; values hold them in host byte order.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/netlink_message.h"
#include "net/netlink_socket.h"

namespace limpet::net {

struct Ipv4 {
  uint32_t host_order = 0;
  auto operator<=>(const Ipv4&) const = default;
  std::string text() const;
};
Result<Ipv4> parse_ipv4(std::string_view text);

struct Cidr {
  Ipv4 base;
  int bits = 0;
  bool contains(Ipv4 a) const;
  Ipv4 first_host() const { return {base.host_order + 1}; }
  uint32_t size() const { return bits == 0 ? UINT32_MAX : 1u << (32 - bits); }
  std::string text() const;
};
Result<Cidr> parse_cidr(std::string_view text);

// The link-layer address of whoever has an address: 0a:58 and the four bytes, locally administered. A link
// that is made again keeps it, so that what neighbours remember stays right.
std::string hardware_address(Ipv4 address);

// The bridge's link-layer address is its owner's, not that of whichever port is lowest.
NetlinkMessage new_bridge(const std::string& name, uint32_t mtu, Ipv4 owner);
// The peer is born inside the namespace of netns_fd, so that it is never seen on the host, with its owner's
// link-layer address.
NetlinkMessage new_veth(const std::string& name, const std::string& peer, int netns_fd, uint32_t mtu,
                        Ipv4 owner);
NetlinkMessage delete_link(const std::string& name);
NetlinkMessage set_link_up(int index);
NetlinkMessage set_link_mtu(int index, uint32_t mtu);
NetlinkMessage set_link_master(int index, int master);
NetlinkMessage set_bridge_hairpin(int index);  // a pod reaches itself through its own service or host port
NetlinkMessage add_address(int index, Ipv4 address, int bits);
NetlinkMessage delete_address(int index, Ipv4 address, int bits);
NetlinkMessage add_default_route(int index, Ipv4 gateway);

struct Link {
  int index = 0;
  std::string name;
  uint32_t mtu = 0;
  bool up = false, loopback = false;
  int master = 0;
  std::string kind;     // "bridge", "veth", empty for hardware
  std::string address;  // of the link layer, as bytes
};
// nullopt when there is none of that name.
Result<std::optional<Link>> find_link(NetlinkSocket& socket, const std::string& name);
Result<std::optional<Link>> find_link(NetlinkSocket& socket, int index);
Result<std::vector<Link>> all_links(NetlinkSocket& socket);
// A link in an answer or a notification (RTM_NEWLINK, RTM_DELLINK); index 0 for bytes that are none.
Link read_link(std::string_view payload);
Result<std::vector<Ipv4>> addresses_of(NetlinkSocket& socket, int index);

}  // namespace limpet::net
