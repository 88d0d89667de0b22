#include "cli/scrub.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>

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
      {"Authorization: Bearer abcdef0123456789", "Authorization: [removed]"},
      {"sent bearer abcdef0123456789.x", "sent bearer [removed]"},
      {"BASIC dXNlcjpodW50ZXIy", "BASIC [removed]"},
      {"Www-Authenticate: Basic realm=\"r\"", "Www-Authenticate: Basic realm=\"r\""},
      {"DB_PASSWORD=two words\nnext", "DB_PASSWORD=[removed]\nnext"},
      {"\"x DB_PASSWORD=two words\" next", "\"x DB_PASSWORD=[removed]\" next"},
      {"--api-token=hunter2, more", "--api-token=[removed]"},
      {R"(["--password","hunter2","x"])", R"(["--password","[removed]","x"])"},
      {"[\n  \"--password\",\n  \"hunter2\"\n]", "[\n  \"--password\",\n  \"[removed]\"\n]"},
      {R"({\"args\":[\"--password\",\"hunter2\"]})", R"({\"args\":[\"--password\",\"[removed]\"]})"},
      {R"(["--password"],"b":"c")", R"(["--password"],"b":"c")"},
      {"mysql --password hunter2 -h x", "mysql --password [removed] -h x"},
      {"mysql --password 'two words' -h x", "mysql --password '[removed]' -h x"},
      {"args:\n- --password\n- two words\n- x", "args:\n- --password\n- [removed]\n- x"},
      {"x --no-auth --verbose", "x --no-auth --verbose"},
      {"a:\n  password: |\n    hunter2\n\n    two\n  user: bob", "a:\n  password: [removed]\n  user: bob"},
      {"password: >-\n  hunter2", "password: [removed]"},
      {"DB_PASS=hunter2", "DB_PASS=[removed]"},
      {"DB_PASS={[hunter2", "DB_PASS=[removed]"},
      {"PSK=hunter2", "PSK=[removed]"},
      {"wifi psk: hunter2", "wifi psk: [removed]"},
      {"ENCRYPTION_KEY=hunter2", "ENCRYPTION_KEY=[removed]"},
      {"SECRET_KEY_BASE=hunter2", "SECRET_KEY_BASE=[removed]"},
      {"AccountName=a;AccountKey=hunter2==", "AccountName=a;AccountKey=[removed]"},
      {"API_KEY_2=hunter2", "API_KEY_2=[removed]"},
      {R"({"name":"X-Api-Key","value":"hunter2"})", R"({"name":"X-Api-Key","value":"[removed]"})"},
      {"- name: DB_PASSWORD\n  value: two words\n- name: MODE\n  value: fast",
       "- name: DB_PASSWORD\n  value: [removed]\n- name: MODE\n  value: fast"},
      {"Set-Cookie: id=hunter2; Path=/; secure", "Set-Cookie: [removed]"},
      {"GET https://x/y?a=b&sig=hunter2%3D&c=d HTTP", "GET https://x/y?a=b&sig=[removed]&c=d HTTP"},
      {"/y?sig=hunter2", "/y?sig=[removed]"},
      {R"({"password":"ab\"hunter2","user":"bob"})", R"({"password":"[removed]","user":"bob"})"},
      {R"({"password":"ab\\","user":"bob"})", R"({"password":"[removed]","user":"bob"})"},
      {R"("msg":"{\"secret\":\"ab\\\"hunter2\",\"a\":1}")", R"("msg":"{\"secret\":\"[removed]\",\"a\":1}")"},
      {R"({"token":7,"a":"b"})", R"({"token":[removed],"a":"b"})"},
      {R"({"topologyKey":"kubernetes.io/hostname"})", R"({"topologyKey":"kubernetes.io/hostname"})"},
      {"begin\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7\nabcd==\n-----END PRIVATE KEY-----\nend",
       "begin\n[removed]\nend"},
      {"-----END CERTIFICATE-----", "-----END CERTIFICATE-----"},
      {R"({"password":"hunter2","user":"bob"})", R"({"password":"[removed]","user":"bob"})"},
      {R"({"token": "a b c", "automountServiceAccountToken": false})",
       R"({"token": "[removed]", "automountServiceAccountToken": false})"},
      {R"("msg":"{\"secret\":\"hunter2\"}")", R"("msg":"{\"secret\":\"[removed]\"}")"},
      {R"("secret":{"secretName":"tls"})", R"("secret":{"secretName":"tls"})"},
      {R"("secretKeyRef":{"name":"db","key":"password"})",
       R"("secretKeyRef":{"name":"db","key":"password"})"},
      {"limpet_requests_total{code=\"200\"} 5", "limpet_requests_total{code=\"200\"} 5"},
      {"postgres://bob:hun/ter2@db:5432/x", "postgres://[removed]@db:5432/x"},
      {"amqp://bob:hun,ter'2@mq/x y@z", "amqp://[removed]@mq/x y@z"},
      {"http://one:80,http://two:80/a@b", "http://one:80,http://two:80/a@b"},
      {"DSN root:hunter2@tcp(db:3306)/x", "DSN root:[removed]@tcp(db:3306)/x"},
      {"redis-cli -h db -a hunter2 ping", "redis-cli -h db -a [removed] ping"},
      {"/usr/bin/redis-cli -a 'hun ter2' ping", "/usr/bin/redis-cli -a '[removed]' ping"},
      {R"(["redis-cli","-a","hunter2","ping"])", R"(["redis-cli","-a","[removed]","ping"])"},
      {R"({\"command\":[\"redis-cli\",\"-a\",\"hunter2\"]})",
       R"({\"command\":[\"redis-cli\",\"-a\",\"[removed]\"]})"},
      {"[\n  \"redis-cli\",\n  \"-a\",\n  \"hunter2\"\n]",
       "[\n  \"redis-cli\",\n  \"-a\",\n  \"[removed]\"\n]"},
      {"- redis-cli\n- -a\n- hunter2\n- ping", "- redis-cli\n- -a\n- [removed]\n- ping"},
      {"mysql -u root -phunter2 -P 3306 shop", "mysql -u root -p[removed] -P 3306 shop"},
      {"mysql -u root -p shop", "mysql -u root -p shop"},
      {"mosquitto_pub -u bob -P hunter2 -p 1883 -t x", "mosquitto_pub -u bob -P [removed] -p 1883 -t x"},
      {"sshpass -phunter2 ssh -p 22 host", "sshpass -p[removed] ssh -p 22 host"},
      {"curl -u bob:hunter2 https://x/", "curl -u bob:[removed] https://x/"},
      {"curl -ubob:hunter2 https://x/", "curl -ubob:[removed] https://x/"},
      {"curl -u admin:12345678 https://x/", "curl -u admin:[removed] https://x/"},
      {"curl -uadmin:4711 https://x/", "curl -uadmin:[removed] https://x/"},
      {"curl -u 1000:4711 https://x/", "curl -u 1000:[removed] https://x/"},
      {"curl -u bob:/hunter2 -U bob:-hunter2 x", "curl -u bob:[removed] -U bob:[removed] x"},
      {"curl -u :hunter2 -U :4711 x", "curl -u :[removed] -U :[removed] x"},
      {"curl --user 1000:4711 x", "curl --user 1000:[removed] x"},
      {"curl -u bob: -U : x", "curl -u bob: -U : x"},
      {"fetch --user admin:4711 x", "fetch --user admin:[removed] x"},
      {"fetch --user=admin:/hunter2 x", "fetch --user=admin:[removed] x"},
      {"fetch --user=:hunter2 x", "fetch --user=:[removed] x"},
      {"fetch --proxy-user 1000:4711 x", "fetch --proxy-user 1000:[removed] x"},
      {"fetch --proxy-user=:4711 x", "fetch --proxy-user=:[removed] x"},
      {"fetch -u admin:4711 -u :hunter2 x", "fetch -u admin:[removed] -u :[removed] x"},
      {"docker run --user 1000:1000 --user=1000:1000 x", "docker run --user 1000:1000 --user=1000:1000 x"},
      {"serve -u 192.0.2.1:8080 -u :8080 -u ./a:./b", "serve -u 192.0.2.1:8080 -u :8080 -u ./a:./b"},
      {"fetch --user bob:hunter2", "fetch --user bob:[removed]"},
      {"fetch --proxy-user=bob:hunter2 x", "fetch --proxy-user=bob:[removed] x"},
      {"docker run -u 1000:1000 -p 80:8080 -a stdout x", "docker run -u 1000:1000 -p 80:8080 -a stdout x"},
      {"rsync -u host:/a /b; mkdir -p dir; ls -a dir", "rsync -u host:/a /b; mkdir -p dir; ls -a dir"},
      {"redis-cli ping && ls -a dir", "redis-cli ping && ls -a dir"},
      {"redis-cli ping\ncp -a one two", "redis-cli ping\ncp -a one two"},
      {"redis-cli -a", "redis-cli -a"},
      {"openssl enc -k hunter2 -in a", "openssl enc -k [removed] -in a"},
      {"openssl req -keyout key.pem -x509", "openssl req -keyout key.pem -x509"},
      {"smbclient //h/s -U bob%hunter2", "smbclient //h/s -U bob%[removed]"},
      {"smbclient //h/s -U bob%4711", "smbclient //h/s -U bob%[removed]"},
      {"smbclient //h/s -U %hunter2", "smbclient //h/s -U %[removed]"},
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

TEST_CASE("scrub: the time is that of the length, however much goes") {
  Scrubber s;
  s.know("known-canary");
  const std::string line =
      R"(at http://bob:x@y/?sig=a&b=c known-canary --password x \"token\":\"y\" eyJ:// ")";
  std::string in;
  for (size_t i = 0; i < 4000; i++) in += line + (i % 1000 == 0 ? "\n" : "");
  const std::string out = s.text(in);
  CHECK_FALSE(has(out, "canary"));
  CHECK_FALSE(has(out, "bob"));
  CHECK(s.text(std::string(1 << 20, '"')).size() == 1 << 20);
  CHECK(s.text(std::string(1 << 20, ':')).size() == 1 << 20);
  CHECK(s.text(std::string(1 << 20, '\\')).size() == 1 << 20);
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

TEST_CASE("scrub: documents as trees, by the names of their members") {
  Scrubber s;
  s.know("known-canary");
  const std::pair<const char*, const char*> rows[] = {
      {R"({"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"all of it"},"managedFields":[]}})",
       R"({"metadata":{"annotations":{}}})"},
      {R"({"env":[{"name":"DB_PASSWORD","value":"x"},{"name":"apiToken","value":"y"},{"name":"MODE","value":"fast"}]})",
       R"({"env":[{"name":"DB_PASSWORD","value":"[removed]"},{"name":"apiToken","value":"[removed]"},{"name":"MODE","value":"fast"}]})"},
      {R"({"env":[{"name":"KEY_PASSWD","valueFrom":{"secretKeyRef":{"name":"s","key":"password"}}}]})",
       R"({"env":[{"name":"KEY_PASSWD","valueFrom":{"secretKeyRef":{"name":"s","key":"password"}}}]})"},
      {R"({"httpGet":{"httpHeaders":[{"value":"x","name":"X-Api-Key"},{"name":"Accept","value":"*"}]}})",
       R"({"httpGet":{"httpHeaders":[{"value":"[removed]","name":"X-Api-Key"},{"name":"Accept","value":"*"}]}})"},
      {R"({"args":["--user","bob","--password","x","--token=y","--auth","--fast"]})",
       R"({"args":["--user","bob","--password","[removed]","--token=[removed]","--auth","--fast"]})"},
      {R"({"command":["sh","-c","mysql --password x; PGPASSWORD='two words' psql"]})",
       R"({"command":["sh","-c","mysql --password [removed] PGPASSWORD='[removed]' psql"]})"},
      {R"({"password":"ab\"x","message":"say \"known-canary\"","known-canary":1})",
       R"({"password":"[removed]","message":"say \"[removed]\"","[removed]":1})"},
      {R"({"command":["redis-cli"],"args":["-h","db","-a","hunter2","-p","6379"]})",
       R"({"command":["redis-cli"],"args":["-h","db","-a","[removed]","-p","6379"]})"},
      {R"({"args":["-p","hun ter2","-p","8080","-a","0.0.0.0:80","-p","/data","-w","-a"]})",
       R"({"args":["-p","[removed]","-p","8080","-a","0.0.0.0:80","-p","/data","-w","-a"]})"},
      {R"({"command":["curl","-u","bob:hunter2","-o","x"]})",
       R"({"command":["curl","-u","bob:[removed]","-o","x"]})"},
      {R"({"command":["curl","-u","admin:4711","--user",":hunter2","--user=1:2"]})",
       R"({"command":["curl","-u","admin:[removed]","--user",":[removed]","--user=1:[removed]"]})"},
      {R"({"args":["--user","1000:1000","-u","host:/a"]})",
       R"({"args":["--user","1000:1000","-u","host:/a"]})"},
      {R"({"command":["mysqladmin","-phunter2","-u","bob","ping"]})",
       R"({"command":["mysqladmin","-p[removed]","-u","bob","ping"]})"},
      {R"({"command":["mkdir","-p","dir"]})", R"({"command":["mkdir","-p","dir"]})"},
      {R"({"command":["sh","-c","redis-cli -a hunter2 ping"]})",
       R"({"command":["sh","-c","redis-cli -a [removed] ping"]})"},
      {R"([["--psk"],"x",7,null])", R"([["--psk"],"x",7,null])"},
  };
  for (const auto& [in, out] : rows) {
    CAPTURE(in);
    auto value = json::parse(in);
    REQUIRE(value);
    const auto clean = json::parse(s.document(value->ref()));
    REQUIRE(clean);  // it is still JSON
    CHECK_EQ(clean->ref().dump(), out);
  }
}

TEST_CASE("archive: the whole lines at the end of what is too long") {
  CHECK_EQ(last_lines("one\ntwo\n", 8), "one\ntwo\n");
  CHECK_EQ(last_lines("one\ntwo\n", 7), "two\n");
  CHECK_EQ(last_lines("one\ntwo\n", 4), "two\n");
  CHECK_EQ(last_lines("one\ntwo\n", 3), "");
  CHECK_EQ(last_lines("one long line", 3), "");
  std::string path = "/tmp/limpet-archive-test-XXXXXX";
  const int fd = mkstemp(path.data());
  REQUIRE(fd >= 0);
  const std::string lines = "a secret cut\n" + std::string(5000, 'x') + "\nlast\n";
  REQUIRE(write(fd, lines.data(), lines.size()) == static_cast<ssize_t>(lines.size()));
  close(fd);
  CHECK_EQ(read_end(path, 1 << 20).value_or(""), lines);
  CHECK_EQ(read_end(path, 5010).value_or(""), lines.substr(13));
  CHECK_EQ(read_end(path, 1000).value_or(""), "last\n");
  unlink(path.c_str());
  const auto none = read_end(path, 1000);
  REQUIRE_FALSE(none);
  CHECK(none.error().code == Errc::not_found);
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
