#include "pki/trust.h"

#include <doctest/doctest.h>

#include "support.h"

using namespace limpet;
using namespace limpet::pki;
using limpet::pki_test::now;
using limpet::pki_test::TestCa;

namespace {

Certificate leaf_of(const Authority& ca, Random& random, int64_t life = 3600) {
  const PrivateKey key = PrivateKey::generate(random).value();
  const std::string pem =
      issue(ca, key.spki(), {"alice", {"system:masters"}}, {}, Use::client, valid_from(now, life), random)
          .value();
  return parse_certificate(pem).value();
}

}  // namespace

TEST_CASE("trust is lost with an authority's key, and with nothing else") {
  SystemRandom random;
  TestCa old(random), next(random);  // of one name
  const std::string first = old.authority.certificate_pem, second = next.authority.certificate_pem;
  const Certificate mine = leaf_of(old.authority, random), other = leaf_of(next.authority, random);
  Trust trust;
  CHECK_FALSE(trust.issued(mine));
  CHECK_FALSE(trust.replace(first));
  CHECK(trust.issued(mine));
  CHECK_FALSE(trust.issued(other));
  CHECK_FALSE(trust.replace("no certificate"));  // nor is what is there forgotten
  CHECK(trust.issued(mine));
  CHECK_FALSE(trust.replace(first + second));
  CHECK_FALSE(trust.replace(second + first));
  CHECK(trust.issued(mine));
  CHECK(trust.issued(other));
  // The same authority with another certificate.
  const std::string renewed = make_ca("test-ca", next.authority.key, valid_from(now, 7200), random).value();
  CHECK_FALSE(trust.replace(renewed + first));
  CHECK(trust.losses() == 0);
  CHECK(trust.replace(renewed));
  CHECK(trust.losses() == 1);
  CHECK_FALSE(trust.issued(mine));
  CHECK(trust.issued(other));
}

TEST_CASE("who signed stays who signed when the time of a certificate is over") {
  SystemRandom random;
  TestCa ca(random);
  Trust trust;
  trust.replace(ca.authority.certificate_pem);
  CHECK(trust.issued(leaf_of(ca.authority, random, -60)));
}
