#include "pki/identity.h"
#include "../skip.h"

#include <doctest/doctest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/failpoint.h"
#include "base/yaml.h"
#include "pki/device.h"
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
  o.node_name = "device-1";
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
    "first start; device certificate: first start; admin kubeconfig: first start";

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
  auto device = parse_certificate(id.peer_pem);
  REQUIRE(device);
  CHECK(verify_signed_by(*device, *ca, at));
  CHECK(device_of(*device).value() == DeviceId{"device-1", true});
  CHECK(PrivateKey::from_pem(id.peer_key_pem, random)->spki() == device->spki);
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
  CHECK(ensure_identity(options, WallTime{first->renew_at - 1, 0}, random)->changes.empty());
  WallTime later{first->renew_at, 0};
  auto renewed = ensure_identity(options, later, random);
  CHECK(changes(*renewed) ==
        "serving certificate: two thirds of its life are over; admin certificate: two thirds of its life are "
        "over; device certificate: two thirds of its life are over; "
        "admin kubeconfig: its credentials were renewed");
  // The cluster's data key is wrapped for it.
  CHECK(renewed->peer_key_pem == first->peer_key_pem);
  check_whole(*renewed, later);
  CHECK(read_file(options.kubeconfig_path, 65536).value() == renewed->kubeconfig);
  // The clock falls back by half a year: what is there was valid then too.
  CHECK(ensure_identity(options, now, random)->changes.empty());
}

namespace {

constexpr int64_t year = 365 * day_seconds;

// What Go's verifier and ours ask of a chain at a time.
void check_chain(const std::string& leaf_pem, const std::string& ca_pem, int64_t at) {
  auto leaf = parse_certificate(leaf_pem);
  auto ca = parse_certificate(ca_pem);
  REQUIRE(leaf);
  REQUIRE(ca);
  CHECK(verify_signed_by(*leaf, *ca, {at, 0}));
  CHECK(ca->valid_at({at, 0}));
}

}  // namespace

TEST_CASE("in every order of clock jumps all is valid, for the device and for the programs on it") {
  SystemRandom random;
  const int64_t right = now.seconds;
  const int64_t times[] = {right, right + 20 * year, 0,          right + 400 * day_seconds,
                           right, right + 9 * year,  right + 70, right + 200 * year,
                           1000,  right + 8 * year,  right};
  for (size_t first = 0; first < std::size(times); first++) {
    CAPTURE(first);
    TempDir dir;
    IdentityOptions options = options_in(dir);
    std::string first_ca, first_key;
    for (size_t i = 0; i < std::size(times); i++) {
      const int64_t machine = times[(first + i) % std::size(times)];
      // A clock before the build is not believed; others are.
      const int64_t believed = std::max(machine, right);
      CAPTURE(machine);
      auto id = ensure_identity(options, {{believed, 0}, {machine, 0}}, random);
      REQUIRE_MESSAGE(id, id.error().message);
      if (i == 0) {
        first_ca = id->ca_pem;
        first_key = id->ca_key_pem;
      }
      for (const int64_t at : {machine, believed}) {
        check_chain(id->serving_pem, id->ca_pem, at);
        check_chain(id->admin_pem, id->ca_pem, at);
      }
      auto ca = parse_certificate(id->ca_pem);
      for (const std::string& pem : {id->serving_pem, id->admin_pem}) {
        auto leaf = parse_certificate(pem);
        CHECK(leaf->not_before >= ca->not_before);
        CHECK(leaf->not_after <= ca->not_after);
      }
      CHECK(id->renew_at > believed);
      // A kubeconfig that was copied at first trusts the key for good, for as long as its own copy lasts.
      CHECK(id->ca_key_pem == first_key);
      auto old_ca = parse_certificate(first_ca);
      auto serving = parse_certificate(id->serving_pem);
      CHECK(verify_signed_by(*serving, *old_ca, {std::max(believed, serving->not_before), 0}));
      CHECK(ca->subject_der == old_ca->subject_der);
      // A client elsewhere whose clock is right all the time, from the first moment that was not later.
      if (old_ca->valid_at(now)) check_chain(id->serving_pem, first_ca, right);
      CHECK(read_file(options.kubeconfig_path, 65536).value() == id->kubeconfig);
      CHECK(ensure_identity(options, {{believed, 0}, {machine, 0}}, random)->changes.empty());
    }
    // After the authority has seen it all, leaves can only be made longer: the third round writes nothing.
    int written = 0;
    for (size_t i = 0; i < 2 * std::size(times); i++) {
      const int64_t machine = times[(first + i) % std::size(times)];
      auto id = ensure_identity(options, {{std::max(machine, right), 0}, {machine, 0}}, random);
      written += i >= std::size(times) && !id->changes.empty() ? 1 : 0;
    }
    CHECK(written == 0);
  }
}

