#include "pki/install.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "base/bytes.h"
#include "base/failpoint.h"
#include "base/tree.h"
#include "pki/device.h"
#include "pki/identity.h"
#include "support.h"

using namespace limpet;
using namespace limpet::pki;
using limpet::pki_test::now;
using limpet::pki_test::TempDir;
using limpet::pki_test::TestCa;

namespace {

// A cluster that lets devices join: what a server does with a request, in short.
struct Cluster {
  SystemRandom random;
  TestCa ca{random};
  std::string sa_key = PrivateKey::generate(random)->to_pem().value();

  std::string certificate(const PrivateKey& key, const DeviceId& id, int64_t life = leaf_life_seconds) {
    return issue(ca.authority, key.spki(), device_subject(id), device_names(id), Use::peer,
                 valid_from(now, life), random)
        .value();
  }
  std::string named(const PrivateKey& key, const DeviceId& id, const Names& names) {
    return issue(ca.authority, key.spki(), device_subject(id), names, Use::client,
                 valid_from(now, leaf_life_seconds), random)
        .value();
  }
  Joined joined(const PrivateKey& key, const DeviceId& id) {
    Joined out{ca.authority.certificate_pem, "", "", certificate(key, id)};
    if (id.server) {
      out.ca_key_pem = ca.authority.key.to_pem().value();
      out.service_account_key_pem = sa_key;
    }
    return out;
  }
};

IdentityOptions options_for(const std::string& directory, const DeviceId& id) {
  IdentityOptions o;
  o.directory = directory;
  o.node_name = id.name;
  o.agent = !id.server;
  o.names = {{id.name}, {"127.0.0.1"}};
  return o;
}

std::string files_in(const std::string& directory) {
  std::string out;
  for (const std::string& name : list_directory(directory)) out += (out.empty() ? "" : " ") + name;
  return out;
}

std::string file(const std::string& directory, const char* name) {
  return read_file(directory + "/" + name, 65536).value();
}

const DeviceId server{"edge-7", true}, agent{"edge-7", false};

}  // namespace

TEST_CASE("what a join brought becomes the identity of the device") {
  for (const DeviceId& id : {server, agent}) {
    CAPTURE(id.server);
    Cluster cluster;
    TempDir dir;
    const std::string pki = dir.file("pki");
    // Asked twice before there is an answer: it is the same device.
    const std::string spki = joining_key(pki, cluster.random)->spki();
    const PrivateKey key = joining_key(pki, cluster.random).value();
    CHECK(key.spki() == spki);
    CHECK(files_in(dir.path) == "pki.joining");
    const Joined joined = cluster.joined(key, id);
    auto done = install_joined(pki, joined, cluster.random);
    REQUIRE_MESSAGE(done, done.error().message);
    CHECK(files_in(dir.path) == "pki");
    CHECK(files_in(pki) ==
          (id.server ? "ca.crt ca.key node.crt node.key sa.key" : "ca.crt node.crt node.key"));
    struct stat st;
    REQUIRE(stat(pki.c_str(), &st) == 0);
    CHECK((st.st_mode & 07777) == 0700);
    REQUIRE(stat((pki + "/node.key").c_str(), &st) == 0);
    CHECK((st.st_mode & 07777) == 0600);

    auto identity = ensure_identity(options_for(pki, id), now, cluster.random);
    REQUIRE_MESSAGE(identity, identity.error().message);
    CHECK(identity->ca_pem == joined.ca_pem);
    CHECK(identity->peer_pem == joined.device_pem);
    CHECK(identity->damaged == "");
    CHECK(identity->service_account_key_pem == joined.service_account_key_pem);
    if (id.server) {
      CHECK(verify_signed_by(parse_certificate(identity->serving_pem).value(),
                             parse_certificate(joined.ca_pem).value(), now));
    } else {
      CHECK(identity->changes.empty());
      CHECK(identity->ca_key_pem == "");
      CHECK(identity->due == "");
      CHECK(identity->renew_at > now.seconds);
      CHECK(files_in(pki) == "ca.crt node.crt node.key");
    }
    // It joins again, its store lost: the key that it has, and another certificate.
    const PrivateKey again = joining_key(pki, cluster.random).value();
    CHECK(again.spki() == spki);
    CHECK(files_in(dir.path) == "pki");
    const Joined second = cluster.joined(again, id);
    REQUIRE(install_joined(pki, second, cluster.random));
    CHECK(file(pki, "node.crt") == second.device_pem);
  }
}

