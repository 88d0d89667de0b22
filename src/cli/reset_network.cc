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

// False: pods of another limpetd need it, and the table.
Result<bool> remove_bridge(const daemon::Config& config, const std::set<std::string>& uids,
                           ResetReport& report) {
  const std::string& name = config.network.bridge;
  TRY(net::NetlinkSocket socket, net::NetlinkSocket::open());
  TRY(const std::vector<net::Link> all, net::all_links(socket));
  TRY(const net::Cidr range, local_range(config));
  const auto bridge =
      std::find_if(all.begin(), all.end(), [&](const net::Link& link) { return link.name == name; });
  if (bridge == all.end()) return true;
  switch (use_of_bridge(*bridge, all, range.first_host(), uids)) {
    case BridgeUse::other_pods:
      return false;
    case BridgeUse::other_links:
      report.kept.push_back("the link " + name + ", which limpetd did not make or which others use");
      if (bridge->kind == "bridge") CHECK_OK(take_from(socket, *bridge, all, range, uids));
      return true;
    case BridgeUse::ours:
      break;
  }
  net::NetlinkMessage message = net::delete_link(name);
  const auto deleted = socket.request(message, "delete");
  if (deleted) report.removed.push_back("the bridge " + name);
  if (!deleted && deleted.error().sys_errno != ENODEV) return std::unexpected(deleted.error());
  return true;
}

}  // namespace

BridgeUse use_of_bridge(const net::Link& bridge, const std::vector<net::Link>& all, net::Ipv4 gateway,
                        const std::set<std::string>& uids) {
  std::set<std::string> own;
  for (const std::string& uid : uids) own.insert(net::host_interface(uid));
  const bool made = bridge.kind == "bridge" && bridge.address == net::hardware_address(gateway);
  BridgeUse use = made ? BridgeUse::ours : BridgeUse::other_links;
  for (const net::Link& port : all) {
    if (port.master != bridge.index || (is_pod_link(port) && own.contains(port.name))) continue;
    if (is_pod_link(port)) return BridgeUse::other_pods;
    use = BridgeUse::other_links;
  }
  return use;
}

void remove_network(const daemon::Config& config, const std::set<std::string>& uids, ResetReport& report) {
  if (config.network.mode == "none") return;
  const std::string& bridge = config.network.bridge;
  const net::NetworkRules rules;
  const auto removed = remove_bridge(config, uids, report);
  if (!removed) report.failed.push_back("the bridge " + bridge + ": " + removed.error().message);
  if (removed && !*removed) {
    report.kept.push_back("the link " + bridge + " and the nft table " + rules.table +
                          ", since pods that are not this device's hang on it");
    return;
  }
  const auto gone = net::run_nft(net::delete_table(rules.table));
  if (gone) {
    report.removed.push_back("the nft table " + rules.table);
  } else {
    report.failed.push_back("the nft table " + rules.table + ": " + gone.error().message);
  }
}

}  // namespace limpet::cli
