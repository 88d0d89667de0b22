#include "cluster/join.h"

#include <doctest/doctest.h>

#include <functional>

#include "../skip.h"
#include "base/atomic_file.h"
#include "base/tree.h"
#include "support.h"

using namespace limpet;
using namespace limpet::cluster;
using limpet::cluster_test::error_of;
using limpet::cluster_test::now;

namespace {

// A cluster of two servers, and a device at its door.
struct World {
  SystemRandom random;
  pki::Authority ca = cluster_test::make_authority("limpet-ca-here", random);
  pki::PrivateKey key = pki::PrivateKey::generate(random).value();
  Token token{cluster_test::hash_of(ca), "abc123", "0123456789abcdef"};
  json::Value secret = token_secret(token, {Role::server, now.seconds + 60, 1, ""});
  Cluster cluster;
  JoinRequest request;
  std::optional<Device> holder;
  std::optional<DeniedKey> denied;
  pki::Moment moment{now};

  World() {
    cluster.id = std::string("\0\1\2\3\4\5\6\7\x80\x90\xa0\xb0\xc0\xd0\xe0\xff", 16);
    cluster.self = "one";
    cluster.domain = "cluster.local";
    cluster.version = "0.3.0";
    cluster.authority = &ca;
    cluster.ca_pem = ca.certificate_pem;
    cluster.keys = {ca.key.to_pem().value(), pki::PrivateKey::generate(random)->to_pem().value(),
                    make_data_key(4, random)};
    cluster.servers = {device("one", 1), device("two", 2)};
    // Whatever it asks for: the cluster decides.
    request = {"edge-7",           Role::server, csr({"limpet-admin", {"system:masters"}}), "0.3.1", 7,
               {"192.0.2.7:6444"}, 6443};
  }
  std::string csr(const pki::Subject& subject) {
    return pki::make_request(key, subject, {{"kubernetes"}, {"10.43.0.1"}}, random).value();
  }
  Device device(const std::string& name, raft::MemberId member) {
    Device out;
    out.name = name;
    out.role = member == 0 ? Role::agent : Role::server;
    out.member = member;
    out.addresses = {"192.0.2." + std::to_string(member) + ":6444"};
    out.joined_at = now.seconds - 86'400;
    out.spki = pki::PrivateKey::generate(random)->spki();
    return out;
  }
  Result<Admission> admit() {
    CHECK_OK(check_bearer(request, token, secret.ref(), cluster.ca_pem, moment.believed));
    TRY(std::string spki, requested_key(request.csr_pem));
    return cluster::admit(request, token, {std::move(spki), secret.ref(), holder, denied}, cluster, moment,
                          random);
  }
};

}  // namespace

TEST_CASE("a server gets a certificate, the roll and the keys; an agent no keys") {
  for (const Role role : {Role::server, Role::agent}) {
    World w;
    w.request.role = role;
    if (role == Role::agent) {
      w.request.member = 0;
      w.secret = token_secret(w.token, {Role::agent, 0, 1, ""});
    }
    const Result<Admission> admitted = w.admit();
    REQUIRE_MESSAGE(admitted, admitted.error().message);
    const pki::Certificate leaf = pki::parse_certificate(admitted->answer.certificate_pem).value();
    const pki::DeviceId id{"edge-7", role == Role::server};
    CHECK(leaf.subject == pki::device_subject(id));
    CHECK(leaf.names.dns == pki::device_names(id).dns);
    CHECK(leaf.names.ips.empty());
    CHECK(leaf.spki == w.key.spki());
    const pki::Certificate ca = pki::parse_certificate(w.ca.certificate_pem).value();
    CHECK(pki::verify_signed_by(leaf, ca, now));
    CHECK(leaf.not_before == ca.not_before);
    CHECK(leaf.not_after == now.seconds + pki::leaf_life_seconds);
    CHECK(admitted->takes_use);
    CHECK(admitted->replaces == 0);
    CHECK(admitted->device.name == "edge-7");
    CHECK(admitted->device.role == role);
    CHECK(admitted->device.member == w.request.member);
    CHECK(admitted->device.joined_at == now.seconds);
    CHECK(admitted->device.spki == w.key.spki());
    CHECK(admitted->device.addresses == w.request.addresses);
    CHECK(decode_device(encode(admitted->device)));

    const Result<JoinAnswer> answer = decode_join_answer(encode(admitted->answer));
    REQUIRE_MESSAGE(answer, answer.error().message);
    CHECK(answer->cluster_id == w.cluster.id);
    CHECK(answer->ca_pem == w.cluster.ca_pem);
    CHECK(answer->certificate_pem == admitted->answer.certificate_pem);
    REQUIRE(answer->servers.size() == 2);
    CHECK(answer->servers[1].name == "two");
    CHECK(answer->servers[1].member == 2);
    CHECK(answer->servers[1].addresses == w.cluster.servers[1].addresses);
    REQUIRE(answer->keys.has_value() == (role == Role::server));
    if (role != Role::server) continue;
    CHECK(answer->keys->ca_key_pem == w.cluster.keys.ca_key_pem);
    CHECK(answer->keys->service_account_key_pem == w.cluster.keys.service_account_key_pem);
    CHECK(answer->keys->data_key.generation == 4);
    CHECK(answer->keys->data_key.key == w.cluster.keys.data_key.key);
  }
}

