#include "net/nft_rules.h"

#include <cerrno>

namespace limpet::net {

namespace {

void append_ports(std::string& out, const NetworkRules& r) {
  std::string any, bound;
  for (const PortMapping& p : r.ports) {
    const std::string to = p.pod.text() + " . " + std::to_string(p.pod_port);
    const std::string key = p.protocol + " . " + std::to_string(p.host_port);
    std::string& list = p.host_ip.empty() ? any : bound;
    list += (list.empty() ? "" : ",") + std::string("\n      ");
    list += (p.host_ip.empty() ? "" : p.host_ip + " . ") + key + " : " + to;
  }
  const auto map = [&](const char* name, const char* key, const std::string& elements) {
    out += strf("  map %s {\n    type %s : ipv4_addr . inet_service\n", name, key);
    if (!elements.empty()) out += "    elements = {" + elements + "\n    }\n";
    out += "  }\n";
  };
  map("host_ports", "inet_proto . inet_service", any);
  map("host_ip_ports", "ipv4_addr . inet_proto . inet_service", bound);
}

}  // namespace

std::string ruleset(const NetworkRules& r) {
  const char* t = r.table.c_str();
  // `add` before `delete` makes the deletion valid when there is nothing yet.
  std::string out = strf("add table ip %s\ndelete table ip %s\ntable ip %s {\n", t, t, t);
  append_ports(out, r);
  // Host ports answer on the device's loopback too, which needs route_localnet on the bridge; this keeps
  // everybody else from the other services there (CVE-2020-8558).
  out +=
      "  chain loopback_guard {\n"
      "    type filter hook prerouting priority raw; policy accept;\n"
      "    iifname != \"lo\" ip daddr 127.0.0.0/8 drop\n"
      "  }\n";
  out +=
      "  chain host_ports_dnat {\n"
      "    dnat to ip daddr . meta l4proto . th dport map @host_ip_ports\n"
      "    dnat to meta l4proto . th dport map @host_ports\n"
      "  }\n"
      "  chain prerouting {\n"
      "    type nat hook prerouting priority dstnat; policy accept;\n"
      "    fib daddr type local jump host_ports_dnat\n"
      "  }\n"
      "  chain output {\n"
      "    type nat hook output priority -100; policy accept;\n"
      "    fib daddr type local jump host_ports_dnat\n"
      "  }\n"
      "  chain postrouting {\n"
      "    type nat hook postrouting priority srcnat; policy accept;\n";
  const std::string local = r.local.text(), pods = r.pods.text();
  // What comes from the device's loopback gets an address that the pod can answer.
  out += "    ip saddr 127.0.0.0/8 oifname \"" + r.bridge + "\" ct status dnat masquerade\n";
  // A pod that reaches itself or a neighbour through a host port must see the answer come back the same way.
  out += "    ip saddr " + local + " ip daddr " + local + " ct status dnat masquerade\n";
  out += "    ip saddr " + local + " ip daddr != " + pods + " oifname != \"" + r.bridge + "\" masquerade\n";
  out += "  }\n}\n";
  return out;
}

std::vector<std::string> rule_maps() { return {"host_ports", "host_ip_ports"}; }

std::string delete_table(const std::string& table) {
  return "add table ip " + table + "\ndelete table ip " + table + "\n";
}

}  // namespace limpet::net