TEST_CASE("what does not belong to this device and cluster is refused before anything is written") {
  Cluster cluster, other;
  struct Row {
    const char* what;
    std::function<void(Joined&, const PrivateKey&)> bend;
    Errc code;
    const char* error;
  };
  const Row rows[] = {
      {"no authority", [](Joined& j, auto&) { j.ca_pem = "junk"; }, Errc::invalid_argument, "no PEM block"},
      {"a leaf as authority", [](Joined& j, auto&) { j.ca_pem += j.device_pem; }, Errc::invalid_argument,
       "is not an authority's"},
      {"another authority", [&](Joined& j, auto&) { j.ca_pem = other.ca.authority.certificate_pem; },
       Errc::invalid_argument, "the authority's key is not that of its certificate"},
      {"another authority's key",
       [&](Joined& j, auto&) { j.ca_key_pem = other.ca.authority.key.to_pem().value(); },
       Errc::invalid_argument, "the authority's key is not that of its certificate"},
      {"a junk key", [](Joined& j, auto&) { j.ca_key_pem = "junk"; }, Errc::invalid_argument,
       "the authority's key"},
      {"a junk certificate", [](Joined& j, auto&) { j.device_pem = "junk"; }, Errc::invalid_argument,
       "the device certificate"},
      {"a certificate of another cluster",
       [&](Joined& j, const PrivateKey& key) { j.device_pem = other.certificate(key, server); },
       Errc::invalid_argument, "of another authority"},
      {"a certificate for another key",
       [&](Joined& j, auto&) {
         j.device_pem = cluster.certificate(PrivateKey::generate(cluster.random).value(), server);
       },
       Errc::invalid_argument, "for another key than this device's"},
      {"no device's certificate",
       [&](Joined& j, const PrivateKey& key) {
         j.device_pem = issue(cluster.ca.authority, key.spki(), {"limpet-admin", {"system:masters"}}, {},
                              Use::client, valid_from(now, leaf_life_seconds), cluster.random)
                            .value();
       },
       Errc::invalid_argument, "is not a device certificate"},
      {"keys for an agent",
       [&](Joined& j, const PrivateKey& key) { j.device_pem = cluster.certificate(key, agent); },
       Errc::invalid_argument, "an agent gets no keys"},
      {"a server without a key", [](Joined& j, auto&) { j.service_account_key_pem = ""; },
       Errc::invalid_argument, "a server gets the cluster's keys, and one is missing"},
      {"a junk service account key", [](Joined& j, auto&) { j.service_account_key_pem = "junk"; },
       Errc::invalid_argument, "the service account key"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    TempDir dir;
    const std::string pki = dir.file("pki");
    const PrivateKey key = joining_key(pki, cluster.random).value();
    Joined joined = cluster.joined(key, server);
    row.bend(joined, key);
    auto refused = install_joined(pki, joined, cluster.random);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == row.code);
    CHECK_MESSAGE(refused.error().message.find(row.error) != std::string::npos, refused.error().message);
    CHECK(files_in(dir.path) == "pki.joining");
    CHECK(files_in(dir.file("pki.joining")) == "node.key");
  }
}

TEST_CASE("a device of another cluster keeps what it is") {
  Cluster cluster;
  TempDir dir;
  const std::string pki = dir.file("pki");
  REQUIRE(ensure_identity(options_for(pki, server), now, cluster.random));
  const std::string ca = file(pki, "ca.crt"), crt = file(pki, "node.crt");
  const PrivateKey key = joining_key(pki, cluster.random).value();
  auto refused = install_joined(pki, cluster.joined(key, server), cluster.random);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::conflict);
  CHECK(refused.error().message.find("belongs to another cluster (limpet-ca-") != std::string::npos);
  CHECK(file(pki, "ca.crt") == ca);
  CHECK(file(pki, "node.crt") == crt);
  CHECK_FALSE(install_authority(pki, cluster.ca.authority.certificate_pem, "", cluster.random));
  CHECK(file(pki, "ca.crt") == ca);

  // Something else in the place, without an authority.
  TempDir half;
  REQUIRE(make_directories(half.file("pki"), 0700));
  half.put("pki/ca.key", "x");
  const PrivateKey other = joining_key(half.file("pki"), cluster.random).value();
  auto occupied = install_joined(half.file("pki"), cluster.joined(other, agent), cluster.random);
  REQUIRE_FALSE(occupied);
  CHECK(occupied.error().code == Errc::conflict);
  CHECK(files_in(half.file("pki")) == "ca.key");
  CHECK(unlink(half.file("pki/ca.key").c_str()) == 0);
  CHECK(install_joined(half.file("pki"), cluster.joined(other, agent), cluster.random));
}