TEST_CASE("the authority is renewed long before its end, with the same key and name") {
  SystemRandom random;
  TempDir dir;
  IdentityOptions options = options_in(dir);
  auto first = ensure_identity(options, now, random);
  REQUIRE(first);
  const int64_t renewal = authority_renewal(parse_certificate(first->ca_pem)->validity());
  CHECK(renewal < parse_certificate(first->ca_pem)->not_after - 3 * year);
  CHECK_FALSE(changes(*ensure_identity(options, WallTime{renewal - 1, 0}, random)).starts_with("ca"));
  auto renewed = ensure_identity(options, WallTime{renewal, 0}, random);
  REQUIRE_MESSAGE(renewed, renewed.error().message);
  CHECK(changes(*renewed).starts_with("ca: two thirds of its life are over"));
  CHECK(changes(*renewed).ends_with("admin kubeconfig: its credentials were renewed"));
  check_whole(*renewed, {renewal, 0});
  CHECK(parse_certificate(renewed->ca_pem)->not_after == renewal + ca_life_seconds);
  // Old copies and new ones trust each other's certificates.
  check_chain(renewed->serving_pem, first->ca_pem, renewal);
  check_chain(first->admin_pem, renewed->ca_pem, now.seconds);
  if (pki_test::have_openssl()) {
    const std::string at =
        " -attime " + std::to_string(renewal) + " -x509_strict -purpose sslserver -CAfile ";
    CHECK(shell("openssl verify" + at + dir.put("old", first->ca_pem) + " " +
                dir.put("leaf", renewed->serving_pem)));
    CHECK(shell("openssl verify" + at + dir.put("new", renewed->ca_pem) + " " + dir.file("leaf")));
  }
}

TEST_CASE("an authority that another one signed is not renewed, and leaves end with it") {
  SystemRandom random;
  TempDir dir;
  IdentityOptions options = options_in(dir);
  REQUIRE(make_directories(options.directory, 0700));
  pki_test::TestCa root(random);
  const PrivateKey key = PrivateKey::generate(random).value();
  // openssl makes what this room does not: an authority below another.
  if (!pki_test::have_openssl()) SKIP_TEST("needs openssl");
  dir.put("root.crt", root.authority.certificate_pem);
  dir.put("root.key", root.authority.key.to_pem().value());
  dir.put("ext",
          "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign,digitalSignature\n"
          "subjectKeyIdentifier=hash\n");
  dir.put("var/pki/ca.key", key.to_pem().value());
  REQUIRE(shell("cd " + dir.path +
                " && openssl req -new -key var/pki/ca.key -subj /CN=below -out csr && "
                "openssl x509 -req -in csr -CA root.crt -CAkey root.key -CAcreateserial -days 100 "
                "-extfile ext -out var/pki/ca.crt"));
  const std::string given = read_file(dir.file("var/pki/ca.crt"), 65536).value();
  const Validity validity = parse_certificate(given)->validity();
  const WallTime at{validity.not_before + 10, 0};
  auto id = ensure_identity(options, at, random);
  REQUIRE_MESSAGE(id, id.error().message);
  CHECK(id->ca_pem == given);
  CHECK(parse_certificate(id->serving_pem)->validity() == validity);
  // Near its end nothing better can be made: no writing again and again.
  CHECK(ensure_identity(options, WallTime{validity.not_after - 10, 0}, random)->changes.empty());
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
           Row{"node.key", "junk", "device certificate: key and certificate did not belong together", ""},
           Row{"node.crt", "junk", "device certificate: the file was damaged", ""},
           Row{"ca.crt", "junk", "", "ca.crt: no PEM block CERTIFICATE"},
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

TEST_CASE("where nothing can be written, a device that was started before goes on from memory") {
  if (geteuid() != 0) SKIP_TEST("needs root");
  SystemRandom random;
  for (const bool full : {true, false}) {
    CAPTURE(full);
    TempDir dir;
    IdentityOptions options = options_in(dir);
    REQUIRE(make_directories(dir.file("var"), 0700));
    if (mount("tmpfs", dir.file("var").c_str(), "tmpfs", 0, "size=256k,nr_inodes=64") != 0)
      SKIP_TEST("no tmpfs can be mounted here");
    struct Mounted {
      std::string path;
      ~Mounted() { umount2(path.c_str(), MNT_DETACH); }
    } mounted{dir.file("var")};
    const auto close_it = [&] {
      if (!full) {
        REQUIRE(mount(nullptr, mounted.path.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) == 0);
        return;
      }
      for (const size_t size : {4096u, 512u, 1u}) {
        for (int i = 0;
             write_file_atomic(dir.file(strf("var/filler-%zu-%d", size, i)), std::string(size, 'x'), 0600);)
          ++i;
      }
    };
    const auto open_it = [&] {
      if (!full) {
        REQUIRE(mount(nullptr, mounted.path.c_str(), nullptr, MS_REMOUNT, nullptr) == 0);
        return;
      }
      CHECK(shell("rm -f " + dir.file("var") + "/filler-*"));
    };
    // Without an authority there is nothing to go on with.
    REQUIRE(make_directories(options.directory, 0700));
    close_it();
    const auto refused = ensure_identity(options, now, random);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message.find(options.directory) != std::string::npos);
    open_it();
    auto first = ensure_identity(options, now, random);
    REQUIRE(first);
    CHECK(first->unwritten == "");
    close_it();
    CHECK(ensure_identity(options, now, random)->changes.empty());
    options.names.ips.push_back("192.0.2.9");
    const WallTime late{now.seconds + 20 * year, 0};
    for (const WallTime at : {now, late}) {
      auto held = ensure_identity(options, at, random);
      REQUIRE_MESSAGE(held, held.error().message);
      check_whole(*held, at);
      const std::string reason = full ? "No space left on device" : "Read-only file system";
      CHECK_MESSAGE(held->unwritten.find(reason) != std::string::npos, held->unwritten);
      const auto serving = parse_certificate(held->serving_pem);
      CHECK(serving->names.ips.size() == options.names.ips.size());
      CHECK(changes(*held).find("serving") == std::string::npos);
      CHECK(held->ca_key_pem == first->ca_key_pem);
    }
    open_it();
    auto written = ensure_identity(options, late, random);
    REQUIRE(written);
    CHECK(written->unwritten == "");
    check_whole(*written, late);
    CHECK(ensure_identity(options, late, random)->changes.empty());
  }
}

