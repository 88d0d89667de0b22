#include "cluster/token.h"

#include <doctest/doctest.h>

#include <functional>

#include "base/bytes.h"
#include "base/sha256.h"
#include "support.h"

using namespace limpet;
using namespace limpet::cluster;
using limpet::cluster_test::error_of;
using limpet::cluster_test::now;

namespace {

const std::string ca(64, 'a');

std::string data(json::Ref secret, const char* key) {
  return base64_decode(secret["data"][key].str()).value();
}

}  // namespace

TEST_CASE("a token reads as it was made") {
  SystemRandom random;
  const Token token = make_token(ca, random);
  CHECK(token.text().size() == 8 + 64 + 1 + 6 + 1 + 16);
  CHECK(parse_token(token.text()).value() == token);
  CHECK_FALSE(make_token(ca, random) == token);
}

TEST_CASE("what is no token is said to be none, and why") {
  const std::string good = "limpet1." + ca + ".abc123.0123456789abcdef";
  REQUIRE(parse_token(good));
  struct Row {
    std::string text;
    const char* error;
  };
  std::string upper = good, dot = good, id = good, secret = good;
  upper[10] = 'A';
  dot[8 + 64] = '-';
  id[8 + 65] = '_';
  secret.back() = '\n';
  for (const Row& row : {
           Row{"",
               "invalid_argument: this is no join token (limpet1.CA.ID.SECRET): it does not begin with "
               "limpet1."},
           Row{"abc123.0123456789abcdef",
               "invalid_argument: this is no join token (limpet1.CA.ID.SECRET): it does not begin with "
               "limpet1."},
           Row{"limpet2." + good.substr(8), "unsupported: this join token is of another version of limpet"},
           Row{good + "x",
               "invalid_argument: this is no join token (limpet1.CA.ID.SECRET): a part of it is missing or "
               "too long"},
           Row{good.substr(0, 80),
               "invalid_argument: this is no join token (limpet1.CA.ID.SECRET): a part of it is missing or "
               "too long"},
           Row{upper,
               "invalid_argument: this is no join token (limpet1.CA.ID.SECRET): its second part is not 64 "
               "hex digits"},
           Row{dot,
               "invalid_argument: this is no join token (limpet1.CA.ID.SECRET): its id must have 6 and its "
               "secret 16 "
               "characters [a-z0-9]"},
           Row{id,
               "invalid_argument: this is no join token (limpet1.CA.ID.SECRET): its id must have 6 and its "
               "secret 16 "
               "characters [a-z0-9]"},
           Row{secret,
               "invalid_argument: this is no join token (limpet1.CA.ID.SECRET): its id must have 6 and its "
               "secret "
               "16 characters [a-z0-9]"},
       }) {
    CAPTURE(row.text);
    CHECK(error_of(parse_token(row.text)) == row.error);
  }
}

TEST_CASE("the Secret has upstream's keys, and no secret in it") {
  SystemRandom random;
  const Token token = make_token(ca, random);
  const json::Value secret = token_secret(token, {Role::server, now.seconds + 3600, 3, "for the barn"});
  const json::Ref s = secret.ref();
  CHECK(s["kind"].str() == "Secret");
  CHECK(s["type"].str() == "bootstrap.kubernetes.io/token");
  CHECK(s["metadata"]["name"].str() == "bootstrap-token-" + token.id);
  CHECK(s["metadata"]["namespace"].str() == "kube-system");
  CHECK(data(s, "token-id") == token.id);
  CHECK(data(s, "token-secret-sha256") == sha256_hex(token.secret));
  CHECK(data(s, "expiration") == "2026-05-28T21:26:40Z");
  CHECK(data(s, "usage-bootstrap-authentication") == "true");
  CHECK(data(s, "auth-extra-groups").starts_with("system:bootstrappers:"));
  CHECK(data(s, "limpet-role") == "server");
  CHECK(data(s, "limpet-uses-left") == "3");
  CHECK(data(s, "description") == "for the barn");
  CHECK(s.dump().find(token.secret) == std::string::npos);
  CHECK(s.dump().find(base64_encode(token.secret)) == std::string::npos);

  const Grant back = read_grant(s).value();
  CHECK(back.role == Role::server);
  CHECK(back.expires_at == now.seconds + 3600);
  CHECK(back.uses_left == 3);
  CHECK(back.description == "for the barn");
  const json::Value endless = token_secret(token, {});
  CHECK(read_grant(endless.ref())->expires_at == 0);
  CHECK_FALSE(read_grant(endless.ref())->uses_left);
  CHECK_FALSE(endless.ref()["data"]["limpet-uses-left"]);
}

TEST_CASE("uses are taken one by one") {
  SystemRandom random;
  const Token token = make_token(ca, random);
  json::Value secret = token_secret(token, {Role::agent, 0, 2, ""});
  for (const char* left : {"1", "0"}) {
    CHECK(take_use(secret.ref()));
    CHECK(data(secret.ref(), "limpet-uses-left") == left);
  }
  CHECK_FALSE(take_use(secret.ref()));
  json::Value endless = token_secret(token, {});
  const std::string before = endless.ref().dump();
  CHECK_FALSE(take_use(endless.ref()));
  CHECK(endless.ref().dump() == before);
}

