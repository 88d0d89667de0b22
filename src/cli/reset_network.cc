// Takes away the pods' links, their bridge and the nft table.
#include <algorithm>
#include <cerrno>

#include "cli/reset_parts.h"
#include "net/ipam.h"
#include "net/netlink_socket.h"
#include "net/nft_rules.h"
#include "net/pod_networks.h"

namespace limpet::cli {
namespace {

// As host_interface() names them: "veth" and 11 digits.
bool is_pod_link(const net::Link& link) {
  return link.kind == "veth" && link.name.size() == 15 && link.name.starts_with("veth") &&
         link.name.find_first_not_of("0123456789abcdef", 4) == std::string::npos;
}

// This device's pods, as limpetd takes them from the configuration.
Result<net::Cidr> local_range(const daemon::Config& config) {
  if (!config.node.pod_cidr.empty()) return net::parse_cidr(config.node.pod_cidr);
  TRY(net::Cidr range, net::parse_cidr(config.network.pod_cidr));
  range.bits = std::max(range.bits, 24);
  return range;
}

// A bridge that somebody else made keeps all that limpetd did not put there.
Result<> take_from(net::NetlinkSocket& socket, const net::Link& bridge, const std::vector<net::Link>& all,
                   const net::Cidr& range, const std::set<std::string>& uids) {
  for (const std::string& uid : uids) {
    const std::string name = net::host_interface(uid);
    if (std::none_of(all.begin(), all.end(),
                     [&](const net::Link& link) { return link.name == name && link.kind == "veth"; }))
      continue;
    net::NetlinkMessage message = net::delete_link(name);
    if (auto r = socket.request(message, "delete " + name); !r && r.error().sys_errno != ENODEV) return r;
  }
  TRY(const std::vector<net::Ipv4> addresses, net::addresses_of(socket, bridge.index));
  if (std::find(addresses.begin(), addresses.end(), range.first_host()) == addresses.end()) return {};
  net::NetlinkMessage message = net::delete_address(bridge.index, range.first_host(), range.bits);
  auto r = socket.request(message, "take " + range.first_host().text() + " away");
  if (!r && r.error().sys_errno == EADDRNOTAVAIL) return {};  // it has another prefix: not ours
  return r;
}

Result<> remove_bridge(const daemon::Config& config, const std::set<std::string>& uids, ResetReport& report) {
  const std::string& name = config.network.bridge;
  TRY(net::NetlinkSocket socket, net::NetlinkSocket::open());
  TRY(const std::vector<net::Link> all, net::all_links(socket));
  TRY(const net::Cidr range, local_range(config));
  const auto bridge =
      std::find_if(all.begin(), all.end(), [&](const net::Link& link) { return link.name == name; });
  if (bridge == all.end()) return {};
  if (!is_pod_bridge(*bridge, all, range.first_host())) {
    report.kept.push_back("the link " + name + ", which limpetd did not make or which others use");
    if (bridge->kind != "bridge") return {};
    return take_from(socket, *bridge, all, range, uids);
  }
  net::NetlinkMessage message = net::delete_link(name);
  const auto deleted = socket.request(message, "delete");
  if (deleted) report.removed.push_back("the bridge " + name);
  if (!deleted && deleted.error().sys_errno != ENODEV) return deleted;
  return {};
}

}  // namespace

bool is_pod_bridge(const net::Link& bridge, const std::vector<net::Link>& all, net::Ipv4 gateway) {
  return bridge.kind == "bridge" && bridge.address == net::hardware_address(gateway) &&
         std::all_of(all.begin(), all.end(),
                     [&](const net::Link& link) { return link.master != bridge.index || is_pod_link(link); });
}

void remove_network(const daemon::Config& config, const std::set<std::string>& uids, ResetReport& report) {
  if (config.network.mode == "none") return;
  if (const auto r = remove_bridge(config, uids, report); !r)
    report.failed.push_back("the bridge " + config.network.bridge + ": " + r.error().message);
  const net::NetworkRules rules;
  const auto gone = net::run_nft(net::delete_table(rules.table));
  if (gone) {
    report.removed.push_back("the nft table " + rules.table);
  } else {
    report.failed.push_back("the nft table " + rules.table + ": " + gone.error().message);
  }
}

}  // namespace limpet::cli
