#include "pki/identity.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/failpoint.h"
#include "base/yaml.h"
#include "support.h"

using namespace limpet;
using namespace limpet::pki;
using limpet::pki_test::now;
using limpet::pki_test::shell;
using limpet::pki_test::TempDir;

namespace {

IdentityOptions options_in(const TempDir& dir) {
  IdentityOptions o;
  o.directory = dir.file("var/pki");
  o.names = {{"device-1", "localhost", "kubernetes"}, {"127.0.0.1", "10.43.0.1", "::1"}};
  o.server_url = "https://127.0.0.1:6443";
  o.kubeconfig_path = dir.file("etc/admin.kubeconfig");
  return o;
}

std::string changes(const Identity& identity) {
  std::string out;
  for (const Change& c : identity.changes) out += (out.empty() ? "" : "; ") + c.what + ": " + c.why;
  return out;
}

constexpr const char* everything =
    "ca: first start; service account key: first start; serving certificate: first start; admin certificate: "
    "first start; "
    "admin kubeconfig: first start";

// Everything fits together: what an API client and the server would check.
void check_whole(const Identity& id, WallTime at) {
  auto ca = parse_certificate(id.ca_pem);
  auto serving = parse_certificate(id.serving_pem);
  auto admin = parse_certificate(id.admin_pem);
  REQUIRE(ca);
  REQUIRE(serving);
  REQUIRE(admin);
  CHECK(verify_signed_by(*serving, *ca, at));
  CHECK(verify_signed_by(*admin, *ca, at));
  CHECK(admin->subject == Subject{"limpet-admin", {"system:masters"}});
  SystemRandom random;
  CHECK(PrivateKey::from_pem(id.ca_key_pem, random)->spki() == ca->spki);
  CHECK(PrivateKey::from_pem(id.serving_key_pem, random)->spki() == serving->spki);
  CHECK(PrivateKey::from_pem(id.admin_key_pem, random)->spki() == admin->spki);
  CHECK(PrivateKey::from_pem(id.service_account_key_pem, random));
  CHECK(parse_bundle(id.serving_pem)->size() == 2);
  CHECK(id.renew_at > at.seconds);
}

}  // namespace

TEST_CASE("the first start makes everything, later ones change nothing") {
  SystemRandom random;
  TempDir dir;
  IdentityOptions options = options_in(dir);
  auto first = ensure_identity(options, now, random);
  REQUIRE_MESSAGE(first, first.error().message);
  CHECK(changes(*first) == everything);
  check_whole(*first, now);
  for (const char* name : {"var/pki/ca.key", "var/pki/ca.crt", "var/pki/sa.key", "var/pki/serving.key",
                           "etc/admin.kubeconfig"}) {
    struct stat st;
    REQUIRE(stat(dir.file(name).c_str(), &st) == 0);
    CHECK((st.st_mode & 07777) == 0600);
  }
  std::swap(options.names.dns[0], options.names.dns[2]);
  options.names.ips.push_back("0:0:0:0:0:0:0:1");  // the same address in another spelling
  auto again = ensure_identity(options, now, random);
  REQUIRE(again);
  CHECK(changes(*again) == "");
  CHECK(again->serving_pem == first->serving_pem);
  CHECK(again->kubeconfig == first->kubeconfig);
}

TEST_CASE("leaves follow names and time, the authority stays") {
  SystemRandom random;
  TempDir dir;
  IdentityOptions options = options_in(dir);
  auto first = ensure_identity(options, now, random);
  REQUIRE(first);
  options.names.ips.push_back("192.0.2.9");
  auto moved = ensure_identity(options, now, random);
  CHECK(changes(*moved) == "serving certificate: names changed");
  CHECK(moved->ca_pem == first->ca_pem);
  CHECK(ensure_identity(options, {first->renew_at - 1, 0}, random)->changes.empty());
  WallTime later{first->renew_at, 0};
  auto renewed = ensure_identity(options, later, random);
  CHECK(changes(*renewed) ==
        "serving certificate: two thirds of its life are over; admin certificate: two thirds of its life are "
        "over; "
        "admin kubeconfig: its credentials were renewed");
  check_whole(*renewed, later);
  CHECK(read_file(options.kubeconfig_path, 65536).value() == renewed->kubeconfig);
  // The clock falls back by years: still a certificate that is valid then.
  auto back = ensure_identity(options, now, random);
  CHECK(changes(*back).starts_with("serving certificate: the clock went back"));
  check_whole(*back, now);
  CHECK(back->ca_pem == first->ca_pem);
}

