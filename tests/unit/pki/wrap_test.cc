#include "pki/wrap.h"

#include <doctest/doctest.h>

#include "base/bytes.h"
#include "pki/certificate.h"
#include "pki/der.h"
#include "pki/seal.h"
#include "support.h"

using namespace limpet;
using namespace limpet::pki;

namespace {

// SEC1 (RFC 5915) of a private number and its point.
PrivateKey key_of(const std::string& d, const std::string& point, Random& random) {
  const std::string curve("\x2a\x86\x48\xce\x3d\x03\x01\x07", 8);
  const std::string der =
      der::of(der::sequence, der::tlv(der::integer, "\x01"), der::tlv(der::octet_string, d),
              der::of(der::context_constructed(0), der::tlv(der::oid, curve)),
              der::of(der::context_constructed(1), der::whole_bytes("\x04" + point)));
  return PrivateKey::from_pem(to_pem(der, "EC PRIVATE KEY"), random).value();
}

std::string repeated(int from, int to) {
  std::string out;
  for (int i = from; i <= to; ++i) out.push_back(static_cast<char>(i));
  return out;
}

}  // namespace

TEST_CASE("HMAC-SHA-256: RFC 4231") {
  struct Row {
    std::string key, message;
    const char* mac;
  };
  for (const Row& row :
       {Row{std::string(20, '\x0b'), "Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        Row{"Jefe", "what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        Row{std::string(131, '\xaa'), "Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"}}) {
    CHECK(hex(hmac_sha256(row.key, row.message)) == row.mac);
  }
}

TEST_CASE("HKDF-SHA-256: RFC 5869, appendix A.1 to A.3") {
  struct Row {
    std::string secret, salt, info;
    size_t size;
    const char* out;
  };
  const std::string secret(22, '\x0b');
  for (const Row& row :
       {Row{secret, repeated(0x00, 0x0c), repeated(0xf0, 0xf9), 42,
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"},
        Row{repeated(0x00, 0x4f), repeated(0x60, 0xaf), repeated(0xb0, 0xff), 82,
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
            "da3275600"
            "c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"},
        Row{secret, "", "", 42,
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"}}) {
    CHECK(hex(hkdf_sha256(row.secret, row.salt, row.info, row.size)) == row.out);
  }
}

TEST_CASE("key agreement: NIST CAVS (ECC CDH, P-256, count 0) and RFC 5903 section 8.1") {
  struct Row {
    const char *other_x, *other_y, *d, *x, *y, *shared;
  };
  SystemRandom random;
  const auto bytes = [](const char* digits) { return unhex(digits).value(); };
  for (const Row& row : {Row{"700c48f77f56584c5cc632ca65640db91b6bacce3a4df6b42ce7cc838833d287",
                             "db71e509e3fd9b060ddb20ba5c51dcc5948d46fbf640dfe0441782cab85fa4ac",
                             "7d7dc5f71eb29ddaf80d6214632eeae03d9058af1fb6d22ed80badb62bc1a534",
                             "ead218590119e8876b29146ff89ca61770c4edbbf97d38ce385ed281d8a6b230",
                             "28af61281fd35e2fa7002523acc85a429cb06ee6648325389f59edfce1405141",
                             "46fc62106420ff012e54a434fbdd2d25ccc5852060561e68040dd7778997bd7b"},
                         Row{"d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf63",
                             "56fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab",
                             "c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433",
                             "dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c3772581180",
                             "5271a0461cdb8252d61f1c456fa3e59ab1f45b33accf5f58389e0577b8990bb3",
                             "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de"}}) {
    const PrivateKey own = key_of(bytes(row.d), bytes(row.x) + bytes(row.y), random);
    const PublicKey other = PublicKey::from_point(bytes(row.other_x) + bytes(row.other_y)).value();
    CHECK(hex(own.agree(other, random).value()) == row.shared);
  }
  CHECK_FALSE(PrivateKey().agree(PublicKey(), random));
}

TEST_CASE("what is wrapped opens with that key at that place only") {
  SystemRandom random;
  const PrivateKey own = PrivateKey::generate(random).value();
  const PrivateKey stranger = PrivateKey::generate(random).value();
  const PublicKey recipient = own.public_key().value();
  const std::string secret(32, 's');
  const std::string wrapped = wrap(recipient, secret, "limpet/data-key/1/a", random).value();
  CHECK(wrapped.size() == 1 + 64 + seal_overhead + secret.size());
  CHECK(wrap(recipient, secret, "limpet/data-key/1/a", random).value() != wrapped);
  CHECK(unwrap(own, wrapped, "limpet/data-key/1/a", random).value() == secret);
  CHECK(unwrap(own, wrapped, "limpet/data-key/1/b", random).error().code == Errc::corrupt);
  CHECK(unwrap(stranger, wrapped, "limpet/data-key/1/a", random).error().code == Errc::corrupt);
  for (size_t i = 0; i < wrapped.size(); i++) {
    std::string bent = wrapped;
    bent[i] = static_cast<char>(bent[i] ^ 1);
    CHECK_FALSE(unwrap(own, bent, "limpet/data-key/1/a", random));
    CHECK_FALSE(unwrap(own, wrapped.substr(0, i), "limpet/data-key/1/a", random));
  }
  CHECK_FALSE(unwrap(own, wrapped + "x", "limpet/data-key/1/a", random));
  CHECK_FALSE(unwrap(own, std::string(max_wrapped + 1, '\1'), "", random));
  // The point at infinity and points beside the curve would give the key away.
  for (const char fill : {'\0', '\1', '\xff'}) {
    std::string bent = wrapped;
    bent.replace(1, 64, std::string(64, fill));
    CHECK(unwrap(own, bent, "limpet/data-key/1/a", random).error().message.find("no point of the curve") !=
          std::string::npos);
  }
  CHECK(wrap(recipient, std::string(max_wrapped, 's'), "", random).error().code == Errc::too_large);
}
