#include "daemon/names.h"

#include <doctest/doctest.h>

#include <algorithm>

using namespace limpet;
using namespace limpet::daemon;

TEST_CASE("the serving certificate names everything the API is reached by, each once") {
  const Config config =
      check_config("tls: {names: [edge.example, 198.51.100.7, localhost]}\nnode: {address: 192.0.2.5}\n")
          .config;
  const pki::Names names =
      serving_names(config, "edge-1", "edge-1", {"192.0.2.5", "127.0.0.1", "2001:db8::1"});
  CHECK(
      (names.dns == Strings{"kubernetes", "kubernetes.default", "kubernetes.default.svc",
                            "kubernetes.default.svc.cluster.local", "localhost", "edge-1", "edge.example"}));
  CHECK((names.ips == Strings{"127.0.0.1", "::1", "192.0.2.5", "2001:db8::1", "10.43.0.1", "198.51.100.7"}));
}

TEST_CASE("others are told the address, and the name that stays when it changes") {
  Config config = check_config("node: {address: 192.0.2.5}\nlisten: {peers: {port: 7444}}\n").config;
  CHECK(peers_addresses(config) == Strings{"192.0.2.5:7444"});
  config = check_config("node: {address: \"2001:db8::5\", dnsName: pump-17.fleet.example}\n").config;
  CHECK((peers_addresses(config) == Strings{"[2001:db8::5]:6444", "pump-17.fleet.example:6444"}));
  const Strings dns = serving_names(config, "n", "", {}).dns;
  CHECK(std::count(dns.begin(), dns.end(), "pump-17.fleet.example") == 1);
}

TEST_CASE("the listening address is named when it is one, and the kubeconfig uses it") {
  struct Row {
    const char *listen, *url;
    bool named;
  };
  const Row rows[] = {{"0.0.0.0", "https://127.0.0.1:6443", false},
                      {"\"::\"", "https://127.0.0.1:6443", false},
                      {"192.0.2.9", "https://192.0.2.9:6443", true},
                      {"\"2001:db8::9\"", "https://[2001:db8::9]:6443", true}};
  for (const Row& row : rows) {
    CAPTURE(std::string(row.listen));
    const Config config = check_config(strf("listen: {api: {address: %s}}", row.listen)).config;
    CHECK_EQ(local_api_url(config), row.url);
    const Strings ips = serving_names(config, "n", "", {}).ips;
    CHECK_EQ(std::find(ips.begin(), ips.end(), config.listen.api_address) != ips.end(), row.named);
  }
}

TEST_CASE("the first address of a range") {
  CHECK_EQ(first_address("10.43.0.0/16"), "10.43.0.1");
  CHECK_EQ(first_address("10.43.255.0/24"), "10.43.255.1");
  CHECK_EQ(first_address("fd00:43::/112"), "fd00:43::1");
  CHECK_EQ(first_address("nonsense"), "");
}

TEST_CASE("the device's own addresses are found and hold no link-local ones") {
  auto addresses = device_addresses();
  REQUIRE(addresses.has_value());
  CHECK(std::is_sorted(addresses->begin(), addresses->end()));
  for (const std::string& a : *addresses) {
    CHECK(check_format(Format::address, a).empty());
    CHECK_FALSE(a.starts_with("fe80:"));
  }
}
