#include "pki/key.h"

#include <doctest/doctest.h>

#include "../skip.h"
#include "base/atomic_file.h"
#include "pki/der.h"
#include "support.h"

using namespace limpet;
using namespace limpet::pki;
using limpet::pki_test::shell;
using limpet::pki_test::TempDir;

TEST_CASE("keys are stored and loaded, signatures hold for their message only") {
  SystemRandom random;
  PrivateKey key = PrivateKey::generate(random).value();
  PrivateKey same = PrivateKey::from_pem(key.to_pem().value(), random).value();
  CHECK(same.spki() == key.spki());
  PublicKey pub = key.public_key().value();
  std::string signature = same.sign_raw("message", random).value();
  CHECK(signature.size() == 64);
  CHECK(pub.verify_raw("message", signature));
  CHECK_FALSE(pub.verify_raw("massage", signature));
  CHECK_FALSE(pub.verify_raw("message", signature.substr(1)));
  CHECK_FALSE(pub.verify_raw("message", signature + "x"));
  CHECK_FALSE(pub.verify_raw("message", std::string(64, '\0')));
  CHECK_FALSE(pub.verify_raw("message", std::string(64, '\xff')));
  CHECK_FALSE(PublicKey().verify_raw("message", signature));
  for (size_t i = 0; i < 64; i++) {
    std::string bent = signature;
    bent[i] = static_cast<char>(bent[i] ^ 1);
    CHECK_FALSE(pub.verify_raw("message", bent));
  }
}

TEST_CASE("only unencrypted P-256 keys are taken") {
  SystemRandom random;
  CHECK_FALSE(PrivateKey::from_pem("", random));
  CHECK_FALSE(
      PrivateKey::from_pem("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n", random));
  CHECK_FALSE(PublicKey::from_der(""));
  std::string spki = PrivateKey::generate(random).value().spki();
  CHECK(PublicKey::from_der(spki));
  spki.back() = static_cast<char>(spki.back() ^ 1);  // no longer on the curve
  CHECK_FALSE(PublicKey::from_der(spki));
  if (!pki_test::have_openssl()) SKIP_TEST("needs openssl");
  TempDir dir;
  struct Row {
    const char* arguments;
    bool ok;
  };
  for (const Row& row :
       {Row{"genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256", true},  // PKCS#8
        Row{"ecparam -genkey -noout -name prime256v1", true},                 // SEC1
        Row{"ecparam -genkey -noout -name secp384r1", false},
        Row{"ecparam -genkey -noout -name secp256k1", false}, Row{"genrsa 2048", false},
        Row{"genpkey -algorithm ed25519", false},
        Row{"genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes128 -pass pass:x", false}}) {
    CAPTURE(row.arguments);
    REQUIRE(shell("openssl " + std::string(row.arguments) + " -out " + dir.file("k") +
                  " 2>/dev/null || openssl " + row.arguments + " > " + dir.file("k")));
    auto key = PrivateKey::from_pem(read_file(dir.file("k"), 65536).value(), random);
    CHECK(key.has_value() == row.ok);
    if (!row.ok) continue;
    std::string path = dir.put("m", "message");
    dir.put("s", key->sign_der("message", random).value());
    REQUIRE(shell("openssl pkey -in " + dir.file("k") + " -pubout -out " + dir.file("p")));
    CHECK(
        shell("openssl dgst -sha256 -verify " + dir.file("p") + " -signature " + dir.file("s") + " " + path));
    CHECK(PublicKey::from_pem(read_file(dir.file("p"), 65536).value())->spki() == key->spki());
  }
}

TEST_CASE("DER lengths, integers and malformed elements") {
  CHECK(der::tlv(4, std::string(200, 'a')).substr(0, 3) == "\x04\x81\xc8");
  CHECK(der::tlv(4, std::string(70000, 'a')).substr(0, 5) == std::string("\x04\x83\x01\x11\x70", 5));
  CHECK(der::unsigned_integer(std::string("\0\0\x80", 3)) == std::string("\x02\x02\x00\x80", 4));
  CHECK(der::unsigned_integer(std::string("\0", 1)) == std::string("\x02\x01\x00", 3));
  for (std::string_view bad :
       {std::string_view("\x30"), std::string_view("\x30\x05\x00", 3),
        std::string_view("\x30\x80\x00\x00", 4), std::string_view("\x30\x84\x00\x00\x00\x00", 6),
        std::string_view("\x1f\x81\x00", 3), std::string_view("\x30\x82\x01", 3)}) {
    CHECK_FALSE(der::Reader(bad).next().has_value());
  }
  CHECK_FALSE(der::signature_to_raw("").has_value());
  CHECK_FALSE(der::signature_to_raw(der::of(der::sequence, der::unsigned_integer("a"))).has_value());
  std::string raw(64, 'a');
  CHECK(der::signature_to_raw(der::signature_from_raw(raw)) == raw);
}
