// An agent asks for what it goes by: the bytes of both sides, and who gets no certificate.
#include "cluster/renewal.h"

#include <doctest/doctest.h>

#include <functional>

#include "support.h"

using namespace limpet;
using namespace limpet::cluster;
using limpet::cluster_test::error_of;
using limpet::cluster_test::now;

namespace {

const std::string hash_a(64, 'a'), hash_b(64, 'b');

// An agent of a cluster that replaces its authority.
struct World {
  SystemRandom random;
  pki::Authority ca = cluster_test::make_authority("limpet-ca-here", random);
  pki::Authority next = cluster_test::make_authority("limpet-ca-next", random);
  pki::Authority foreign = cluster_test::make_authority("limpet-ca-there", random);
  pki::PrivateKey key = pki::PrivateKey::generate(random).value();
  std::string trusted = ca.certificate_pem + next.certificate_pem;
  std::optional<Device> holder;
  std::optional<DeniedKey> denied;

  World() {
    holder.emplace();
    holder->name = "field-1";
    holder->role = Role::agent;
    holder->spki = key.spki();
  }
  pki::Certificate certificate(const pki::Authority& by, const pki::DeviceId& id, int64_t from = -60,
                               int64_t until = 3600) {
    const pki::Validity validity{now.seconds + from, now.seconds + until};
    const std::string pem = pki::issue(by, key.spki(), pki::device_subject(id), pki::device_names(id),
                                       pki::device_use(id), validity, random)
                                .value();
    return pki::parse_certificate(pem).value();
  }
};

}  // namespace

TEST_CASE("what an agent asks and is answered comes out as it went in") {
  for (const RenewRequest& request :
       {RenewRequest{}, RenewRequest{{hash_a, hash_b}, ""}, RenewRequest{{hash_a}, "a request"}}) {
    const auto back = decode_renew_request(encode(request));
    REQUIRE_MESSAGE(back, back.error().message);
    CHECK(back->trusted == request.trusted);
    CHECK(back->csr_pem == request.csr_pem);
  }
  for (const RenewAnswer& answer : {RenewAnswer{"authorities", ""}, RenewAnswer{"authorities", "a leaf"}}) {
    const auto back = decode_renew_answer(encode(answer));
    REQUIRE_MESSAGE(back, back.error().message);
    CHECK(back->ca_pem == answer.ca_pem);
    CHECK(back->certificate_pem == answer.certificate_pem);
  }
}

TEST_CASE("a request that no agent made is refused with what is wrong") {
  std::string many = R"({"trusted":[)";
  for (int i = 0; i < 65; ++i) many += (i == 0 ? "\"" : ",\"") + hash_a + "\"";
  many += "]}";
  struct Row {
    std::string body;
    const char* error;
  };
  for (const Row& row : {
           Row{"", "invalid_argument: request of an agent: "},
           Row{"[]", "invalid_argument: request of an agent: not a JSON object"},
           Row{"{}", "invalid_argument: request of an agent: trusted is no list"},
           Row{R"({"trusted":{}})", "invalid_argument: request of an agent: trusted is no list"},
           Row{R"({"trusted":["aa"]})",
               "invalid_argument: request of an agent: trusted holds what is no hash of a key"},
           Row{"{\"trusted\":[\"" + std::string(64, 'G') + "\"]}",
               "invalid_argument: request of an agent: trusted holds what is no hash of a key"},
           Row{R"({"trusted":[7]})",
               "invalid_argument: request of an agent: trusted holds what is no hash of a key"},
           Row{R"({"trusted":[],"csr":7})", "invalid_argument: request of an agent: csr is no text"},
           Row{"{\"trusted\":[],\"csr\":\"" + std::string(max_csr + 1, 'x') + "\"}",
               "too_large: request of an agent: csr is longer than 4096 bytes"},
           Row{many, "too_large: request of an agent: 65 authorities: at most 64 are possible"},
           Row{std::string(max_renew_request + 1, ' '),
               "too_large: request of an agent: more than 16384 bytes"},
           Row{R"({"trusted":[],"x":[[[[[1]]]]]})", "request of an agent: "},
       }) {
    CAPTURE(row.error);
    const auto got = decode_renew_request(row.body);
    REQUIRE_FALSE(got);
    CHECK_MESSAGE(error_of(got).find(row.error) != std::string::npos, error_of(got));
  }
}