TEST_CASE("an agent says what is wrong with what it has, and when a server is to renew it") {
  Cluster cluster, other;
  TempDir dir;
  const std::string pki = dir.file("pki");
  const IdentityOptions options = options_for(pki, agent);
  auto missing = ensure_identity(options, now, cluster.random);
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code == Errc::not_found);
  CHECK(missing.error().message.find("limpet join") != std::string::npos);
  CHECK(files_in(dir.path) == "");

  const PrivateKey key = joining_key(pki, cluster.random).value();
  REQUIRE(install_joined(pki, cluster.joined(key, agent), cluster.random));
  const auto have = ensure_identity(options, now, cluster.random);
  REQUIRE(have);
  const auto later = ensure_identity(options, WallTime{have->renew_at, 0}, cluster.random);
  REQUIRE(later);
  CHECK(later->due == "two thirds of its life are over");
  CHECK(later->damaged == "");
  const auto expired =
      ensure_identity(options, WallTime{have->renew_at + 364 * day_seconds, 0}, cluster.random);
  REQUIRE(expired);
  CHECK(expired->due == "expired");

  struct Row {
    const char *file, *bytes;
    Errc code;
    const char* error;
  };
  const std::string foreign = other.certificate(key, agent), as_server = cluster.certificate(key, server),
                    another = cluster.certificate(key, {"edge-8", false}),
                    stranger = PrivateKey::generate(cluster.random)->to_pem().value();
  for (const Row& row : {
           Row{"ca.crt", "junk", Errc::corrupt, "ca.crt"},
           Row{"node.crt", "junk", Errc::corrupt, "node.crt"},
           Row{"node.key", "junk", Errc::corrupt, "do not belong together"},
           Row{"node.key", stranger.c_str(), Errc::corrupt, "do not belong together"},
           Row{"node.key", "", Errc::not_found, "lacks"},
           Row{"node.crt", foreign.c_str(), Errc::corrupt, "issued by none of the authorities"},
           Row{"node.crt", as_server.c_str(), Errc::invalid_argument, "joined as the server edge-7"},
           Row{"node.crt", another.c_str(), Errc::invalid_argument, "joined as the agent edge-8"},
       }) {
    CAPTURE(row.error);
    const std::string before = file(pki, row.file);
    REQUIRE(write_file_atomic(pki + "/" + row.file, row.bytes, 0600));
    auto refused = ensure_identity(options, now, cluster.random);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == row.code);
    CHECK_MESSAGE(refused.error().message.find(row.error) != std::string::npos, refused.error().message);
    REQUIRE(write_file_atomic(pki + "/" + row.file, before, 0600));
  }
}

TEST_CASE("a renewed certificate of an agent is taken for the same key and device only") {
  Cluster cluster, other;
  TempDir dir;
  const std::string pki = dir.file("pki");
  const PrivateKey key = joining_key(pki, cluster.random).value();
  const PrivateKey stranger = PrivateKey::generate(cluster.random).value();
  REQUIRE(install_joined(pki, cluster.joined(key, agent), cluster.random));
  const std::string before = file(pki, "node.crt"), ca = cluster.ca.authority.certificate_pem;
  const std::string foreign = other.ca.authority.certificate_pem;
  struct Row {
    const char* what;
    std::string ca_pem, device_pem;
    Errc code;
  };
  for (const Row& row : {
           Row{"junk", ca, "junk", Errc::invalid_argument},
           Row{"of another authority", ca, other.certificate(key, agent), Errc::invalid_argument},
           Row{"another key", ca, cluster.certificate(stranger, agent), Errc::invalid_argument},
           Row{"a server's", ca, cluster.certificate(key, server), Errc::invalid_argument},
           Row{"another device", ca, cluster.certificate(key, {"edge-8", false}), Errc::invalid_argument},
           Row{"a name of another", ca, cluster.named(key, agent, {{"edge-7", "edge-1"}, {}}),
               Errc::invalid_argument},
           Row{"an address", ca, cluster.named(key, agent, {{}, {"192.0.2.1"}}), Errc::invalid_argument},
           Row{"no authority", "", "", Errc::invalid_argument},
           Row{"no authority's", cluster.certificate(key, agent), "", Errc::invalid_argument},
           Row{"another cluster", foreign, other.certificate(key, agent), Errc::conflict},
           Row{"one that did not issue what is there", foreign, "", Errc::conflict},
       }) {
    CAPTURE(row.what);
    auto refused = install_renewed(pki, row.ca_pem, row.device_pem, cluster.random);
    REQUIRE_FALSE(refused);
    CHECK_MESSAGE(refused.error().code == row.code, refused.error().message);
    CHECK(file(pki, "node.crt") == before);
    CHECK(file(pki, "ca.crt") == ca);
  }
  const std::string good = cluster.certificate(key, agent, 2 * leaf_life_seconds);
  REQUIRE(install_renewed(pki, ca, good, cluster.random));
  CHECK(ensure_identity(options_for(pki, agent), now, cluster.random)->peer_pem == good);
  TempDir empty;
  CHECK(install_renewed(empty.path, ca, good, cluster.random).error().code == Errc::not_found);
}

