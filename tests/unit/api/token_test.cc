// Service-account tokens: what they are bound to, whom they are for, and what TokenReview says of them.
#include "api/identity.h"
#include "fixture.h"
#include "pki/certificate.h"
#include "pki/key.h"

namespace limpet::api::test {
namespace {

const std::string kAccounts = "/api/v1/namespaces/default/serviceaccounts";

// A server that signs tokens with a key of its own.
struct Issuer {
  ManualClock clock;
  SeededRandom random{11};
  Server s{nullptr, [this](Options& o) {
             auto key = pki::PrivateKey::generate(random);
             REQUIRE(key);
             auto identity = make_identity({*key->to_pem()}, o.issuer, clock, random);
             REQUIRE(identity);
             o.identity = std::move(*identity);
           }};

  Answer request(const std::string& spec, const std::string& account = "robot") {
    return s.post(kAccounts + "/" + account + "/token",
                  R"({"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":)" + spec + "}");
  }
  std::string token(const std::string& spec) {
    Answer a = request(spec);
    INFO(a.body);
    REQUIRE(a.status == 201);
    return a.json()["status"]["token"].str();
  }
  Answer review(const std::string& token, const std::string& audiences = "") {
    return s.post("/apis/authentication.k8s.io/v1/tokenreviews",
                  R"({"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":")" +
                      token + "\"" + (audiences.empty() ? "" : ",\"audiences\":" + audiences) + "}}");
  }
  bool good(const std::string& token, const std::string& audiences = "") {
    Answer a = review(token, audiences);
    CHECK(a.status == 201);
    return a.json()["status"]["authenticated"].boolean();
  }
  // As whom the API takes the bearer; 401 for nobody.
  int as_bearer(const std::string& token) {
    return s.ask({.target = "/api", .user = "", .headers = {{"Authorization", "Bearer " + token}}}).status;
  }
  void account(const std::string& name) {
    REQUIRE(s.post(kAccounts,
                   R"({"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":")" + name + "\"}}")
                .status == 201);
  }
};

}  // namespace