TEST_CASE("an answer that cannot be used is said to be") {
  struct Row {
    std::string body;
    const char* error;
  };
  for (const Row& row : {
           Row{"<html>", ""},
           Row{"{}", "ca is missing"},
           Row{R"({"ca":["x"]})", "ca is no text"},
           Row{R"({"ca":"x","certificate":{}})", "certificate is no text"},
           Row{"{\"ca\":\"x\",\"certificate\":\"" + std::string(17 * 1024, 'x') + "\"}",
               "certificate is longer than 16384 bytes"},
           Row{std::string(max_renew_answer + 1, ' '), "more than 262144 bytes"},
       }) {
    CAPTURE(row.body.substr(0, 40));
    const auto got = decode_renew_answer(row.body);
    REQUIRE_FALSE(got);
    const std::string error = error_of(got);
    CHECK(error.starts_with("corrupt: the cluster's answer cannot be used: "));
    CHECK_MESSAGE(error.find(row.error) != std::string::npos, error);
  }
}

TEST_CASE("a certificate that is shown says who asks, and who issued it") {
  World w;
  for (const pki::Authority* by : {&w.ca, &w.next}) {
    const auto shown = check_shown(w.certificate(*by, {"field-1", false}), w.trusted, now);
    REQUIRE_MESSAGE(shown, shown.error().message);
    CHECK(shown->name == "field-1");
    CHECK(shown->issuer == cluster_test::hash_of(*by));
  }
  struct Row {
    const char* what;
    pki::Certificate certificate;
    const char* error;
  };
  pki::Certificate user = w.certificate(w.ca, {"field-1", false});
  user.subject = {"limpet-admin", {"system:masters"}};
  for (const Row& row : {
           Row{"of another authority", w.certificate(w.foreign, {"field-1", false}),
               "unauthenticated: the certificate of field-1 is of an authority that this cluster does not "
               "trust: "
               "let it join again with a new token (limpet join)"},
           Row{"expired", w.certificate(w.ca, {"field-1", false}, -7200, -1),
               "expired: the certificate of field-1 is valid from 2026-05-28T18:26:40Z to "
               "2026-05-28T20:26:39Z, and it is 2026-05-28T20:26:40Z: let it join again with a new token "
               "(limpet join)"},
           Row{"not valid yet", w.certificate(w.ca, {"field-1", false}, 60),
               "expired: the certificate of field-1"},
           Row{"a server's", w.certificate(w.ca, {"edge-1", true}),
               "invalid_argument: edge-1 shows the certificate of a server, which makes its own: limpet cert "
               "rotate there"},
           Row{"no device's", user,
               "unauthenticated: the certificate of limpet-admin is not a device certificate"},
       }) {
    CAPTURE(row.what);
    const std::string error = error_of(check_shown(row.certificate, w.trusted, now));
    CHECK_MESSAGE(error.starts_with(row.error), error);
  }
  CHECK_FALSE(check_shown(w.certificate(w.ca, {"field-1", false}), "junk", now));
}

TEST_CASE("who is not the agent any more that joined gets nothing") {
  struct Row {
    const char* what;
    std::function<void(World&)> bend;
    const char* error;
  };
  for (const Row& row : {
           Row{"nothing is wrong", [](World&) {}, ""},
           Row{"revoked", [](World& w) { w.denied = DeniedKey{"field-1", true}; },
               "permission_denied: field-1 was revoked: let it join again with a new token (limpet join)"},
           Row{"removed", [](World& w) { w.denied = DeniedKey{"field-1", false}; },
               "permission_denied: field-1 was removed from this cluster: let it join"},
           Row{"unknown", [](World& w) { w.holder.reset(); },
               "permission_denied: field-1 is not known to this cluster"},
           Row{"removed, and the key not denied", [](World& w) { w.holder->state = DeviceState::removed; },
               "permission_denied: field-1 was removed from this cluster"},
           Row{"revoked, and the key not denied", [](World& w) { w.holder->state = DeviceState::revoked; },
               "permission_denied: field-1 was removed from this cluster"},
           Row{"a server by now",
               [](World& w) {
                 w.holder->role = Role::server;
                 w.holder->member = 7;
               },
               "permission_denied: field-1 is a server by now, and this is the certificate of an agent"},
           Row{"another device has the name",
               [](World& w) { w.holder->spki = pki::PrivateKey::generate(w.random)->spki(); },
               "permission_denied: field-1 is another device by now"},
       }) {
    CAPTURE(row.what);
    World w;
    row.bend(w);
    const std::string error =
        error_of(check_holder(w.certificate(w.ca, {"field-1", false}), w.holder, w.denied));
    CHECK_MESSAGE(error.starts_with(row.error), error);
    CHECK(error.empty() == (*row.error == '\0'));
  }
}
