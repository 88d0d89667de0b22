#include "cli/scrub.h"

#include <doctest/doctest.h>

#include "base/bytes.h"
#include "cli/archive.h"

using namespace limpet;
using namespace limpet::cli;

namespace {

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("scrub: what looks like a secret goes, what does not stays") {
  const Scrubber s;
  const std::pair<const char*, const char*> rows[] = {
      {"proxy: http://user:hunter2@proxy:3128/x", "proxy: http://[removed]@proxy:3128/x"},
      {"http://plain:3128/a@b", "http://plain:3128/a@b"},
      {"a -----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY----- b", "a [removed] b"},
      {"-----BEGIN PRIVATE KEY-----\nMHcC cut off", "[removed]"},
      {"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
       "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"},
      {"x eyJhbGciOi.eyJzdWIiOiJ4.c2lnbmF0dXJl y", "x [removed] y"},
      {"Authorization: Bearer abcdef0123456789", "Authorization: Bearer [removed]"},
      {"Www-Authenticate: Basic realm=\"r\"", "Www-Authenticate: Basic realm=\"r\""},
      {"DB_PASSWORD=hunter2 next", "DB_PASSWORD=[removed] next"},
      {"--api-token=hunter2, more", "--api-token=[removed], more"},
      {R"({"password":"hunter2","user":"bob"})", R"({"password":"[removed]","user":"bob"})"},
      {R"({"token": "a b c", "automountServiceAccountToken": false})",
       R"({"token": "[removed]", "automountServiceAccountToken": false})"},
      {R"("msg":"{\"secret\":\"hunter2\"}")", R"("msg":"{\"secret\":\"[removed]\"}")"},
      {R"("secret":{"secretName":"tls"})", R"("secret":{"secretName":"tls"})"},
      {R"("secretKeyRef":{"name":"db","key":"password"})",
       R"("secretKeyRef":{"name":"db","key":"password"})"},
      {"limpet_requests_total{code=\"200\"} 5", "limpet_requests_total{code=\"200\"} 5"},
      {"", ""},
      {"password", "password"},
      {"password:", "password:"},
      {"://@", "://@"},
  };
  for (const auto& [in, out] : rows) {
    CAPTURE(in);
    CHECK_EQ(s.text(in), out);
    CHECK_EQ(s.text(s.text(in)), out);  // nothing more at the second time
  }
}

TEST_CASE("scrub: known secrets go wherever they stand, in every form") {
  Scrubber s;
  const std::string secret = "canary \"value\" 1";
  const std::string docker = R"({"auths":{"r":{"auth":")" + base64_encode("bob:docker-canary") + R"("}}})";
  auto list =
      json::parse(R"({"items":[{"data":{"a":")" + base64_encode(secret) + R"(","short":")" +
                  base64_encode("on") + R"(",".dockerconfigjson":")" + base64_encode(docker) + R"("}}]})");
  REQUIRE(list);
  s.know_secrets(list->ref());
  s.know("first line of a file\nshort\nthe second long line\n");
  for (const std::string& in :
       {secret, base64_encode(secret), json::quoted(secret), std::string("docker-canary"),
        base64_encode("bob:docker-canary"), std::string("the second long line")}) {
    CAPTURE(in);
    const std::string out = s.text("before " + in + " after");
    CHECK(has(out, "[removed]"));
    CHECK_FALSE(has(out, "canary"));
    CHECK_FALSE(has(out, "second"));
    CHECK(out.starts_with("before "));
    CHECK(out.ends_with(" after"));
  }
  CHECK_EQ(s.text("the light is on"), "the light is on");
}

TEST_CASE("scrub: variables of pods by their names") {
  auto pod = json::parse(
      R"({"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"all of it"},"managedFields":[]},
      "spec":{"containers":[{"env":[{"name":"DB_PASSWORD","value":"x"},{"name":"apiToken","value":"y"},{"name":"MODE","value":"fast"},
      {"name":"KEY_PASSWD","valueFrom":{"secretKeyRef":{"name":"s"}}}]}],"initContainers":[{"env":[{"name":"AWS_SECRET_ACCESS_KEY","value":"z"}]}]}})");
  REQUIRE(pod);
  Scrubber::pod(pod->ref());
  CHECK_EQ(
      pod->ref().dump(),
      R"({"metadata":{"annotations":{}},"spec":{"containers":[{"env":[{"name":"DB_PASSWORD","value":"[removed]"},)"
      R"({"name":"apiToken","value":"[removed]"},{"name":"MODE","value":"fast"},{"name":"KEY_PASSWD","valueFrom":{"secretKeyRef":{"name":"s"}}}]}],)"
      R"("initContainers":[{"env":[{"name":"AWS_SECRET_ACCESS_KEY","value":"[removed]"}]}]}})");
  Scrubber::pod(json::Ref());
}

TEST_CASE("archive: headers as tar wants them, and gzip") {
  Archive a(1767225600);
  a.add("d/one.txt", "hello");
  a.add("two", std::string(512, 'x'));
  const std::string tar = a.tar();
  CHECK_EQ(tar.size() % 512, 0);
  CHECK_EQ(tar.size(), 512 * (2 + 2 + 2));
  CHECK(tar.starts_with("d/one.txt"));
  CHECK_EQ(tar.substr(124, 11), "00000000005");
  CHECK_EQ(tar.substr(257, 5), "ustar");
  CHECK_EQ(tar.substr(512, 5), "hello");
  CHECK(tar.substr(1024).starts_with("two"));
  const auto packed = a.gzip();
  REQUIRE(packed);
  CHECK_EQ(packed->substr(0, 2), "\x1f\x8b");
  CHECK_LT(packed->size(), 400);
}
