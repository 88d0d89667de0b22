#include "pki/jwt.h"

#include <doctest/doctest.h>

#include "base/bytes.h"
#include "base/json.h"
#include "support.h"

using namespace limpet;
using namespace limpet::pki;
using limpet::pki_test::now;

namespace {

struct Fixture {
  SystemRandom random;
  PrivateKey key = PrivateKey::generate(random).value();
  TokenKeys keys;
  TokenPolicy policy;

  Fixture() { REQUIRE(keys.add(key.spki())); }
  TokenClaims claims() {
    TokenClaims c;
    c.audiences = {std::string(default_issuer)};
    c.namespace_name = "default";
    c.name = "builder";
    c.uid = "u-1";
    c.pod_name = "web-0";
    c.pod_uid = "u-2";
    c.node_name = "device-1";
    set_lifetime(c, now, 3600);
    return c;
  }
  std::string header() { return R"({"alg":"ES256","kid":")" + key_id(key.spki()) + R"("})"; }
  std::string payload() {
    return R"({"aud":["https://kubernetes.default.svc.cluster.local"],"exp":1780003600,"iat":1780000000,)"
           R"("iss":"https://kubernetes.default.svc.cluster.local","nbf":1780000000,)"
           R"("kubernetes.io":{"namespace":"default","serviceaccount":{"name":"builder","uid":"u"}},)"
           R"("sub":"system:serviceaccount:default:builder"})";
  }
  std::string make(const std::string& head, const std::string& body) {
    std::string text = base64url_encode(head) + "." + base64url_encode(body);
    return text + "." + base64url_encode(key.sign_raw(text, random).value());
  }
  std::string error(std::string_view token, int64_t at = now.seconds) {
    auto result = verify_token(token, keys, policy, {at, 0});
    return result ? "" : result.error().message;
  }
};

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE_FIXTURE(Fixture, "a token carries its claims there and back") {
  std::string token = sign_token(claims(), key, random).value();
  auto back = verify_token(token, keys, policy, now);
  REQUIRE_MESSAGE(back, back.error().message);
  CHECK(back->username() == "system:serviceaccount:default:builder");
  CHECK(back->uid == "u-1");
  CHECK(back->pod_name == "web-0");
  CHECK(back->pod_uid == "u-2");
  CHECK(back->node_name == "device-1");
  CHECK(back->secret_name == "");
  CHECK(back->audiences == claims().audiences);
  CHECK(back->expires_at == now.seconds + 3600);
  CHECK(back->id.size() == 36);
  CHECK(verify_token(sign_token(claims(), key, random).value(), keys, policy, now)->id != back->id);
}

TEST_CASE_FIXTURE(Fixture, "time decides") {
  std::string token = sign_token(claims(), key, random).value();
  CHECK(error(token, now.seconds + 3599) == "");
  CHECK(error(token, now.seconds + 3600) == "token: expired at 2026-05-28T21:26:40Z");
  CHECK(verify_token(token, keys, policy, {now.seconds + 3600, 0}).error().code == Errc::expired);
  CHECK(error(token, now.seconds - 86'400) == "");
  CHECK(error(token, now.seconds - 86'401) == "token: not valid before 2026-05-27T20:26:40Z");
  CHECK(error(token, 0).starts_with("token: not valid before"));
}

TEST_CASE_FIXTURE(Fixture, "a token of another key, issuer or audience is refused") {
  PrivateKey stranger = PrivateKey::generate(random).value();
  CHECK(error(sign_token(claims(), stranger, random).value()) == "token: signed by a key of another cluster");
  // A known kid with the signature of another key.
  std::string text = base64url_encode(header()) + "." + base64url_encode(payload());
  std::string forged = text + "." + base64url_encode(stranger.sign_raw(text, random).value());
  CHECK(error(forged) == "token: signature is wrong");
  TokenClaims c = claims();
  c.audiences = {"vault", "other"};
  std::string token = sign_token(c, key, random).value();
  CHECK(error(token) == "token: meant for another audience: vault");
  policy.audiences = {"x", "other"};
  CHECK(error(token) == "");
  policy.issuer = "https://elsewhere";
  CHECK(error(token) == "token: issued by https://kubernetes.default.svc.cluster.local");
  REQUIRE(keys.add(stranger.spki()));
  REQUIRE(keys.add(stranger.spki()));
  CHECK(keys.size() == 2);
}

TEST_CASE_FIXTURE(Fixture, "malformed and hostile tokens") {
  std::string good = make(header(), payload());
  REQUIRE(error(good) == "");
  std::string h = good.substr(0, good.find('.'));
  std::string p = good.substr(h.size() + 1, good.rfind('.') - h.size() - 1);
  std::string s = good.substr(good.rfind('.') + 1);
  struct Row {
    std::string token;
    const char* message;
  };
  for (const Row& row : {
           Row{"", "token: not three parts"},
           Row{"..", "token: header is not a JSON object"},
           Row{"a.b", "token: not three parts"},
           Row{good + ".x", "token: not three parts"},
           Row{h + "." + p + ".", "token: signature is wrong"},
           Row{std::string(1 << 20, 'a'), "token: too large"},
           Row{h + "=." + p + "." + s, "token: header is not base64url"},
           Row{h + "." + p + "." + s + "=", "token: signature is not base64url"},
           Row{h + "." + p + "." + s + "\n", "token: signature is not base64url"},
           Row{" " + good, "token: header is not base64url"},
           Row{h + "." + base64url_encode(replaced(payload(), "builder", "admin00")) + "." + s,
               "token: signature is wrong"},
           Row{make(R"({"alg":"none"})", payload()), "token: algorithm is not ES256"},
           Row{make(R"({"alg":"None","kid":"x"})", payload()), "token: algorithm is not ES256"},
           Row{make(R"({"alg":"HS256","kid":"x"})", payload()), "token: algorithm is not ES256"},
           Row{make(R"({"alg":"ES256"})", payload()), "token: signed by a key of another cluster"},
           Row{make(R"({"alg":["ES256"]})", payload()), "token: algorithm is not ES256"},
           Row{make(R"({"alg":"none","alg":"ES256"})", payload()), "token: header is not a JSON object"},
           Row{make(replaced(header(), "{", R"({"crit":["b64"],"b64":false,)"), payload()),
               "token: critical header parameters are not known"},
           Row{make("[]", payload()), "token: header is not a JSON object"},
           Row{make(header(), "[]"), "token: payload is not a JSON object"},
           Row{make(header(), payload() + "x"), "token: payload is not a JSON object"},
           Row{make(header(), std::string(100, '[')), "token: payload is not a JSON object"},
           Row{make(header(), "{}"), "token: no audience"},
           Row{make(header(), replaced(payload(), R"("exp":1780003600,)", "")),
               "token: exp is missing or no number of seconds"},
           Row{make(header(), replaced(payload(), "1780003600", "\"1780003600\"")),
               "token: exp is missing or no number of seconds"},
           Row{make(header(), replaced(payload(), "1780003600", "1e400")),
               "token: payload is not a JSON object"},
           Row{make(header(), replaced(payload(), "1780003600", "-1")),
               "token: exp is missing or no number of seconds"},
           Row{make(header(),
                    replaced(payload(), "[\"https://kubernetes.default.svc.cluster.local\"]", "[]")),
               "token: no audience"},
           Row{make(header(),
                    replaced(payload(), "[\"https://kubernetes.default.svc.cluster.local\"]", "[1]")),
               "token: malformed audience"},
           Row{make(header(), replaced(payload(), "serviceaccount:default", "serviceaccount:kube-system")),
               "token: subject and service account differ"},
           Row{make(header(), replaced(payload(), "serviceaccount\":{", "x\":{")),
               "token: names no service account"},
       }) {
    CAPTURE(row.token.substr(0, 200));
    CHECK(error(row.token) == row.message);
  }
  // Any single changed character of the text breaks it.
  for (size_t i = 0; i < good.size(); i++) {
    std::string bent = good;
    bent[i] = bent[i] == 'A' ? 'B' : 'A';
    CHECK_FALSE(verify_token(bent, keys, policy, now));
  }
}

TEST_CASE_FIXTURE(Fixture, "the documents for other verifiers") {
  auto jwks = json::parse(keys.jwks());
  REQUIRE(jwks);
  json::Ref one = jwks->ref()["keys"].at(0);
  CHECK(one["kty"].str() == "EC");
  CHECK(one["crv"].str() == "P-256");
  CHECK(one["alg"].str() == "ES256");
  CHECK(one["kid"].str() == key_id(key.spki()));
  std::string point = base64url_decode(one["x"].str()).value() + base64url_decode(one["y"].str()).value();
  CHECK(point == key.public_key()->point());
  auto discovery = json::parse(discovery_document("https://i", "https://i/openid/v1/jwks"));
  REQUIRE(discovery);
  CHECK(discovery->ref()["issuer"].str() == "https://i");
  CHECK(discovery->ref()["jwks_uri"].str() == "https://i/openid/v1/jwks");
}
