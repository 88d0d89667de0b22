#include "cluster/device.h"

#include <doctest/doctest.h>

#include "support.h"

using namespace limpet;
using namespace limpet::cluster;
using limpet::cluster_test::error_of;

TEST_CASE("the record of a device comes back as it was written") {
  SystemRandom random;
  Device device;
  device.name = "edge-7";
  device.role = Role::server;
  device.member = 0xfedcba9876543210;
  device.addresses = {"192.0.2.7:6444", "[2001:db8::7]:6444", "edge-7.example:7000"};
  device.api_port = 16443;
  device.joined_at = 1'780'000'000;
  device.spki = pki::PrivateKey::generate(random)->spki();
  device.version = "0.1.0";
  for (const DeviceState state : {DeviceState::active, DeviceState::removed, DeviceState::revoked}) {
    device.state = state;
    const std::string text = encode(device);
    const Device back = decode_device(text).value();
    CHECK(encode(back) == text);
    CHECK(back.state == state);
    CHECK(back.member == device.member);
    CHECK(back.addresses == device.addresses);
    CHECK(back.spki == device.spki);
    CHECK(back.joined_at == device.joined_at);
    CHECK(back.api_port == 16443);
  }
  CHECK(device_key("edge-7") == "limpet/devices/edge-7");
  CHECK(member_key(0x1f) == "limpet/members/000000000000001f");

  const std::string text = encode(device);
  struct Row {
    const char *from, *to, *error;
  };
  for (const Row& row : {Row{"edge-7\"", "Edge\"", "no name"}, Row{"\"server\"", "\"leader\"", "no role"},
                         Row{"fedcba9876543210", "FEDCBA9876543210", "member and role do not fit"},
                         Row{"\"server\"", "\"agent\"", "member and role do not fit"},
                         Row{"revoked", "asleep", "unknown state"}, Row{"MFkw", "AAAA", "no public key"},
                         Row{"192.0.2.7:6444", "192.0.2.7", "an address is not HOST:PORT"},
                         Row{"16443", "0", "apiPort is no port"}, Row{"2026-", "last-", "joined is no time"},
                         Row{"{", "[", "no JSON object"}}) {
    CAPTURE(row.error);
    std::string bent = text;
    const size_t at = bent.find(row.from);
    REQUIRE(at != std::string::npos);
    bent.replace(at, std::string(row.from).size(), row.to);
    CHECK(error_of(decode_device(bent)) ==
          std::string("corrupt: the record of a device is damaged: ") + row.error);
  }
  // Of a newer limpet.
  CHECK(decode_device("{\"colour\":\"red\"," + text.substr(1)));
}

TEST_CASE("addresses at which a peer can be dialled") {
  struct Row {
    std::string text;
    bool ok;
  };
  for (const Row& row : {Row{"192.0.2.7:6444", true},
                         Row{"edge-7:1", true},
                         Row{"[::1]:65535", true},
                         Row{"[::ffff:192.0.2.7]:6444", true},
                         Row{"", false},
                         Row{":6444", false},
                         Row{"a", false},
                         Row{"a:", false},
                         Row{"a:0", false},
                         Row{"a:65536", false},
                         Row{"a:+1", false},
                         Row{"a:1x", false},
                         Row{"::1:6444", false},
                         Row{"[]:1", false},
                         Row{"[:]:1", false},
                         Row{"[a:1", false},
                         Row{"[fe80::1%eth0]:1", false},
                         Row{"a b:1", false},
                         Row{"a\n:1", false},
                         Row{"https://a:1", false},
                         Row{std::string(254, 'a') + ":1", false},
                         Row{std::string("a\0:1", 4), false}}) {
    CAPTURE(row.text);
    CHECK(valid_address(row.text) == row.ok);
  }
}

TEST_CASE("ids of members as text") {
  CHECK(parse_member(member_text(1)) == 1);
  CHECK(parse_member(member_text(~0ull)) == ~0ull);
  for (const char* bad :
       {"", "1", "000000000000000g", "0000000000000000", "00000000000000001", "FFFFFFFFFFFFFFFF",
        "000000000000000A", "0x00000000000001", "-000000000000001", " 000000000000001"})
    CHECK(parse_member(bad) == 0);
}