TEST_CASE(
    "the certificate of an agent is renewed whether the old or the new one has its name as a DNS name") {
  for (const bool old_has : {false, true}) {
    for (const bool new_has : {false, true}) {
      CAPTURE(old_has);
      CAPTURE(new_has);
      Cluster cluster;
      TempDir dir;
      const std::string pki = dir.file("pki");
      const PrivateKey key = joining_key(pki, cluster.random).value();
      const auto names = [](bool has) { return has ? Names{{"edge-7"}, {}} : Names{}; };
      Joined joined = cluster.joined(key, agent);
      joined.device_pem = cluster.named(key, agent, names(old_has));
      REQUIRE(install_joined(pki, joined, cluster.random));
      const std::string pem = cluster.named(key, agent, names(new_has));
      const auto done = install_renewed(pki, joined.ca_pem, pem, cluster.random);
      REQUIRE_MESSAGE(done, done.error().message);
      CHECK(ensure_identity(options_for(pki, agent), now, cluster.random)->peer_pem == pem);
    }
  }
}

TEST_CASE("a device that joins anew goes on with the key that it had") {
  Cluster cluster;
  TempDir dir;
  const std::string pki = dir.file("pki"), again = dir.file("join/pki");
  const PrivateKey key = joining_key(pki, cluster.random).value();
  REQUIRE(install_joined(pki, cluster.joined(key, agent), cluster.random));
  CHECK(joining_key(again, cluster.random, pki)->spki() == key.spki());
  CHECK(joining_key(again, cluster.random)->spki() == key.spki());  // it is that of the attempt from now on
  CHECK(joining_key(dir.file("other/pki"), cluster.random)->spki() != key.spki());
  // None that can be read: another one.
  REQUIRE(write_file_atomic(pki + "/node.key", "junk", 0600));
  CHECK(joining_key(dir.file("third/pki"), cluster.random, pki)->spki() != key.spki());
  CHECK(joining_key(dir.file("fourth/pki"), cluster.random, dir.file("nothing"))->spki() != key.spki());
}

namespace {

// The three steps of replacing one authority by another, as a server and an agent see them.
struct Replacement {
  Cluster old_cluster, new_cluster;
  std::string old_ca = old_cluster.ca.authority.certificate_pem,
              new_ca = new_cluster.ca.authority.certificate_pem;
  std::string old_key = old_cluster.ca.authority.key.to_pem().value();
  std::string new_key = new_cluster.ca.authority.key.to_pem().value();
  struct Step {
    std::string ca_pem, key;
    const char* signer;
  };
  std::vector<Step> steps = {
      {old_ca + new_ca, old_key, "old"}, {new_ca + old_ca, new_key, "new"}, {new_ca, new_key, "new"}};

  void join(const std::string& pki, const DeviceId& id) {
    const PrivateKey key = joining_key(pki, old_cluster.random).value();
    REQUIRE(install_joined(pki, old_cluster.joined(key, id), old_cluster.random));
  }
  std::string issuer(const std::string& pem) {
    const Certificate leaf = parse_certificate(pem).value();
    const bool by_old = verify_signed_by(leaf, parse_certificate(old_ca).value(), now).has_value();
    const bool by_new = verify_signed_by(leaf, parse_certificate(new_ca).value(), now).has_value();
    REQUIRE(by_old != by_new);
    return by_old ? "old" : "new";
  }
};

}  // namespace