TEST_CASE("a review says who, and nobody once the account is gone") {
  Issuer i;
  i.account("robot");
  const std::string token = i.token("{}");
  Answer a = i.review(token);
  CHECK(a.status == 201);
  CHECK(a.json()["status"]["authenticated"].boolean());
  CHECK(a.json()["status"]["user"]["username"].str() == "system:serviceaccount:default:robot");
  CHECK(
      a.body.find(
          R"("groups":["system:serviceaccounts","system:serviceaccounts:default","system:authenticated"])") !=
      std::string::npos);
  CHECK(a.body.find(R"("audiences":["https://kubernetes.default.svc.cluster.local"])") != std::string::npos);
  CHECK(a.body.find(token) == std::string::npos);
  CHECK(i.as_bearer(token) == 200);
  CHECK(i.review("").status == 400);
  CHECK_FALSE(i.good("nonsense"));

  i.s.remove(kAccounts + "/robot");
  a = i.review(token);
  CHECK_FALSE(a.json()["status"]["authenticated"].boolean());
  CHECK(a.json()["status"]["error"].str() ==
        "invalid bearer token, service account token has been invalidated");
  CHECK_FALSE(a.json()["status"]["user"]);
  CHECK(i.as_bearer(token) == 401);
  // Another account of that name is another one.
  i.account("robot");
  CHECK_FALSE(i.good(token));
  CHECK(i.good(i.token("{}")));
}

TEST_CASE("a token holds for its audiences") {
  Issuer i;
  i.account("robot");
  const std::string vault = i.token(R"({"audiences":["vault","other"]})"), plain = i.token("{}");
  CHECK_FALSE(i.good(vault));
  CHECK(i.as_bearer(vault) == 401);
  CHECK(i.good(vault, R"(["vault"])"));
  CHECK(i.review(vault, R"(["x","vault"])").body.find(R"("audiences":["vault"])") != std::string::npos);
  CHECK_FALSE(i.good(vault, R"(["x"])"));
  CHECK(i.good(plain));
  CHECK_FALSE(i.good(plain, R"(["vault"])"));
  CHECK(i.good(plain, R"(["https://kubernetes.default.svc.cluster.local","vault"])"));
}

TEST_CASE("a token is good as long as what it is bound to") {
  struct {
    const char *kind, *where, *body;
  } rows[] = {
      {"Secret", "/api/v1/namespaces/default/secrets",
       R"({"apiVersion":"v1","kind":"Secret","metadata":{"name":"it"}})"},
      {"Node", "/api/v1/nodes", R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"it"}})"},
      {"Pod", "/api/v1/namespaces/default/pods",
       R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"it"},"spec":{"serviceAccountName":"robot","containers":[{"name":"app","image":"busybox:1"}]}})"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.kind);
    Issuer i;
    i.account("robot");
    const std::string it = std::string(R"("kind":")") + row.kind + R"(","apiVersion":"v1","name":"it")";
    const std::string spec = R"({"boundObjectRef":{)" + it + "}}", path = std::string(row.where) + "/it";
    Answer missing = i.request(spec);
    CHECK(missing.status == 404);
    CHECK(missing.message().find("\"it\" not found") != std::string::npos);
    Answer made = i.s.post(row.where, row.body);
    INFO(made.body);
    REQUIRE(made.status == 201);
    CHECK(i.request(R"({"boundObjectRef":{)" + it + R"(,"uid":"other"}})").status == 409);
    const std::string token = i.token(spec);
    CHECK(i.good(token));
    CHECK(i.as_bearer(token) == 200);
    i.s.remove(path);
    REQUIRE(i.s.get(path).status == 404);
    CHECK_FALSE(i.good(token));
    CHECK(i.as_bearer(token) == 401);
    REQUIRE(i.s.post(row.where, row.body).status == 201);
    CHECK_FALSE(i.good(token));
  }
}

TEST_CASE("a token is bound to nothing else") {
  Issuer i;
  i.account("robot");
  Answer a = i.request(R"({"boundObjectRef":{"kind":"ConfigMap","apiVersion":"v1","name":"it"}})");
  CHECK(a.status == 400);
  CHECK(a.message() == "cannot bind token to object of type /v1, Kind=ConfigMap");
  a = i.request(R"({"boundObjectRef":{"kind":"Pod","apiVersion":"apps/v1","name":"it"}})");
  CHECK(a.status == 400);
  CHECK(a.message() == "cannot bind token to object of type apps/v1, Kind=Pod");
}

TEST_CASE("while the key is replaced, tokens of the old and the new one are good") {
  ManualClock clock;
  SeededRandom random{11};
  const auto pem = [&] { return pki::PrivateKey::generate(random)->to_pem().value(); };
  const auto half = [&](const std::string& key) {
    return pki::to_pem(pki::PrivateKey::from_pem(key, random)->spki(), "PUBLIC KEY");
  };
  const std::string old = pem(), next = pem(), stranger = pem();
  auto keys = std::make_shared<AccountKeys>();
  CHECK_FALSE(keys->set({}, random));
  REQUIRE(keys->set({old, half(next)}, random));
  const Identity server = make_identity(keys, "https://here", clock, random);
  const auto issue = [&](const Identity& by) {
    TokenSpec spec;
    spec.ns = "default";
    spec.name = "robot";
    spec.expiration_s = 3600;
    return by.issue_token(spec)->token;
  };
  const auto good = [&](const std::string& token) { return server.verify_token(token, {}).has_value(); };
  const std::string by_old = issue(server);
  // Another server that signs with the new one already.
  const std::string by_next = issue(*make_identity({next, half(old)}, "https://here", clock, random));
  const std::string by_stranger = issue(*make_identity({stranger}, "https://here", clock, random));
  CHECK(good(by_old));
  CHECK(good(by_next));
  CHECK_FALSE(good(by_stranger));

  // What cannot be read changes nothing.
  for (const std::vector<std::string>& bad :
       {std::vector<std::string>{},
        {"junk"},
        {half(next)},
        {next, "junk"},
        {next, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"}}) {
    CHECK_FALSE(keys->set(bad, random));
    CHECK(good(by_old));
  }
  REQUIRE(keys->set({next, old}, random));
  CHECK(good(by_old));
  CHECK(good(issue(server)));
  // Dropped: also what was remembered as good a moment ago.
  REQUIRE(keys->set({next}, random));
  CHECK_FALSE(good(by_old));
  CHECK(good(by_next));
  CHECK_FALSE(make_identity({half(next)}, "https://here", clock, random));
}

TEST_CASE("a certificate is read once and judged each time, whichever came between") {
  ManualClock clock;
  SeededRandom random{11};
  constexpr WallTime kNow{1'780'000'000, 0};
  clock.set_wall(kNow);
  pki::Authority ca{"", *pki::PrivateKey::generate(random)};
  ca.certificate_pem = *pki::make_ca("ca", ca.key, pki::valid_from(kNow, pki::ca_life_seconds), random);
  const std::string key = pki::PrivateKey::generate(random)->spki();
  std::vector<std::string> ders;  // more than are kept
  for (int i = 0; i < 12; ++i) {
    const pki::Subject subject{strf("user-%d", i), {strf("group-%d", i)}};
    const auto pem = pki::issue(ca, key, subject, {}, pki::Use::client, pki::valid_from(kNow, 3600), random);
    ders.push_back(pki::parse_certificate(*pem)->der);
  }
  const Identity identity = *make_identity({*ca.key.to_pem()}, "https://here", clock, random);
  for (const int i : {0, 0, 1, 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0, 11, 10, 3, 0}) {
    const auto user = identity.read_certificate(ders[i]);
    REQUIRE(user);
    CHECK(user->name == strf("user-%d", i));
    CHECK(user->groups == std::vector<std::string>{strf("group-%d", i)});
  }
  CHECK_FALSE(identity.read_certificate(ders[0].substr(1)));
  CHECK_FALSE(identity.read_certificate(""));
  clock.set_wall({kNow.seconds + 3601, 0});
  CHECK_FALSE(identity.read_certificate(ders[0]));
}

}  // namespace limpet::api::test