TEST_CASE("without the authority's key a device goes on with the certificates that there are") {
  SystemRandom random;
  for (const char* bytes : {"", "junk", "another"}) {
    CAPTURE(bytes);
    TempDir dir;
    IdentityOptions options = options_in(dir);
    auto first = ensure_identity(options, now, random);
    REQUIRE(first);
    const std::string key = options.directory + "/ca.key";
    const std::string other = PrivateKey::generate(random)->to_pem().value();
    REQUIRE(write_file_atomic(key, *bytes == 'a' ? other : bytes, 0600));
    // Of other names, due, and much later: what there is must do, and nothing is written over.
    options.names.ips.push_back("192.0.2.9");
    for (const WallTime at : {now, WallTime{first->renew_at, 0}, WallTime{now.seconds + 20 * year, 0}}) {
      auto id = ensure_identity(options, at, random);
      REQUIRE_MESSAGE(id, id.error().message);
      CHECK(changes(*id) == "");
      CHECK(id->serving_pem == first->serving_pem);
      CHECK(id->admin_key_pem == first->admin_key_pem);
      CHECK(id->damaged.find("ca.key") != std::string::npos);
      CHECK(id->damaged.find("restore ca.key and ca.crt from a backup") != std::string::npos);
    }
    REQUIRE(write_file_atomic(key, first->ca_key_pem, 0600));
    auto mended = ensure_identity(options, now, random);
    REQUIRE(mended);
    CHECK(mended->damaged == "");
    CHECK(changes(*mended) == "serving certificate: names changed");
    REQUIRE(write_file_atomic(key, bytes, 0600));
    // A device that never had a device certificate goes on without.
    CHECK(unlink((options.directory + "/node.crt").c_str()) == 0);
    auto alone = ensure_identity(options, now, random);
    REQUIRE_MESSAGE(alone, alone.error().message);
    CHECK(alone->peer_pem == "");
    CHECK(alone->serving_pem != "");
    REQUIRE(write_file_atomic(options.directory + "/serving.crt", "junk", 0600));
    auto refused = ensure_identity(options, now, random);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Errc::corrupt);
    CHECK(refused.error().message.find("ca.key") != std::string::npos);
    CHECK(refused.error().message.find("the serving certificate cannot be used: the file was damaged") !=
          std::string::npos);
  }
}