TEST_CASE("who is not let in, and why") {
  struct Row {
    const char* what;
    std::function<void(World&)> bend;
    const char* error;
  };
  const Row rows[] = {
      {"the name of another device", [](World& w) { w.holder = w.device("edge-7", 9); },
       "already_exists: the name edge-7 is held by a server at 192.0.2.9:6444 that joined at "
       "2026-05-27T20:26:40Z: give "
       "this device another nodeName, or remove that one (limpet node remove edge-7)"},
      {"the name of an agent",
       [](World& w) {
         w.holder = w.device("edge-7", 0);
         w.holder->addresses.clear();
       },
       "already_exists: the name edge-7 is held by an agent that joined at 2026-05-27T20:26:40Z: give this "
       "device another "
       "nodeName, or remove that one (limpet node remove edge-7)"},
      {"the same device in another role",
       [](World& w) {
         w.holder = w.device("edge-7", 0);
         w.holder->spki = w.key.spki();
         w.holder->addresses.clear();
       },
       "already_exists: the name edge-7 is held by an agent that joined at 2026-05-27T20:26:40Z: give this "
       "device another "
       "nodeName, or remove that one (limpet node remove edge-7)"},
      {"without a token nothing is heard of names",
       [](World& w) {
         w.holder = w.device("edge-7", 9);
         w.token.secret = "0123456789abcdeg";
       },
       "unauthenticated: the join token abc123 is not known here: it has expired, was removed, or was not "
       "copied whole"},
      {"a key that was revoked",
       [](World& w) {
         w.holder = w.device("edge-7", 9);
         w.holder->spki = w.key.spki();
         w.holder->state = DeviceState::revoked;
       },
       "permission_denied: the key of this device was revoked, as that of edge-7: remove its identity "
       "(limpet reset) before it joins again"},
      {"a key that was revoked, under another name",
       [](World& w) {
         w.denied =
             decode_denied(R"({"name":"edge-3","at":"2026-05-27T20:26:40Z","state":"revoked"})").value();
       },
       "permission_denied: the key of this device was revoked, as that of edge-3: remove its identity "
       "(limpet reset) before it joins again"},
      {"a key that was revoked, of the device that has the name",
       [](World& w) {
         w.holder = w.device("edge-7", 9);
         w.holder->spki = w.key.spki();
         w.denied = DeniedKey{"edge-3", true};
       },
       "permission_denied: the key of this device was revoked, as that of edge-3"},
      {"a copy of the server that decides",
       [](World& w) {
         w.request.name = "one";
         w.holder = w.cluster.servers[0];
         w.holder->spki = w.key.spki();
       },
       "already_exists: the name one is held by a server at 192.0.2.1:6444 that joined at "},
      {"the name of the API", [](World& w) { w.request.name = "kubernetes"; },
       "invalid_argument: the name kubernetes is one of the API and the services of the cluster: give this "
       "device another nodeName"},
      {"the name of a server's certificate", [](World& w) { w.request.name = "one.servers.limpet"; },
       "invalid_argument: the name of the device must not end in .servers.limpet"},
      {"a bad token is refused before the request is looked at",
       [](World& w) {
         w.token.secret = "0123456789abcdeg";
         w.request.csr_pem = "junk";
       },
       "unauthenticated: "},
      {"a token that is used up", [](World& w) { take_use(w.secret.ref()); },
       "exhausted: the join token abc123 is used up: make another one with limpet token create"},
      {"a copied store", [](World& w) { w.request.member = 2; },
       "already_exists: the store of this device is a copy of that of two: remove it (dataDir) before the "
       "device joins"},
      {"too old", [](World& w) { w.request.version = "0.1.9"; },
       "unsupported: the device runs limpet 0.1.9 and the cluster 0.3.0, which may be one minor version "
       "apart: upgrade the "
       "device"},
      {"no version", [](World& w) { w.request.version = "new"; },
       "invalid_argument: the version of limpet is not MAJOR.MINOR.PATCH"},
      {"a bad name", [](World& w) { w.request.name = "a b"; },
       "invalid_argument: the name of the device must be lower-case letters, digits, '-' and '.', each part "
       "between dots "
       "beginning and ending with a letter or digit"},
      {"no certificate request", [](World& w) { w.request.csr_pem = "junk"; },
       "invalid_argument: malformed certificate request"},
      {"a request that somebody bent",
       [](World& w) {
         // The middle of the base64, which is the public key.
         char& c = w.request.csr_pem[w.request.csr_pem.size() / 2];
         c = c == 'A' ? 'B' : 'A';
       },
       "invalid_argument: "},
      {"a request that is too large", [](World& w) { w.request.csr_pem.insert(0, max_csr, '\n'); },
       "too_large: the certificate request is too large"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    World w;
    row.bend(w);
    const std::string error = error_of(w.admit());
    CHECK_MESSAGE(error.starts_with(row.error), error);
  }
}

TEST_CASE("a device that asks again is let in again, and no second use is taken") {
  World w;
  const Result<Admission> first = w.admit();
  REQUIRE(first);
  REQUIRE(take_use(w.secret.ref()));
  w.holder = first->device;
  w.cluster.servers.push_back(first->device);
  w.moment = WallTime{now.seconds + 30, 0};
  const Result<Admission> again = w.admit();
  REQUIRE_MESSAGE(again, again.error().message);
  CHECK_FALSE(again->takes_use);
  CHECK(again->replaces == 0);
  CHECK(again->device.joined_at == now.seconds);
  // Its store was lost, its keys were not: another member takes the place of the one that it was.
  w.request.member = 8;
  const Result<Admission> wiped = w.admit();
  REQUIRE(wiped);
  CHECK(wiped->replaces == 7);
  CHECK(wiped->device.member == 8);
  // The token ends for it too.
  w.moment = WallTime{now.seconds + 60, 0};
  CHECK(error_of(w.admit()).starts_with("expired: "));
}

TEST_CASE("the name of a device that left is free, also that of a stolen one, for another key") {
  for (const DeviceState state : {DeviceState::removed, DeviceState::revoked}) {
    World w;
    w.holder = w.device("edge-7", 9);
    w.holder->state = state;
    const Result<Admission> admitted = w.admit();
    REQUIRE_MESSAGE(admitted, admitted.error().message);
    CHECK(admitted->takes_use);
    CHECK(admitted->replaces == 0);
    CHECK(admitted->device.state == DeviceState::active);
  }
  World w;
  w.holder = w.device("edge-7", 9);
  w.holder->spki = w.key.spki();
  w.holder->state = DeviceState::removed;
  CHECK(w.admit());
}

TEST_CASE("a key that left with its device comes back under any name, one that was revoked never") {
  struct Row {
    const char* record;
    const char* error;
  };
  for (const Row& row : {
           Row{R"({"name":"edge-3","at":"2026-05-27T20:26:40Z"})", ""},
           Row{R"({"name":"edge-3","at":"2026-05-27T20:26:40Z","state":"removed"})", ""},
           Row{R"({"name":"edge-3","state":"revoked"})", "permission_denied"},
           Row{R"({"name":"edge-3","state":"exiled"})",
               "corrupt: the record of a denied key is damaged: unknown state"},
           Row{R"({"name":"edge-3","state":null})", "corrupt: "},
           Row{R"({"name":"edge-3","state":7})", "corrupt: "},
           Row{R"([])", "corrupt: the record of a denied key is damaged: no JSON object"},
           Row{"", "corrupt: "},
           Row{R"({"state":{"a":{"b":{}}}})", "corrupt: "},
       }) {
    CAPTURE(row.record);
    World w;
    const Result<DeniedKey> denied = decode_denied(row.record);
    if (denied) w.denied = *denied;
    const std::string error = denied ? error_of(w.admit()) : error_of(denied);
    CHECK_MESSAGE((*row.error == '\0' ? error.empty() : error.starts_with(row.error)), error);
  }
}

TEST_CASE("no device has a name by which the API or a service is reached") {
  struct Row {
    const char* name;
    bool ok;
  };
  for (const Row& row : {
           Row{"localhost", false},
           Row{"kubernetes", false},
           Row{"kubernetes.default", false},
           Row{"kubernetes.default.svc", false},
           Row{"kubernetes.default.example", false},
           Row{"web.shop.svc", false},
           Row{"web.shop.svc.site.example", false},
           Row{"cluster.local", false},
           Row{"web.cluster.local", false},
           Row{"kubernetes-1", true},
           Row{"kubernetes.defaults", true},
           Row{"svc", true},
           Row{"edge.svc7", true},
           Row{"acluster.local", true},
           Row{"cluster.local.example", true},
           Row{"local", true},
       }) {
    for (const Role role : {Role::server, Role::agent}) {
      CAPTURE(row.name);
      World w;
      w.request.name = row.name;
      w.request.role = role;
      if (role == Role::agent) {
        w.request.member = 0;
        w.secret = token_secret(w.token, {Role::agent, 0, 1, ""});
      }
      const std::string error = error_of(w.admit());
      CHECK_MESSAGE((row.ok ? error.empty() : error.starts_with("invalid_argument: ")), error);
    }
  }
  World w;
  w.cluster.domain = "";
  w.request.name = "cluster.local";
  CHECK(w.admit());
}

TEST_CASE("while the authority is replaced, tokens of the old and the new one are good") {
  World w;
  const pki::Authority next = cluster_test::make_authority("limpet-ca-next", w.random);
  w.cluster.ca_pem += next.certificate_pem;
  CHECK(w.admit());
  w.token.ca_sha256 = cluster_test::hash_of(next);
  CHECK(w.admit());
  w.cluster.ca_pem = w.ca.certificate_pem;
  CHECK(error_of(w.admit()).starts_with("unauthenticated: the join token abc123 is of another cluster"));
}

TEST_CASE("only keys that limpet makes are certified") {
  World w;
  if (std::system("openssl version >/dev/null 2>&1") != 0) SKIP_TEST("needs openssl");
  char dir[] = "/tmp/limpet-cluster-XXXXXX";
  REQUIRE(mkdtemp(dir) != nullptr);
  for (const std::string kind : {"rsa:2048", "ec -pkeyopt ec_paramgen_curve:P-384"}) {
    const std::string command = "cd " + std::string(dir) + " && openssl req -new -nodes -newkey " + kind +
                                " -keyout k -subj /CN=x -out r >/dev/null 2>&1";
    REQUIRE(std::system(command.c_str()) == 0);
    w.request.csr_pem = read_file(std::string(dir) + "/r", 65536).value();
    CHECK(error_of(w.admit()) == "invalid_argument: certificate request: not an ECDSA key on curve P-256");
  }
  CHECK(remove_tree(dir));
}

TEST_CASE("a certificate is renewed for the key and the name on record") {
  World w;
  Device device = w.admit()->device;
  const std::string csr = w.csr({"system:node:other", {"limpet:servers"}});
  for (const Role role : {Role::agent, Role::server}) {
    device.role = role;
    const auto pem = renew(device, csr, w.ca, w.moment, w.random);
    REQUIRE_MESSAGE(pem, pem.error().message);
    CHECK(pki::device_of(pki::parse_certificate(*pem).value()).value() ==
          pki::DeviceId{"edge-7", role == Role::server});
  }
  for (const DeviceState state : {DeviceState::removed, DeviceState::revoked}) {
    device.state = state;
    CHECK(error_of(renew(device, csr, w.ca, w.moment, w.random)) ==
          "permission_denied: the device edge-7 is not of this cluster any more");
  }
  device.state = DeviceState::active;
  device.spki = pki::PrivateKey::generate(w.random)->spki();
  CHECK(error_of(renew(device, csr, w.ca, w.moment, w.random)) ==
        "permission_denied: the certificate of edge-7 is renewed for the key with which it joined only");
}

TEST_CASE("versions that work together") {
  struct Row {
    const char *device, *cluster, *error;
  };
  for (const Row& row : {
           Row{"0.3.0", "0.3.9", ""},
           Row{"0.2.0", "0.3.0", ""},
           Row{"0.4.7-rc.1", "0.3.0", ""},
           Row{"0.5.0", "0.3.0", "upgrade the cluster"},
           Row{"0.1.0", "0.3.0", "upgrade the device"},
           Row{"1.0.0", "0.3.0", "upgrade the cluster"},
           Row{"1.0.0", "2.0.0", "upgrade the device"},
           Row{"", "0.3.0", "not MAJOR.MINOR.PATCH"},
           Row{"1", "1.0.0", "not MAJOR.MINOR.PATCH"},
           Row{"1.x.0", "1.0.0", "not MAJOR.MINOR.PATCH"},
           Row{"-1.0.0", "1.0.0", "not MAJOR.MINOR.PATCH"},
           Row{"1.-1.0", "1.0.0", "not MAJOR.MINOR.PATCH"},
           Row{"99999999999.0.0", "1.0.0", "not MAJOR.MINOR.PATCH"},
       }) {
    CAPTURE(row.device);
    const std::string error = error_of(check_versions(row.device, row.cluster));
    CHECK_MESSAGE(error.ends_with(row.error), error);
    CHECK(error.empty() == (*row.error == '\0'));
  }
}

TEST_CASE("a request comes back as it was written, and anything else is refused") {
  World w;
  const std::string text = encode(w.request);
  const JoinRequest back = decode_join_request(text).value();
  CHECK(encode(back) == text);
  CHECK(back.csr_pem == w.request.csr_pem);
  CHECK(back.member == 7);
  struct Row {
    const char *from, *to, *error;
  };
  for (const Row& row : {
           Row{"edge-7", "", "invalid_argument: join request: the name of the device is empty"},
           Row{"\"server\"", "\"king\"", "invalid_argument: join request: role is neither server nor agent"},
           Row{"\"csr\"", "\"cbr\"", "invalid_argument: join request: csr is missing"},
           Row{"\"0.3.1\"", "31", "invalid_argument: join request: version is missing"},
           Row{"0000000000000007", "7",
               "invalid_argument: join request: member is missing or not 16 hex digits"},
           Row{"\"192.0.2.7:6444\"", "", "invalid_argument: join request: addresses are missing"},
           Row{"\"192.0.2.7:6444\"", "1", "invalid_argument: join request: an address is not HOST:PORT"},
           Row{"[\"192.0.2.7:6444\"]", "\"192.0.2.7:6444\"",
               "invalid_argument: join request: addresses is no list"},
           Row{"\"server\"", "\"agent\"",
               "invalid_argument: join request: an agent is no member of the group"},
           Row{"6443", "66443", "invalid_argument: join request: apiPort is no port"},
           Row{"{", "[{", "invalid_argument: join request: "},
           Row{"\"name\"", "\"name\":\"a\",\"name\"", "invalid_argument: join request: "},
       }) {
    CAPTURE(row.error);
    std::string bent = text;
    const size_t at = bent.find(row.from);
    REQUIRE(at != std::string::npos);
    bent.replace(at, std::string(row.from).size(), row.to);
    const std::string error = error_of(decode_join_request(bent));
    CHECK_MESSAGE(error.starts_with(row.error), error);
  }
  JoinRequest large = w.request;
  large.addresses.assign(max_addresses + 1, "a:1");
  CHECK(error_of(decode_join_request(encode(large))).starts_with("too_large: join request: 17 addresses"));
  large = w.request;
  large.csr_pem.assign(max_csr + 1, 'x');
  CHECK(error_of(decode_join_request(encode(large))) ==
        "too_large: join request: csr is longer than 4096 bytes");
  CHECK(error_of(decode_join_request(std::string(max_join_request + 1, ' '))).starts_with("too_large: "));
  CHECK_FALSE(decode_join_request("{\"a\":[[[[[[[1]]]]]]]}"));
}

TEST_CASE("an answer that is not one is refused") {
  World w;
  const std::string text = encode(w.admit()->answer);
  REQUIRE(decode_join_answer(text));
  struct Row {
    const char *from, *to, *error;
  };
  for (const Row& row : {
           Row{"0001020304050607", "000102030405060", "clusterId is not 32 hex digits"},
           Row{"8090a0b0", "8090A0b0", "clusterId is not 32 hex digits"},
           Row{"\"ca\"", "\"cb\"", "ca is missing"},
           Row{"\"certificate\"", "\"cert\"", "certificate is missing"},
           Row{"\"servers\"", "\"serfs\"", "no servers, or too many"},
           Row{"0000000000000001", "0000000000000000", "a server without a member id"},
           Row{"\"one\"", "\"\"", "the name of the device is empty"},
           Row{"\"serviceAccount\"", "\"sa\"", "serviceAccount is missing"},
           Row{"\"dataKey\":\"", "\"dataKey\":\"AAAA", "dataKey is no key"},
           Row{"\"generation\":4", "\"generation\":0", "generation is missing"},
       }) {
    CAPTURE(row.error);
    std::string bent = text;
    const size_t at = bent.find(row.from);
    REQUIRE(at != std::string::npos);
    bent.replace(at, std::string(row.from).size(), row.to);
    CHECK(error_of(decode_join_answer(bent)) ==
          std::string("corrupt: the cluster's answer cannot be used: ") + row.error);
  }
  JoinAnswer many = w.admit()->answer;
  many.servers.assign(raft::kMaxMembers + 1, many.servers[0]);
  CHECK_FALSE(decode_join_answer(encode(many)));
  CHECK_FALSE(decode_join_answer(std::string(max_join_answer + 1, ' ')));
}
