// The authority and the signing key of the cluster, from one to the next.
#include <doctest/doctest.h>

#include "cluster/authority.h"
#include "cluster/signing.h"
#include "support.h"

using namespace limpet;
using namespace limpet::cluster;
using limpet::cluster_test::error_of;
using limpet::cluster_test::now;

namespace {

constexpr int64_t patience = 3600;

std::string hash(const std::string& pem) { return pki::parse_certificate(pem)->spki_sha256(); }

WallTime later(int64_t seconds) { return {now.seconds + seconds, 0}; }

Authorities first(Random& random) {
  const pki::Authority ca = cluster_test::make_authority("limpet-ca-old", random);
  Authorities out;
  out.current = {ca.certificate_pem, ca.key.to_pem().value()};
  return out;
}

std::string pem(Random& random) { return pki::PrivateKey::generate(random)->to_pem().value(); }

std::string half(const std::string& key, Random& random) {
  return pki::to_pem(pki::PrivateKey::from_pem(key, random)->spki(), "PUBLIC KEY");
}

}  // namespace

TEST_CASE("one authority takes the place of another, each step when every device is that far") {
  SystemRandom random;
  const Authorities have = first(random);
  const std::string old_hash = hash(have.current.certificate_pem);
  CHECK(trusted_pem(have) == have.current.certificate_pem);
  CHECK_FALSE(next_step(have, {}, now, 0)->then);

  const Authorities trusting = begin_replacement(have, now, random).value();
  CHECK(trusting.step == AuthorityStep::trusting);
  CHECK(trusting.since == now.seconds);
  CHECK(trusting.current.key_pem == have.current.key_pem);
  CHECK(trusted_pem(trusting) == have.current.certificate_pem + trusting.next.certificate_pem);
  CHECK(begin_replacement(trusting, now, random).error().code == Errc::conflict);
  const std::string new_hash = hash(trusting.next.certificate_pem);
  const pki::Certificate made = pki::parse_certificate(trusting.next.certificate_pem).value();
  CHECK(made.is_ca);
  CHECK(made.subject.common_name.starts_with("limpet-ca-"));
  CHECK(made.validity() == pki::authority_validity(now));
  CHECK(pki::PrivateKey::from_pem(trusting.next.key_pem, random)->spki() == made.spki);

  std::vector<TrustOf> devices = {{"one", {old_hash, new_hash}, old_hash}, {"two", {old_hash}, old_hash}};
  auto step = next_step(trusting, devices, later(60), patience).value();
  CHECK_FALSE(step.then);
  CHECK(step.lacking == std::vector<std::string>{"two"});
  devices[1].trusted.push_back(new_hash);
  step = next_step(trusting, devices, later(120), patience).value();
  REQUIRE(step.then);
  CHECK(step.lacking.empty());
  const Authorities reissuing = *step.then;
  CHECK(reissuing.step == AuthorityStep::reissuing);
  CHECK(reissuing.since == now.seconds + 120);
  CHECK(reissuing.current.key_pem == trusting.next.key_pem);
  CHECK(reissuing.next.key_pem == "");
  CHECK(trusted_pem(reissuing) == trusting.next.certificate_pem + have.current.certificate_pem);
  // The key that goes is nowhere any more.
  CHECK(encode(reissuing).find(json::quoted(have.current.key_pem)) == std::string::npos);
  CHECK(begin_replacement(reissuing, now, random).error().code == Errc::conflict);

  devices[0].issuer = new_hash;
  step = next_step(reissuing, devices, later(180), patience).value();
  CHECK_FALSE(step.then);
  CHECK(step.lacking == std::vector<std::string>{"two"});
  devices[1].issuer = new_hash;
  const Authorities settled = next_step(reissuing, devices, later(240), patience)->then.value();
  CHECK(settled.step == AuthorityStep::settled);
  CHECK(trusted_pem(settled) == trusting.next.certificate_pem);
  CHECK(settled.current.key_pem == trusting.next.key_pem);
  CHECK(begin_replacement(settled, now, random));

  for (const Authorities& one : {have, trusting, reissuing, settled}) {
    const std::string text = encode(one);
    const auto back = decode_authorities(text);
    REQUIRE_MESSAGE(back, back.error().message);
    CHECK(encode(*back) == text);
    CHECK(trusted_pem(*back) == trusted_pem(one));
  }
}

TEST_CASE("a device that is away is waited for, and then left behind by name") {
  SystemRandom random;
  const Authorities trusting = begin_replacement(first(random), now, random).value();
  const std::vector<TrustOf> devices = {{"away", {}, ""}};
  CHECK_FALSE(next_step(trusting, devices, later(patience - 1), patience)->then);
  auto step = next_step(trusting, devices, later(patience), patience).value();
  REQUIRE(step.then);
  CHECK(step.lacking == std::vector<std::string>{"away"});
  // The time begins anew with each step.
  CHECK_FALSE(next_step(*step.then, devices, later(2 * patience - 1), patience)->then);
  CHECK(next_step(*step.then, devices, later(2 * patience), patience)->then);
  CHECK(next_step(trusting, devices, later(0), 0)->then);
}

