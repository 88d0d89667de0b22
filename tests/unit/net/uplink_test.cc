#include "net/uplink.h"
#include "../skip.h"

#include <doctest/doctest.h>
#include <sched.h>

#include "net/pod_networks.h"
#include "space.h"

using namespace limpet;
using namespace limpet::net;

namespace {

std::optional<Uplink> uplink(const char* source) {
  if (source[0] == '\0') return std::nullopt;
  return Uplink{*parse_ipv4(source), "eth0", 1400};
}

}  // namespace

TEST_CASE("the device's address among those it has") {
  struct Row {
    const char *name, *source;
    std::vector<std::pair<const char*, const char*>> addresses;  // link, address
    const char* chosen;
  };
  const Row rows[] = {
      {"nothing yet", "", {}, "127.0.0.1"},
      {"the default route's source goes first",
       "192.168.77.5",
       {{"docker0", "172.17.0.1"}, {"eth0", "192.168.77.5"}},
       "192.168.77.5"},
      {"no default route: bridges of containers do not count",
       "",
       {{"docker0", "172.17.0.1"},
        {"br-0123456789ab", "172.18.0.1"},
        {"limpet0", "192.0.2.1"},
        {"br-lan", "192.168.1.1"}},
       "192.168.1.1"},
      {"the kernel's order otherwise", "", {{"eth1", "198.51.100.9"}, {"eth0", "192.0.2.9"}}, "198.51.100.9"},
      {"never one of the pods'", "10.42.3.1", {{"vxlan", "10.42.3.1"}}, "127.0.0.1"},
      {"never loopback", "127.0.0.1", {{"eth0", "192.0.2.9"}}, "192.0.2.9"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    std::vector<DeviceAddress> addresses;
    for (const auto& [link, address] : row.addresses) addresses.push_back({*parse_ipv4(address), link});
    CHECK(
        choose_device_address(uplink(row.source), addresses, "limpet0", *parse_cidr("10.42.0.0/16")).text() ==
        row.chosen);
  }
}

TEST_CASE("the MTU of pod links") {
  CHECK(choose_mtu(0, std::nullopt) == 1500);
  CHECK(choose_mtu(0, uplink("192.0.2.1")) == 1400);
  CHECK(choose_mtu(1280, uplink("192.0.2.1")) == 1280);
  CHECK(choose_mtu(0, Uplink{{}, "lo", 65536}) == 65535);
}

TEST_CASE("the kernel's default route is found when it comes, and another when it goes") {
  Space& space = Space::get();
  if (!space.ok) SKIP_TEST("needs root and namespaces");
  auto socket = NetlinkSocket::open();
  REQUIRE(socket.has_value());
  const auto now = [&] {
    auto r = find_uplink(*socket);
    REQUIRE_MESSAGE(r.has_value(), r.error().message);
    return *r ? (*r)->link + " " + (*r)->source.text() + " " + std::to_string((*r)->mtu) : "none";
  };
  CHECK(now() == "none");
  CHECK(global_addresses(*socket)->empty());
  space.ip({"link", "add", "docker0", "type", "bridge"});
  space.ip({"address", "add", "172.17.0.1/16", "dev", "docker0"});
  space.ip({"link", "set", "docker0", "up"});
  space.ip({"link", "add", "up0", "mtu", "1400", "type", "veth", "peer", "name", "far0"});
  space.ip({"link", "set", "far0", "up"});
  space.ip({"address", "add", "192.168.77.5/24", "dev", "up0"});
  CHECK(global_addresses(*socket)->size() == 1);  // up0 is down
  space.ip({"link", "set", "up0", "up"});
  const auto addresses = global_addresses(*socket);
  REQUIRE(addresses->size() == 2);
  CHECK((*addresses)[1].link == "up0");
  CHECK(now() == "none");
  space.ip({"route", "add", "default", "via", "192.168.77.1"});
  CHECK(now() == "up0 192.168.77.5 1400");
  space.ip({"address", "add", "192.168.77.6/24", "dev", "up0"});
  space.ip({"route", "replace", "default", "via", "192.168.77.1", "src", "192.168.77.6"});
  CHECK(now() == "up0 192.168.77.6 1400");
  space.ip({"link", "set", "up0", "down"});
  CHECK(now() == "none");
  space.ip({"route", "add", "blackhole", "default"});
  CHECK(now() == "none");
  space.ip({"route", "delete", "blackhole", "default"});
  space.ip({"link", "delete", "up0"});
  space.ip({"link", "delete", "docker0"});
}