TEST_CASE("leaves that are good are made anew when somebody asks, the device key stays") {
  SystemRandom random;
  TempDir dir;
  IdentityOptions options = options_in(dir);
  auto first = ensure_identity(options, now, random);
  REQUIRE(first);
  options.anew = true;
  auto anew = ensure_identity(options, now, random);
  REQUIRE(anew);
  CHECK(changes(*anew) ==
        "serving certificate: it was asked for; admin certificate: it was asked for; device certificate: it "
        "was "
        "asked for; admin kubeconfig: its credentials were renewed");
  CHECK(anew->ca_pem == first->ca_pem);
  CHECK(anew->serving_key_pem != first->serving_key_pem);
  CHECK(anew->peer_pem != first->peer_pem);
  CHECK(anew->peer_key_pem == first->peer_key_pem);
  options.anew = false;
  CHECK(ensure_identity(options, now, random)->changes.empty());
  // Without the authority's key there is no other one to have.
  CHECK(unlink((options.directory + "/ca.key").c_str()) == 0);
  options.anew = true;
  auto keyless = ensure_identity(options, now, random);
  REQUIRE(keyless);
  CHECK(keyless->changes.empty());
  CHECK(keyless->serving_pem == anew->serving_pem);
  CHECK(keyless->damaged != "");
}

TEST_CASE("the device certificate follows the name of the device and keeps its key") {
  SystemRandom random;
  TempDir dir;
  IdentityOptions options = options_in(dir);
  auto first = ensure_identity(options, now, random);
  REQUIRE(first);
  options.node_name = "device-2";
  auto renamed = ensure_identity(options, now, random);
  REQUIRE(renamed);
  CHECK(changes(*renamed) == "device certificate: names changed");
  CHECK(device_of(parse_certificate(renamed->peer_pem).value()).value() == DeviceId{"device-2", true});
  CHECK(renamed->peer_key_pem == first->peer_key_pem);
  // Good for both sides of a connection.
  if (pki_test::have_openssl()) {
    const std::string leaf = dir.put("leaf", renamed->peer_pem), ca = dir.put("ca", renamed->ca_pem);
    const std::string at = " -attime " + std::to_string(now.seconds) + " -x509_strict -CAfile " + ca;
    for (const std::string purpose : {"sslclient", "sslserver -verify_hostname device-2.servers.limpet"}) {
      CHECK(shell("openssl verify -purpose " + purpose + at + " " + leaf));
    }
  }
  for (const char* bad : {"", "Device", "a..b"}) {
    options.node_name = bad;
    auto refused = ensure_identity(options, now, random);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Errc::invalid_argument);
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
  for (const char* place : {"pki.ca_key.write", "pki.ca.write", "pki.sa_key.write", "pki.serving_key.write",
                            "pki.serving.write", "pki.admin_key.write", "pki.admin.write",
                            "pki.device_key.write", "pki.device.write", "pki.kubeconfig.write"}) {
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
  CHECK(cuts == 60);
}

TEST_CASE("a renewal cut anywhere goes on at the next start, the authority's key staying what it was") {
  SystemRandom random;
  int cuts = 0;
  for (const char* place :
       {"pki.ca_renew.write", "pki.serving_key.write", "pki.serving.write", "pki.admin_key.write",
        "pki.admin.write", "pki.device.write", "pki.kubeconfig.write"}) {
    for (const char* step : {"", ".rename", ".synced"}) {
      const std::string name = std::string(place) + step;
      CAPTURE(name);
      TempDir dir;
      IdentityOptions options = options_in(dir);
      auto first = ensure_identity(options, now, random);
      REQUIRE(first);
      const WallTime later{now.seconds + 20 * year, 0};
      failpoint::arm(name + "=error");
      cuts += ensure_identity(options, later, random) ? 0 : 1;
      failpoint::arm("");
      // Whichever clock the next start has.
      for (const WallTime at : {now, later}) {
        auto next = ensure_identity(options, at, random);
        REQUIRE_MESSAGE(next, next.error().message);
        check_whole(*next, at);
        CHECK(next->ca_key_pem == first->ca_key_pem);
        CHECK(next->peer_key_pem == first->peer_key_pem);
        CHECK(read_file(options.kubeconfig_path, 65536).value() == next->kubeconfig);
      }
    }
  }
  CHECK(cuts == 21);
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