TEST_CASE("a server passes from one authority to the next, with both trusted meanwhile") {
  Replacement r;
  TempDir dir;
  const std::string pki = dir.file("pki");
  SystemRandom random;
  r.join(pki, server);
  const IdentityOptions options = options_for(pki, server);
  auto first = ensure_identity(options, now, random);
  REQUIRE(first);
  const char* changes[] = {"0", "3", "0"};
  for (size_t i = 0; i < r.steps.size(); i++) {
    CAPTURE(i);
    auto changed = install_authority(pki, r.steps[i].ca_pem, r.steps[i].key, random);
    REQUIRE_MESSAGE(changed, changed.error().message);
    CHECK(*changed);
    CHECK_FALSE(install_authority(pki, r.steps[i].ca_pem, r.steps[i].key, random).value());
    auto id = ensure_identity(options, now, random);
    REQUIRE_MESSAGE(id, id.error().message);
    CHECK(id->ca_pem == r.steps[i].ca_pem);
    for (const std::string& pem : {id->serving_pem, id->admin_pem, id->peer_pem})
      CHECK(r.issuer(pem) == r.steps[i].signer);
    CHECK(parse_certificate(parse_bundle(id->serving_pem)->at(1).der)->spki ==
          parse_certificate(id->ca_pem)->spki);
    CHECK(std::to_string(id->changes.size()) == changes[i]);
    CHECK(id->peer_key_pem == first->peer_key_pem);
    // Each is renewed by itself; the other stays trusted.
    const WallTime late{authority_renewal(parse_certificate(id->ca_pem)->validity()), 0};
    TempDir copy;
    REQUIRE(pki_test::shell("cp -a " + pki + " " + copy.path));
    IdentityOptions in_copy = options;
    in_copy.directory = copy.file("pki");
    auto renewed = ensure_identity(in_copy, late, random);
    REQUIRE(renewed);
    CHECK(parse_bundle(renewed->ca_pem)->size() == parse_bundle(id->ca_pem)->size());
    CHECK(parse_certificate(renewed->ca_pem)->not_after > parse_certificate(id->ca_pem)->not_after);
    // What the cluster holds is older than what was renewed here: the longer one stays.
    CHECK_FALSE(install_authority(in_copy.directory, r.steps[i].ca_pem, r.steps[i].key, random).value());
  }
  CHECK_FALSE(install_authority(pki, r.new_ca, r.old_key, random));
  CHECK_FALSE(install_authority(pki, r.old_ca, r.old_key, random));
  CHECK(install_service_account_key(pki, r.new_cluster.sa_key, random).value());
  CHECK_FALSE(install_service_account_key(pki, r.new_cluster.sa_key, random).value());
  CHECK_FALSE(install_service_account_key(pki, "junk", random));
  CHECK(ensure_identity(options, now, random)->service_account_key_pem == r.new_cluster.sa_key);
}

TEST_CASE("an agent passes from one authority to the next") {
  Replacement r;
  TempDir dir;
  const std::string pki = dir.file("pki");
  SystemRandom random;
  r.join(pki, agent);
  const IdentityOptions options = options_for(pki, agent);
  const char* due[] = {"", "issued by another authority"};
  for (size_t i = 0; i < 2; i++) {
    REQUIRE(install_renewed(pki, r.steps[i].ca_pem, "", random));
    auto id = ensure_identity(options, now, random);
    REQUIRE_MESSAGE(id, id.error().message);
    CHECK(id->due == due[i]);
    CHECK(id->ca_pem == r.steps[i].ca_pem);
  }
  // As long as its certificate is of the old one, that one stays.
  CHECK(install_renewed(pki, r.new_ca, "", random).error().code == Errc::invalid_argument);
  CHECK(file(pki, "ca.crt") == r.new_ca + r.old_ca);
  const PrivateKey key = joining_key(pki, random).value();
  REQUIRE(install_renewed(pki, r.new_ca + r.old_ca, r.new_cluster.certificate(key, agent), random));
  CHECK(file(pki, "ca.crt") == r.new_ca + r.old_ca);
  REQUIRE(install_renewed(pki, r.new_ca, "", random));
  auto id = ensure_identity(options, now, random);
  REQUIRE(id);
  CHECK(id->due == "");
  CHECK(files_in(pki) == "ca.crt node.crt node.key");
}

