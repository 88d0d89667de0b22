// What limpet asks of nftables, as text: its own table only, replaced in one transaction, so that applying
// twice is harmless and foreign rules are never touched.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "net/link.h"

namespace limpet::net {

struct PortMapping {
  std::string protocol;  // "tcp", "udp", "sctp"
  std::string host_ip;   // empty: every local address
  uint16_t host_port = 0;
  Ipv4 pod;
  uint16_t pod_port = 0;
  bool operator==(const PortMapping&) const = default;
};

struct NetworkRules {
  std::string table = "limpet";
  std::string bridge;
  Cidr pods;   // all pods of the cluster: no masquerading among them
  Cidr local;  // this device's pods
  std::vector<PortMapping> ports;
};

// The whole table. Order of the output follows the order of the input.
std::string ruleset(const NetworkRules& rules);
// The maps of the table whose elements are the host ports.
std::vector<std::string> rule_maps();
std::string delete_table(const std::string& table);

// Runs `nft -f` on the text. Blocking (pool threads). The error carries nft's own words.
Result<> run_nft(const std::string& script);

}  // namespace limpet::net