TEST_CASE(
    "a server that is revoked while an authority is replaced: another one comes, and nobody is cut off") {
  SystemRandom random;
  const Authorities have = first(random);
  const Authorities trusting = begin_replacement(have, now, random).value();
  const Authorities reissuing = next_step(trusting, {}, now, 0)->then.value();
  // The one that was to come is known to the thief, and is nobody's yet.
  const Authorities other = begin_again(trusting, later(10), random).value();
  CHECK(other.step == AuthorityStep::trusting);
  CHECK(other.current.key_pem == have.current.key_pem);
  CHECK(other.next.key_pem != trusting.next.key_pem);
  CHECK(trusted_pem(other) == have.current.certificate_pem + other.next.certificate_pem);
  // Certificates of the one that goes are still about.
  const Authorities again = begin_again(reissuing, later(10), random).value();
  CHECK(again.step == AuthorityStep::trusting);
  CHECK(again.since == now.seconds + 10);
  CHECK(again.current.key_pem == reissuing.current.key_pem);
  CHECK(trusted_pem(again) ==
        reissuing.current.certificate_pem + again.next.certificate_pem + have.current.certificate_pem);
  const auto read = decode_authorities(encode(again));
  REQUIRE_MESSAGE(read, read.error().message);
  CHECK(trusted_pem(*read) == trusted_pem(again));
  const Authorities last = next_step(*read, {}, later(20), 0)->then.value();
  CHECK(last.step == AuthorityStep::reissuing);
  CHECK(trusted_pem(last) ==
        again.next.certificate_pem + reissuing.current.certificate_pem + have.current.certificate_pem);
  CHECK(trusted_pem(decode_authorities(encode(last)).value()) == trusted_pem(last));
  const Authorities settled = next_step(last, {}, later(30), 0)->then.value();
  CHECK(trusted_pem(settled) == again.next.certificate_pem);
}

TEST_CASE("an authority in the store that is damaged is said to be") {
  SystemRandom random;
  const Authorities trusting = begin_replacement(first(random), now, random).value();
  Authorities reissuing = next_step(trusting, {}, now, 0)->then.value();
  const std::string text = encode(trusting), of_reissuing = encode(reissuing);
  struct Row {
    std::string text;
    const char *from, *to, *error;
  };
  for (const Row& row :
       {Row{text, "{", "[", "no JSON object"}, Row{text, "trusting", "asleep", "unknown step"},
        Row{text, "\"current\"", "\"current_\"", "the current one lacks its certificate or key"},
        Row{text, "\"next\"", "\"next_\"", "the next one lacks its certificate or key"},
        Row{text, "\"key\"", "\"kay\"", "the current one lacks its certificate or key"},
        Row{of_reissuing, "\"old\"", "\"ald\"", "the old one lacks its certificate"}}) {
    CAPTURE(row.error);
    std::string bent = row.text;
    const size_t at = bent.find(row.from);
    REQUIRE(at != std::string::npos);
    bent.replace(at, std::string(row.from).size(), row.to);
    CHECK(error_of(decode_authorities(bent)) ==
          std::string("corrupt: the cluster's authority in the store is damaged: ") + row.error);
  }
}

TEST_CASE(
    "one signing key takes the place of another: verified first, then signed with, the old one for a while") {
  SystemRandom random;
  SigningKeys have;
  have.current_pem = pem(random);
  CHECK_FALSE(next_step(have, true, now, token_renewal_seconds, random).value());
  CHECK(account_keys(have, random).value() == std::vector<std::string>{have.current_pem});

  const SigningKeys next = begin_replacement(have, random).value();
  CHECK(begin_replacement(next, random).error().code == Errc::conflict);
  CHECK(account_keys(next, random).value() ==
        std::vector<std::string>{have.current_pem, half(next.next_pem, random)});
  CHECK_FALSE(next_step(next, false, now, token_renewal_seconds, random).value());

  const SigningKeys signing = next_step(next, true, now, token_renewal_seconds, random)->value();
  CHECK(account_keys(signing, random).value() ==
        std::vector<std::string>{next.next_pem, half(have.current_pem, random)});
  CHECK(encode(signing).find(json::quoted(have.current_pem)) == std::string::npos);
  CHECK_FALSE(
      next_step(signing, true, later(token_renewal_seconds - 1), token_renewal_seconds, random).value());
  const SigningKeys done =
      next_step(signing, true, later(token_renewal_seconds), token_renewal_seconds, random)->value();
  CHECK(account_keys(done, random).value() == std::vector<std::string>{next.next_pem});

  // Stolen: it verifies no longer than it signs.
  const SigningKeys at_once = next_step(next, true, now, 0, random)->value();
  CHECK(account_keys(at_once, random).value() == std::vector<std::string>{next.next_pem});

  for (const SigningKeys& one : {have, next, signing, done})
    CHECK(encode(*decode_signing_keys(encode(one))) == encode(one));

  SigningKeys many = have;
  for (int i = 0; i < 16; ++i) many.old.push_back({half(pem(random), random), now.seconds + 60});
  CHECK(begin_replacement(many, random).error().code == Errc::exhausted);
  CHECK(decode_signing_keys(encode(many)));
  many.old.push_back(many.old[0]);
  const std::string of_damage = "corrupt: the keys of service-account tokens in the store are damaged: ";
  CHECK(error_of(decode_signing_keys(encode(many))) == of_damage + "too many old keys");
  CHECK(error_of(decode_signing_keys("")) == of_damage + "no JSON object");
  CHECK(error_of(decode_signing_keys("{}")) == of_damage + "no key signs");
  CHECK(error_of(decode_signing_keys(R"({"current":"x","old":[{"public":"x"}]})")) ==
        of_damage + "an old key cannot be read");
}
