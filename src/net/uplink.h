// The device's way out: the address and the link that the kernel would use for a packet to the world. Asked
// for, nothing is sent. Reading blocks for a moment (netlink); choosing is pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/link.h"
#include "net/netlink_socket.h"

namespace limpet::net {

struct Uplink {
  Ipv4 source;       // the kernel's choice for packets that leave by the default route
  std::string link;  // the link they leave by
  uint32_t mtu = 0;  // of that link, in bytes
};
// nullopt while there is no default route.
Result<std::optional<Uplink>> find_uplink(NetlinkSocket& socket);

struct DeviceAddress {
  Ipv4 address;
  std::string link;
};
// Addresses of global scope on links that are up, without loopback, in the kernel's order.
Result<std::vector<DeviceAddress>> global_addresses(NetlinkSocket& socket);

// By which address others reach the device: the uplink's source, else the first address of a link that is
// neither the pods' bridge nor one that a container engine made for itself, else 127.0.0.1. Never one of the
// pods' range.
Ipv4 choose_device_address(const std::optional<Uplink>& uplink, const std::vector<DeviceAddress>& addresses,
                           const std::string& bridge, const Cidr& pods);

// What pod links get when the configuration leaves it open: the uplink's MTU, 1500 without an uplink.
uint32_t choose_mtu(uint32_t configured, const std::optional<Uplink>& uplink);

}  // namespace limpet::net
