#include "net/link.h"

#include <arpa/inet.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>

#include <cerrno>
#include <charconv>
#include <cstring>

namespace limpet::net {

namespace {

constexpr uint16_t kAck = NLM_F_REQUEST | NLM_F_ACK;
constexpr uint16_t kCreate = kAck | NLM_F_CREATE | NLM_F_EXCL;

ifinfomsg link_header(int index, unsigned flags = 0, unsigned change = 0) {
  ifinfomsg h{};
  h.ifi_family = AF_UNSPEC;
  h.ifi_index = index;
  h.ifi_flags = flags;
  h.ifi_change = change;
  return h;
}

}  // namespace

std::string Ipv4::text() const {
  return strf("%u.%u.%u.%u", host_order >> 24, host_order >> 16 & 255, host_order >> 8 & 255,
              host_order & 255);
}

Result<Ipv4> parse_ipv4(std::string_view text) {
  in_addr a{};
  if (inet_pton(AF_INET, std::string(text).c_str(), &a) != 1) {
    return fail(Errc::invalid_argument, "\"" + std::string(text) + "\" is not an IPv4 address");
  }
  return Ipv4{ntohl(a.s_addr)};
}

bool Cidr::contains(Ipv4 a) const {
  return bits == 0 || (a.host_order ^ base.host_order) >> (32 - bits) == 0;
}
std::string Cidr::text() const { return base.text() + "/" + std::to_string(bits); }

Result<Cidr> parse_cidr(std::string_view text) {
  const size_t slash = text.find('/');
  Cidr c;
  const std::string_view digits = slash == std::string_view::npos ? "" : text.substr(slash + 1);
  const auto r = std::from_chars(digits.data(), digits.data() + digits.size(), c.bits);
  if (digits.empty() || r.ec != std::errc() || r.ptr != digits.data() + digits.size() || c.bits < 0 ||
      c.bits > 32) {
    return fail(Errc::invalid_argument,
                "\"" + std::string(text) + "\" is not an IPv4 range such as 10.42.0.0/24");
  }
  TRY(c.base, parse_ipv4(text.substr(0, slash)));
  if (c.bits < 32 && (c.base.host_order & (UINT32_MAX >> c.bits)) != 0) {
    return fail(Errc::invalid_argument, "\"" + std::string(text) + "\" has bits set behind its prefix");
  }
  return c;
}

std::string hardware_address(Ipv4 a) {
  std::string out = "\x0a\x58";
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(a.host_order >> shift & 255);
  return out;
}

NetlinkMessage new_bridge(const std::string& name, uint32_t mtu, Ipv4 owner) {
  NetlinkMessage m(RTM_NEWLINK, kCreate);
  m.header(link_header(0, IFF_UP, IFF_UP)).attr_string(IFLA_IFNAME, name).attr_u32(IFLA_MTU, mtu);
  m.attr(IFLA_ADDRESS, hardware_address(owner));
  const size_t info = m.begin(IFLA_LINKINFO);
  m.attr(IFLA_INFO_KIND, "bridge");
  return std::move(m.end(info));
}

NetlinkMessage new_veth(const std::string& name, const std::string& peer, int netns_fd, uint32_t mtu,
                        Ipv4 owner) {
  NetlinkMessage m(RTM_NEWLINK, kCreate);
  m.header(link_header(0)).attr_string(IFLA_IFNAME, name).attr_u32(IFLA_MTU, mtu);
  const size_t info = m.begin(IFLA_LINKINFO);
  m.attr(IFLA_INFO_KIND, "veth");
  const size_t data = m.begin(IFLA_INFO_DATA);
  const size_t other = m.begin(VETH_INFO_PEER);
  const ifinfomsg header = link_header(0);
  m.append(&header, sizeof header);
  m.attr_string(IFLA_IFNAME, peer)
      .attr(IFLA_ADDRESS, hardware_address(owner))
      .attr_u32(IFLA_MTU, mtu)
      .attr_u32(IFLA_NET_NS_FD, static_cast<uint32_t>(netns_fd));
  return std::move(m.end(other).end(data).end(info));
}

NetlinkMessage delete_link(const std::string& name) {
  NetlinkMessage m(RTM_DELLINK, kAck);
  return std::move(m.header(link_header(0)).attr_string(IFLA_IFNAME, name));
}

NetlinkMessage set_link_up(int index) {
  NetlinkMessage m(RTM_NEWLINK, kAck);
  return std::move(m.header(link_header(index, IFF_UP, IFF_UP)));
}

NetlinkMessage set_link_mtu(int index, uint32_t mtu) {
  NetlinkMessage m(RTM_NEWLINK, kAck);
  return std::move(m.header(link_header(index)).attr_u32(IFLA_MTU, mtu));
}

NetlinkMessage set_link_master(int index, int master) {
  NetlinkMessage m(RTM_NEWLINK, kAck);
  return std::move(m.header(link_header(index)).attr_u32(IFLA_MASTER, static_cast<uint32_t>(master)));
}

NetlinkMessage set_bridge_hairpin(int index) {
  NetlinkMessage m(RTM_SETLINK, kAck);
  ifinfomsg h = link_header(index);
  h.ifi_family = AF_BRIDGE;
  m.header(h);
  const size_t port = m.begin(IFLA_PROTINFO | NLA_F_NESTED);
  m.attr_u8(IFLA_BRPORT_MODE, 1);
  return std::move(m.end(port));
}

namespace {

NetlinkMessage address_message(NetlinkMessage m, int index, Ipv4 address, int bits) {
  ifaddrmsg h{};
  h.ifa_family = AF_INET;
  h.ifa_prefixlen = static_cast<uint8_t>(bits);
  h.ifa_index = static_cast<uint32_t>(index);
  const uint32_t raw = htonl(address.host_order);
  return std::move(m.header(h).attr_u32(IFA_LOCAL, raw).attr_u32(IFA_ADDRESS, raw));
}

}  // namespace

NetlinkMessage add_address(int index, Ipv4 address, int bits) {
  return address_message({RTM_NEWADDR, kAck | NLM_F_CREATE | NLM_F_REPLACE}, index, address, bits);
}

NetlinkMessage delete_address(int index, Ipv4 address, int bits) {
  return address_message({RTM_DELADDR, kAck}, index, address, bits);
}

NetlinkMessage add_default_route(int index, Ipv4 gateway) {
  NetlinkMessage m(RTM_NEWROUTE, kAck | NLM_F_CREATE | NLM_F_REPLACE);
  rtmsg h{};
  h.rtm_family = AF_INET;
  h.rtm_table = RT_TABLE_MAIN;
  h.rtm_protocol = RTPROT_STATIC;
  h.rtm_scope = RT_SCOPE_UNIVERSE;
  h.rtm_type = RTN_UNICAST;
  return std::move(m.header(h)
                       .attr_u32(RTA_GATEWAY, htonl(gateway.host_order))
                       .attr_u32(RTA_OIF, static_cast<uint32_t>(index)));
}

Link read_link(std::string_view payload) {
  Link link;
  ifinfomsg h{};
  if (payload.size() < sizeof h) return link;
  memcpy(&h, payload.data(), sizeof h);
  link.index = h.ifi_index;
  link.up = (h.ifi_flags & IFF_UP) != 0;
  link.loopback = (h.ifi_flags & IFF_LOOPBACK) != 0;
  each_attribute(payload.substr(NLMSG_ALIGN(sizeof h)), [&](uint16_t type, std::string_view data) {
    if (type == IFLA_IFNAME) link.name = std::string(data.substr(0, data.find('\0')));
    if (type == IFLA_MTU && data.size() == sizeof link.mtu) memcpy(&link.mtu, data.data(), sizeof link.mtu);
    if (type == IFLA_ADDRESS) link.address = std::string(data);
    if (type == IFLA_MASTER && data.size() == sizeof link.master)
      memcpy(&link.master, data.data(), sizeof link.master);
    if (type != IFLA_LINKINFO) return;
    each_attribute(data, [&](uint16_t info, std::string_view kind) {
      if (info == IFLA_INFO_KIND) link.kind = std::string(kind.substr(0, kind.find('\0')));
    });
  });
  return link;
}

namespace {

Result<std::optional<Link>> ask_for_link(NetlinkSocket& socket, NetlinkMessage& m, const std::string& what) {
  std::optional<Link> found;
  auto r = socket.query(m, "look up link " + what, [&](uint16_t type, std::string_view payload) {
    if (type == RTM_NEWLINK) found = read_link(payload);
  });
  if (!r && r.error().sys_errno == ENODEV) return std::optional<Link>();
  if (!r) return std::unexpected(std::move(r).error());
  return found;
}

}  // namespace

Result<std::optional<Link>> find_link(NetlinkSocket& socket, const std::string& name) {
  NetlinkMessage m(RTM_GETLINK, kAck);
  m.header(link_header(0)).attr_string(IFLA_IFNAME, name);
  return ask_for_link(socket, m, name);
}

Result<std::optional<Link>> find_link(NetlinkSocket& socket, int index) {
  NetlinkMessage m(RTM_GETLINK, kAck);
  m.header(link_header(index));
  return ask_for_link(socket, m, std::to_string(index));
}

Result<std::vector<Link>> all_links(NetlinkSocket& socket) {
  NetlinkMessage m(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP);
  m.header(link_header(0));
  std::vector<Link> out;
  CHECK_OK(socket.query(m, "list links", [&](uint16_t type, std::string_view payload) {
    if (type == RTM_NEWLINK) out.push_back(read_link(payload));
  }));
  return out;
}

Result<std::vector<Ipv4>> addresses_of(NetlinkSocket& socket, int index) {
  NetlinkMessage m(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP);
  ifaddrmsg h{};
  h.ifa_family = AF_INET;
  m.header(h);
  std::vector<Ipv4> out;
  CHECK_OK(socket.query(m, "list addresses", [&](uint16_t type, std::string_view payload) {
    ifaddrmsg a{};
    if (type != RTM_NEWADDR || payload.size() < sizeof a) return;
    memcpy(&a, payload.data(), sizeof a);
    if (a.ifa_index != static_cast<uint32_t>(index)) return;
    each_attribute(payload.substr(NLMSG_ALIGN(sizeof a)), [&](uint16_t attr, std::string_view data) {
      uint32_t raw = 0;
      if (attr != IFA_LOCAL || data.size() != sizeof raw) return;
      memcpy(&raw, data.data(), sizeof raw);
      out.push_back({ntohl(raw)});
    });
  }));
  return out;
}

}  // namespace limpet::net