TEST_CASE("who may join with a token, and why not") {
  SystemRandom random;
  Token token{ca, "abc123", "0123456789abcdef"};
  const auto set = [](const char* key, std::string value) {
    return [key, value](json::Ref s) { s["data"].set(key, base64_encode(value)); };
  };
  const auto drop = [](const char* key) { return [key](json::Ref s) { s["data"].remove(key); }; };
  const auto nothing = [](json::Ref) {};
  struct Row {
    const char* what;
    std::function<void(json::Ref)> bend;
    Role wanted;
    bool again;
    const char* error;
  };
  const char* const unknown =
      "unauthenticated: the join token abc123 is not known here: it has expired, was removed, or was not "
      "copied whole";
  const Row rows[] = {
      {"good", nothing, Role::server, false, ""},
      {"the last second", set("expiration", "2026-05-28T20:26:41Z"), Role::server, false, ""},
      {"expired", set("expiration", "2026-05-28T20:26:40Z"), Role::server, false,
       "expired: the join token abc123 expired at 2026-05-28T20:26:40Z: make another one with limpet token "
       "create"},
      {"expired, again", set("expiration", "2026-05-28T22:26:39+02:00"), Role::server, true,
       "expired: the join token abc123 expired at 2026-05-28T20:26:39Z: make another one with limpet token "
       "create"},
      {"for ever", drop("expiration"), Role::server, false, ""},
      {"used up", set("limpet-uses-left", "0"), Role::server, false,
       "exhausted: the join token abc123 is used up: make another one with limpet token create"},
      {"used up, by this device", set("limpet-uses-left", "0"), Role::server, true, ""},
      {"any number of times", drop("limpet-uses-left"), Role::server, false, ""},
      {"another role", nothing, Role::agent, false,
       "permission_denied: the join token abc123 is for role server, and this device wants role agent"},
      {"another id", set("token-id", "abc124"), Role::server, false, unknown},
      {"another secret", set("token-secret-sha256", sha256_hex("0123456789abcdeg")), Role::server, false,
       unknown},
      {"no secret", drop("token-secret-sha256"), Role::server, false, unknown},
      {"a wrong secret tells nothing of the rest",
       [&](json::Ref s) {
         set("token-secret-sha256", "x")(s);
         set("limpet-uses-left", "0")(s);
       },
       Role::server, false, unknown},
      {"nothing in it", [](json::Ref s) { s.remove("data"); }, Role::server, false, unknown},
      {"not base64", [](json::Ref s) { s["data"].set("token-secret-sha256", "*"); }, Role::server, false,
       unknown},
      {"not for joining", set("usage-bootstrap-authentication", "false"), Role::server, false,
       "permission_denied: the join token abc123 is not for joining"},
      {"no role", drop("limpet-role"), Role::server, false,
       "corrupt: the Secret bootstrap-token-abc123 is no join token of limpet: limpet-role is neither server "
       "nor agent"},
      {"a number that is none", set("limpet-uses-left", "-1"), Role::server, false,
       "corrupt: the Secret bootstrap-token-abc123 is no join token of limpet: limpet-uses-left is no "
       "number"},
      {"an empty number", set("limpet-uses-left", ""), Role::server, false,
       "corrupt: the Secret bootstrap-token-abc123 is no join token of limpet: limpet-uses-left is no "
       "number"},
      {"a time that is none", set("expiration", "tomorrow"), Role::server, false,
       "corrupt: the Secret bootstrap-token-abc123 is no join token of limpet: expiration is no time (RFC "
       "3339)"},
      {"another type", [](json::Ref s) { s.set("type", "Opaque"); }, Role::server, false,
       "corrupt: the Secret bootstrap-token-abc123 is no join token of limpet: its type is not "
       "bootstrap.kubernetes.io/token"},
      {"not a string", [](json::Ref s) { s["data"].set("limpet-uses-left", 3); }, Role::server, false,
       "corrupt: the Secret bootstrap-token-abc123 is no join token of limpet: limpet-uses-left is not "
       "base64"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    json::Value secret = token_secret(token, {Role::server, now.seconds + 3600, 3, ""});
    row.bend(secret.ref());
    CHECK(error_of(check_token(token, secret.ref(), {ca}, row.wanted, row.again, now)) == row.error);
  }
  CHECK(error_of(check_token(token, json::Ref(), {ca}, Role::server, false, now)) == unknown);
  const json::Value secret = token_secret(token, {Role::server, 0, {}, ""});
  CHECK(error_of(check_token(token, secret.ref(), {std::string(64, 'b')}, Role::server, false, now)) ==
        "unauthenticated: the join token abc123 is of another cluster: it names the authority "
        "aaaaaaaaaaaa..., which is not "
        "trusted here");
  CHECK(error_of(check_token(token, secret.ref(), {std::string(64, 'b'), ca}, Role::server, false, now)) ==
        "");
}