#ifdef LIMPET_FAILPOINTS
namespace {

// Runs it in a child that is cut at the place; true when it was.
template <class F>
bool cut(const std::string& place, const char* action, const F& f) {
  const pid_t child = fork();
  if (child == 0) {
    failpoint::arm(place + "=" + action);
    _exit(f() ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return std::string(action) == "kill" ? WIFSIGNALED(status) : WEXITSTATUS(status) == 1;
}

}  // namespace

TEST_CASE("a join cut anywhere goes on when it is tried again") {
  int cuts = 0;
  std::vector<std::string> places = {"pki.join.rename", "pki.join.synced"};
  for (const char* place : {"pki.join_key.write", "pki.join_ca.write", "pki.join_ca_key.write",
                            "pki.join_sa_key.write", "pki.join_device.write"}) {
    for (const char* step : {"", ".rename", ".synced"}) places.push_back(std::string(place) + step);
  }
  for (const std::string& place : places) {
    for (const char* action : {"error", "kill"}) {
      CAPTURE(place);
      Cluster cluster;
      TempDir dir;
      const std::string pki = dir.file("pki");
      const auto join = [&] {
        auto key = joining_key(pki, cluster.random);
        return key && install_joined(pki, cluster.joined(*key, server), cluster.random);
      };
      cuts += cut(place, action, join) ? 1 : 0;
      CHECK(join());
      CHECK(files_in(dir.path) == "pki");
      auto id = ensure_identity(options_for(pki, server), now, cluster.random);
      REQUIRE_MESSAGE(id, id.error().message);
      CHECK(id->ca_pem == cluster.ca.authority.certificate_pem);
    }
  }
  CHECK(cuts == 34);
}

TEST_CASE("a change of the authority cut anywhere leaves a device that signs, and goes on") {
  int cuts = 0;
  for (const char* place : {"pki.install_both.write", "pki.install_ca_key.write", "pki.install_ca.write"}) {
    for (const char* step : {"", ".rename", ".synced"}) {
      for (const char* action : {"error", "kill"}) {
        CAPTURE(place);
        Replacement r;
        TempDir dir;
        SystemRandom random;
        const std::string pki = dir.file("pki");
        r.join(pki, server);
        // All at once: a device that was away meanwhile.
        const auto change = [&] {
          return install_authority(pki, r.new_ca + r.old_ca, r.new_key, random).has_value();
        };
        const auto last = [&] { return install_authority(pki, r.new_ca, r.new_key, random).has_value(); };
        const bool both = std::string(place) != "pki.install_ca.write";
        if (!both) REQUIRE(change());
        cuts += cut(std::string(place) + step, action, [&] { return both ? change() : last(); }) ? 1 : 0;
        auto id = ensure_identity(options_for(pki, server), now, random);
        REQUIRE_MESSAGE(id, id.error().message);
        CHECK(id->damaged == "");
        CHECK(change());
        CHECK(last());
        auto then = ensure_identity(options_for(pki, server), now, random);
        REQUIRE(then);
        CHECK(then->ca_pem == r.new_ca);
        CHECK(r.issuer(then->peer_pem) == "new");
      }
    }
  }
  CHECK(cuts == 18);
}

TEST_CASE("what is issued to an agent cut anywhere leaves one that is in, and goes on") {
  int cuts = 0;
  for (const char* place : {"pki.install_both.write", "pki.install_device.write", "pki.install_ca.write"}) {
    for (const char* step : {"", ".rename", ".synced"}) {
      for (const char* action : {"error", "kill"}) {
        CAPTURE(place);
        Replacement r;
        TempDir dir;
        SystemRandom random;
        const std::string pki = dir.file("pki");
        r.join(pki, agent);
        const PrivateKey key = joining_key(pki, random).value();
        const std::string pem = r.new_cluster.certificate(key, agent);
        // All at once: both trusted, then a certificate with which the old authority goes.
        const auto change = [&] {
          return install_renewed(pki, r.new_ca + r.old_ca, "", random) &&
                 install_renewed(pki, r.new_ca, pem, random);
        };
        if (std::string(place) != "pki.install_both.write") {
          cuts += cut(std::string(place) + step, action, change) ? 1 : 0;
        } else {
          const auto first = [&] {
            return install_renewed(pki, r.new_ca + r.old_ca, pem, random).has_value();
          };
          cuts += cut(std::string(place) + step, action, first) ? 1 : 0;
        }
        auto id = ensure_identity(options_for(pki, agent), now, random);
        REQUIRE_MESSAGE(id, id.error().message);
        CHECK(change());
        auto then = ensure_identity(options_for(pki, agent), now, random);
        REQUIRE(then);
        CHECK(then->ca_pem == r.new_ca);
        CHECK(r.issuer(then->peer_pem) == "new");
        CHECK(then->due == "");
      }
    }
  }
  CHECK(cuts == 18);
}
#endif