TEST_CASE("damage is mended where it can be and reported where it cannot") {
  SystemRandom random;
  struct Row {
    const char* file;
    const char* bytes;  // null: removed
    const char* changes;
    const char* error;
  };
  for (const Row& row : {
           Row{"serving.key", nullptr, "serving certificate: key and certificate did not belong together",
               ""},
           Row{"serving.crt", "junk", "serving certificate: the file was damaged", ""},
           Row{"serving.crt", nullptr, "serving certificate: first start", ""},
           Row{"sa.key", "", "service account key: first start", ""},
           Row{"sa.key", "junk", "service account key: sa.key was damaged", ""},
           Row{"admin.key", "junk", "admin certificate: key and certificate did not belong together", ""},
           Row{"ca.key", nullptr, "", "ca.key is missing"},
           Row{"ca.key", "junk", "", "ca.key: private key"},
           Row{"ca.crt", "junk", "", "ca.crt: malformed certificate"},
       }) {
    CAPTURE(row.file);
    TempDir dir;
    IdentityOptions options = options_in(dir);
    REQUIRE(ensure_identity(options, now, random));
    std::string path = options.directory + "/" + row.file;
    if (row.bytes == nullptr) {
      unlink(path.c_str());
    } else {
      REQUIRE(write_file_atomic(path, row.bytes, 0600));
    }
    auto result = ensure_identity(options, now, random);
    if (*row.error == '\0') {
      REQUIRE_MESSAGE(result, result.error().message);
      CHECK(changes(*result).starts_with(row.changes));
      check_whole(*result, now);
    } else {
      REQUIRE_FALSE(result);
      CHECK(result.error().code == Errc::corrupt);
      CHECK(result.error().message.find(row.error) != std::string::npos);
    }
  }
}

TEST_CASE("a certificate of another authority is replaced") {
  SystemRandom random;
  TempDir dir;
  TempDir other;
  IdentityOptions options = options_in(dir);
  REQUIRE(ensure_identity(options, now, random));
  auto foreign = ensure_identity(options_in(other), now, random);
  REQUIRE(write_file_atomic(options.directory + "/serving.key", foreign->serving_key_pem, 0600));
  REQUIRE(write_file_atomic(options.directory + "/serving.crt", foreign->serving_pem, 0600));
  auto result = ensure_identity(options, now, random);
  CHECK(changes(*result) == "serving certificate: issued by another authority");
}

#ifdef LIMPET_FAILPOINTS
TEST_CASE("a first start cut anywhere goes on at the next one") {
  SystemRandom random;
  int cuts = 0;
  for (const char* place :
       {"pki.ca_key.write", "pki.ca.write", "pki.sa_key.write", "pki.serving_key.write", "pki.serving.write",
        "pki.admin_key.write", "pki.admin.write", "pki.kubeconfig.write"}) {
    for (const char* step : {"", ".rename", ".synced"}) {
      for (const char* action : {"error", "kill"}) {
        std::string name = std::string(place) + step;
        CAPTURE(name);
        TempDir dir;
        IdentityOptions options = options_in(dir);
        pid_t child = fork();
        if (child == 0) {
          failpoint::arm(name + "=" + action);
          _exit(ensure_identity(options, now, random) ? 0 : 1);
        }
        int status = 0;
        REQUIRE(waitpid(child, &status, 0) == child);
        bool cut = std::string(action) == "kill" ? WIFSIGNALED(status) : WEXITSTATUS(status) == 1;
        CHECK(cut);
        cuts += cut ? 1 : 0;
        auto next = ensure_identity(options, now, random);
        REQUIRE_MESSAGE(next, next.error().message);
        check_whole(*next, now);
        CHECK(read_file(options.kubeconfig_path, 65536).value() == next->kubeconfig);
        CHECK(ensure_identity(options, now, random)->changes.empty());
        CHECK_FALSE(shell("ls -A " + options.directory + " | grep tmp-"));
      }
    }
  }
  CHECK(cuts == 48);
}
#endif

TEST_CASE("the kubeconfig is YAML that embeds all, and people's changes to it stay") {
  SystemRandom random;
  TempDir dir;
  IdentityOptions options = options_in(dir);
  auto id = ensure_identity(options, now, random);
  REQUIRE(id);
  auto documents = yaml::parse(id->kubeconfig);
  REQUIRE(documents);
  json::Value config = yaml::to_json((*documents)[0]);
  CHECK(config.ref()["clusters"].at(0)["cluster"]["server"].str() == "https://127.0.0.1:6443");
  CHECK(
      base64_decode(config.ref()["clusters"].at(0)["cluster"]["certificate-authority-data"].str()).value() ==
      id->ca_pem);
  CHECK(base64_decode(config.ref()["users"].at(0)["user"]["client-key-data"].str()).value() ==
        id->admin_key_pem);
  std::string edited = id->kubeconfig;
  edited.replace(edited.find("127.0.0.1"), 9, "10.0.0.77");
  REQUIRE(write_file_atomic(options.kubeconfig_path, edited, 0600));
  CHECK(ensure_identity(options, now, random)->changes.empty());
  CHECK(read_file(options.kubeconfig_path, 65536).value() == edited);
}
