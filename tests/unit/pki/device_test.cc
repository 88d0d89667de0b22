#include "pki/device.h"

#include <doctest/doctest.h>

#include "support.h"

using namespace limpet;
using namespace limpet::pki;
using limpet::pki_test::now;

TEST_CASE("names of devices") {
  struct Row {
    std::string name;
    bool ok;
  };
  for (const Row& row : {Row{"a", true},
                         Row{"edge-7", true},
                         Row{"7.site.example", true},
                         Row{std::string(63, 'a'), true},
                         Row{"", false},
                         Row{std::string(64, 'a'), false},
                         Row{"-a", false},
                         Row{"a-", false},
                         Row{"a..b", false},
                         Row{".a", false},
                         Row{"a.", false},
                         Row{"a.-b", false},
                         Row{"A", false},
                         Row{"a_b", false},
                         Row{"a b", false},
                         Row{"*.a", false},
                         Row{"a\n", false},
                         Row{std::string("a\0b", 3), false},
                         Row{"\xc3\xa4", false},
                         Row{"a.servers.limpet", false},
                         Row{"a.b.servers.limpet", false},
                         Row{"a.servers.limpet.b", true},
                         Row{"a.xservers.limpet", true}}) {
    CAPTURE(row.name);
    CHECK(check_node_name(row.name).has_value() == row.ok);
  }
}

TEST_CASE("a certificate tells whose it is, and only a server's that it is a server's") {
  SystemRandom random;
  pki_test::TestCa ca(random);
  const PrivateKey key = PrivateKey::generate(random).value();
  const auto made = [&](const Subject& subject, const Names& names, Use use = Use::peer) {
    return parse_certificate(issue(ca.authority, key.spki(), subject, names, use,
                                   valid_from(now, leaf_life_seconds), random)
                                 .value())
        .value();
  };
  for (const DeviceId& id : {DeviceId{"edge-7", true}, DeviceId{"edge-7", false}}) {
    const Certificate certificate = made(device_subject(id), device_names(id), device_use(id));
    CHECK(device_of(certificate).value() == id);
    CHECK(certificate.subject.common_name == "system:node:edge-7");
    // What a server of 6443 or 6444 could be dialled by is a server's alone.
    const std::vector<std::string> names = {"edge-7", "edge-7.servers.limpet"};
    CHECK(certificate.names.dns == (id.server ? names : std::vector<std::string>()));
    CHECK(certificate.names.ips.empty());
    CHECK((device_use(id) == Use::peer) == id.server);
    CHECK((device_use(id) == Use::client) != id.server);
  }
  const Names both = device_names({"edge-7", true});
  for (const Subject& subject :
       {Subject{"limpet-admin", {"system:masters"}}, Subject{"system:node:edge-7", {}},
        Subject{"system:node:edge-7", {"limpet:servers"}}, Subject{"system:node:", {"system:nodes"}},
        Subject{"system:node:Edge", {"system:nodes"}}, Subject{"edge-7", {"system:nodes", "limpet:servers"}},
        Subject{"system:node:edge-8", {"system:nodes", "limpet:servers"}}}) {
    CAPTURE(subject.common_name);
    const auto id = device_of(made(subject, both));
    REQUIRE_FALSE(id);
    CHECK(id.error().code == Errc::unauthenticated);
  }
  CHECK_FALSE(device_of(made(device_subject({"edge-7", true}), device_names({"edge-7", false}))));
}
