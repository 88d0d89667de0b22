#include "pki/certificate.h"

#include <doctest/doctest.h>

#include "../skip.h"
#include "support.h"

using namespace limpet;
using namespace limpet::pki;
using limpet::pki_test::now;
using limpet::pki_test::shell;
using limpet::pki_test::TempDir;
using limpet::pki_test::TestCa;

TEST_CASE("an issued certificate reads back as it was asked for") {
  SystemRandom random;
  TestCa ca(random);
  PrivateKey key = PrivateKey::generate(random).value();
  Names names{{"device-1", "*.example.org"}, {"10.0.0.5", "fd00::1"}};
  auto pem = issue(ca.authority, key.spki(), {"alice", {"system:masters", "dev, ops"}}, names, Use::peer,
                   valid_from(now, 3600), random);
  REQUIRE(pem);
  auto c = parse_certificate(*pem);
  REQUIRE_MESSAGE(c, c.error().message);
  CHECK(c->subject.common_name == "alice");
  CHECK(c->subject.organizations == std::vector<std::string>{"system:masters", "dev, ops"});
  CHECK(c->issuer.common_name == "test-ca");
  CHECK(c->names.dns == names.dns);
  CHECK(c->names.ips == names.ips);
  CHECK(c->not_before == now.seconds - 86'400);
  CHECK(c->not_after == now.seconds + 3600);
  CHECK_FALSE(c->is_ca);
  CHECK(c->spki == key.spki());
  CHECK(c->serial.size() == 32);
  auto other = issue(ca.authority, key.spki(), {"alice", {}}, {}, Use::client, valid_from(now, 3600), random);
  CHECK(parse_certificate(*other)->serial != c->serial);
  CHECK(parse_certificate(ca.authority.certificate_pem)->is_ca);
}

TEST_CASE("openssl accepts what was issued, strictly, for its use and no other") {
  if (!pki_test::have_openssl()) SKIP_TEST("needs openssl");
  SystemRandom random;
  TestCa ca(random);
  TempDir dir;
  std::string ca_path = dir.put("ca.crt", ca.authority.certificate_pem);
  struct Row {
    Use use;
    const char* purpose;
    bool ok;
  };
  for (const Row& row : {Row{Use::server, "sslserver", true}, Row{Use::server, "sslclient", false},
                         Row{Use::client, "sslclient", true}, Row{Use::client, "sslserver", false},
                         Row{Use::peer, "sslserver", true}, Row{Use::peer, "sslclient", true}}) {
    CAPTURE(row.purpose);
    PrivateKey key = PrivateKey::generate(random).value();
    Names names{{"device-1"}, {"10.0.0.5", "::1"}};
    std::string pem =
        issue(ca.authority, key.spki(), {"x", {"g"}}, names, row.use, valid_from(now, 3600), random).value();
    std::string path = dir.put("leaf.crt", pem);
    std::string verify = "openssl verify -x509_strict -attime 1780000000 -purpose " +
                         std::string(row.purpose) + " -CAfile " + ca_path;
    CHECK(shell(verify + " " + path) == row.ok);
    if (!row.ok) continue;
    CHECK(shell(verify + " -verify_ip 10.0.0.5 " + path));
    CHECK(shell(verify + " -verify_ip ::1 " + path));
    CHECK(shell(verify + " -verify_hostname device-1 " + path));
    CHECK_FALSE(shell(verify + " -verify_hostname device-2 " + path));
  }
}

TEST_CASE("dates beyond 2049 are written as GeneralizedTime and read back") {
  SystemRandom random;
  for (int64_t seconds : {int64_t{2'493'072'000}, int64_t{2'524'608'000 + 86'400}, int64_t{2'600'000'000}}) {
    TestCa ca(random, {seconds, 0});
    auto c = parse_certificate(ca.authority.certificate_pem);
    REQUIRE(c);
    CHECK(c->not_before == seconds - 86'400);
    CHECK(c->not_after == seconds + ca_life_seconds);
  }
}

TEST_CASE("verification names what is wrong") {
  SystemRandom random;
  TestCa ca(random);
  TestCa other(random);
  PrivateKey key = PrivateKey::generate(random).value();
  auto c = parse_certificate(
      issue(ca.authority, key.spki(), {"bob", {}}, {}, Use::client, valid_from(now, 3600), random).value());
  auto root = parse_certificate(ca.authority.certificate_pem);
  auto stranger = parse_certificate(other.authority.certificate_pem);
  struct Row {
    const Certificate* ca;
    int64_t at;
    const char* message;
  };
  for (const Row& row : {
           Row{&*root, now.seconds, ""},
           Row{&*root, now.seconds - 86'400, ""},
           Row{&*root, now.seconds + 3600, ""},
           Row{&*root, now.seconds + 3601, "certificate of bob expired at 2026-05-28T21:26:40Z"},
           Row{&*root, 0, "certificate of bob is not valid before 2026-05-27T20:26:40Z"},
           Row{&*stranger, now.seconds, "certificate of bob is not signed by test-ca"},
           Row{&*c, now.seconds, "certificate of bob is not signed by bob"},
       }) {
    auto result = verify_signed_by(*c, *row.ca, {row.at, 0});
    CHECK((result ? "" : result.error().message) == row.message);
  }
}

TEST_CASE("what cannot be certified is refused") {
  SystemRandom random;
  TestCa ca(random);
  TestCa other(random);
  PrivateKey key = PrivateKey::generate(random).value();
  auto make = [&](const Subject& s, const Names& n) {
    return issue(ca.authority, key.spki(), s, n, Use::client, valid_from(now, 60), random);
  };
  CHECK(make({"ok", {}}, {}));
  CHECK_FALSE(make({std::string("a\0b", 3), {}}, {}));
  CHECK_FALSE(make({"a\nb", {}}, {}));
  CHECK_FALSE(make({std::string(300, 'a'), {}}, {}));
  CHECK_FALSE(make({"a", {""}}, {}));
  for (const char* name : {"", ".", "a..b", "a b", "a*b", "*.", "ex\xc3\xa4mple"}) {
    CAPTURE(name);
    CHECK_FALSE(make({"a", {}}, {{name}, {}}));
  }
  for (const char* ip : {"", "1.2.3", "1.2.3.256", "example.org", "fe80::1%eth0"}) {
    CAPTURE(ip);
    CHECK_FALSE(make({"a", {}}, {{}, {ip}}));
  }
  Authority mixed{ca.authority.certificate_pem, PrivateKey::generate(random).value()};
  CHECK_FALSE(issue(mixed, key.spki(), {"a", {}}, {}, Use::client, valid_from(now, 60), random));
  std::string leaf = make({"a", {}}, {}).value();
  Authority not_ca{leaf, std::move(key)};
  CHECK_FALSE(issue(not_ca, not_ca.key.spki(), {"a", {}}, {}, Use::client, valid_from(now, 60), random));
}

TEST_CASE("a certificate that is cut or bent anywhere is refused or reads as something, never crashes") {
  SystemRandom random;
  TestCa ca(random);
  PrivateKey key = PrivateKey::generate(random).value();
  Names names{{"device-1"}, {"10.0.0.5"}};
  std::string der = parse_certificate(issue(ca.authority, key.spki(), {"x", {"g"}}, names, Use::peer,
                                            valid_from(now, 60), random)
                                          .value())
                        ->der;
  for (size_t n = 0; n < der.size(); n++) CHECK_FALSE(parse_certificate(der.substr(0, n)));
  auto root = parse_certificate(ca.authority.certificate_pem);
  for (size_t i = 0; i < der.size(); i++) {
    std::string bent = der;
    bent[i] = static_cast<char>(bent[i] ^ 0x55);
    auto c = parse_certificate(bent);
    if (c) CHECK_FALSE(verify_signed_by(*c, *root, now));
  }
  for (const char* pem :
       {"", "-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN X-----\n-----END X-----"}) {
    CAPTURE(pem);
    CHECK_FALSE(parse_certificate(pem));
    CHECK_FALSE(parse_bundle(pem));
  }
}

TEST_CASE("requests carry subject, names and a proof of the key") {
  SystemRandom random;
  PrivateKey key = PrivateKey::generate(random).value();
  Subject subject{"system:node:device-1", {"system:nodes"}};
  Names names{{"device-1"}, {"10.0.0.5"}};
  std::string pem = make_request(key, subject, names, random).value();
  auto request = parse_request(pem);
  REQUIRE_MESSAGE(request, request.error().message);
  CHECK(request->subject == subject);
  CHECK(request->names.dns == names.dns);
  CHECK(request->names.ips == names.ips);
  CHECK(request->spki == key.spki());
  CHECK(parse_request(make_request(key, subject, {}, random).value())->names.dns.empty());

  std::string der = from_pem(pem, "CERTIFICATE REQUEST").value();
  CHECK(parse_request(der));
  for (size_t i = 0; i < der.size(); i++) {
    CAPTURE(i);
    std::string bent = der;
    bent[i] = static_cast<char>(bent[i] ^ 1);
    CHECK_FALSE(parse_request(bent));
    CHECK_FALSE(parse_request(der.substr(0, i)));
  }
}

TEST_CASE("requests made by openssl, with EC and RSA keys") {
  if (!pki_test::have_openssl()) SKIP_TEST("needs openssl");
  TempDir dir;
  for (const char* kind :
       {"ec -pkeyopt ec_paramgen_curve:P-256", "ec -pkeyopt ec_paramgen_curve:P-384", "rsa:2048"}) {
    CAPTURE(kind);
    REQUIRE(shell("openssl req -new -newkey " + std::string(kind) + " -nodes -keyout " + dir.file("k") +
                  " -out " + dir.file("r") +
                  " -subj '/O=dev/CN=carol' -addext subjectAltName=DNS:a.example,IP:192.0.2.7"));
    auto request = parse_request(read_file(dir.file("r"), 65536).value());
    REQUIRE_MESSAGE(request, request.error().message);
    CHECK(request->subject == Subject{"carol", {"dev"}});
    CHECK(request->names.dns == std::vector<std::string>{"a.example"});
    CHECK(request->names.ips == std::vector<std::string>{"192.0.2.7"});
    SystemRandom random;
    TestCa ca(random);
    auto pem =
        issue(ca.authority, request->spki, request->subject, {}, Use::client, valid_from(now, 60), random);
    REQUIRE(pem);
    CHECK(shell("openssl verify -x509_strict -attime 1780000000 -purpose sslclient -CAfile " +
                dir.put("ca", ca.authority.certificate_pem) + " " + dir.put("c", *pem)));
  }
}

TEST_CASE("a bundle is read whole") {
  SystemRandom random;
  TestCa a(random);
  TestCa b(random);
  auto bundle =
      parse_bundle("# comment\n" + a.authority.certificate_pem + "\n\n" + b.authority.certificate_pem);
  REQUIRE(bundle);
  REQUIRE(bundle->size() == 2);
  CHECK((*bundle)[1].spki == b.authority.key.spki());
}

TEST_CASE("a certificate lasts no longer than its authority, and dates beyond 2038 are what they are") {
  SystemRandom random;
  const PrivateKey key = PrivateKey::generate(random).value();
  struct Row {
    Validity authority, asked, issued;  // issued {}: refused
  };
  const int64_t y2200 = 7'258'118'400, last = 253'402'300'799;
  for (const Row& row :
       {Row{{100, 1000}, {200, 900}, {200, 900}}, Row{{100, 1000}, {0, 2000}, {100, 1000}},
        Row{{0, last}, {0, last}, {0, last}}, Row{{0, y2200}, {2'524'607'999, y2200}, {2'524'607'999, y2200}},
        Row{{100, 1000}, {2000, 3000}, {}}, Row{{100, 1000}, {10, 20}, {}}}) {
    Authority ca;
    ca.key = PrivateKey::generate(random).value();
    ca.certificate_pem = make_ca("ca", ca.key, row.authority, random).value();
    CHECK(parse_certificate(ca.certificate_pem)->validity() == row.authority);
    auto pem = issue(ca, key.spki(), {"x", {}}, {}, Use::client, row.asked, random);
    REQUIRE_EQ(pem.has_value(), row.issued != Validity{});
    if (pem) CHECK(parse_certificate(*pem)->validity() == row.issued);
  }
}
