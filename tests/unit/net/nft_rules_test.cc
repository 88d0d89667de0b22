#include "net/nft_rules.h"

#include <doctest/doctest.h>

using namespace limpet;
using namespace limpet::net;

TEST_CASE("the ruleset as text") {
  NetworkRules r;
  r.bridge = "limpet0";
  r.pods = *parse_cidr("10.42.0.0/16");
  r.local = *parse_cidr("10.42.0.0/24");
  r.ports = {{"tcp", "", 8080, *parse_ipv4("10.42.0.2"), 80},
             {"udp", "", 53, *parse_ipv4("10.42.0.3"), 5353},
             {"tcp", "192.0.2.7", 443, *parse_ipv4("10.42.0.4"), 8443}};
  CHECK(ruleset(r) == R"(add table ip limpet
delete table ip limpet
table ip limpet {
  map host_ports {
    type inet_proto . inet_service : ipv4_addr . inet_service
    elements = {
      tcp . 8080 : 10.42.0.2 . 80,
      udp . 53 : 10.42.0.3 . 5353
    }
  }
  map host_ip_ports {
    type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
    elements = {
      192.0.2.7 . tcp . 443 : 10.42.0.4 . 8443
    }
  }
  chain loopback_guard {
    type filter hook prerouting priority raw; policy accept;
    iifname != "lo" ip daddr 127.0.0.0/8 drop
  }
  chain host_ports_dnat {
    dnat to ip daddr . meta l4proto . th dport map @host_ip_ports
    dnat to meta l4proto . th dport map @host_ports
  }
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local jump host_ports_dnat
  }
  chain output {
    type nat hook output priority -100; policy accept;
    fib daddr type local jump host_ports_dnat
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr 127.0.0.0/8 oifname "limpet0" ct status dnat masquerade
    ip saddr 10.42.0.0/24 ip daddr 10.42.0.0/24 ct status dnat masquerade
    ip saddr 10.42.0.0/24 ip daddr != 10.42.0.0/16 oifname != "limpet0" masquerade
  }
}
)");
}
