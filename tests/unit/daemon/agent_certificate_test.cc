// An agent that asks servers, which the test plays, for its certificate and for whom to trust.
#include "daemon/agent_certificate.h"

#include <doctest/doctest.h>

#include "base/atomic_file.h"
#include "base/log.h"
#include "base/tree.h"
#include "client/memory_exchange.h"
#include "cluster/renewal.h"
#include "pki/device.h"
#include "pki/install.h"

namespace limpet::daemon::test {
namespace {

struct TempDir {
  std::string path = "/tmp/limpet-agent-XXXXXX";
  TempDir() { REQUIRE(mkdtemp(path.data()) != nullptr); }
  ~TempDir() { (void)remove_tree(path); }
};

// Keeps what is asked until the test answers.
class Servers final : public client::Client {
 public:
  struct Asked {
    client::Call call;
    std::function<void(Result<client::Reply>)> done;
  };
  std::vector<Asked> asked;

  std::unique_ptr<client::Pending> call(client::Call call,
                                        std::function<void(Result<client::Reply>)> done) override {
    asked.push_back({std::move(call), std::move(done)});
    return std::make_unique<client::Pending>();
  }
  std::unique_ptr<client::Pending> stream(client::Call, Stream) override { return nullptr; }
};

struct World {
  TempDir dir;
  loop::Loop loop;
  SystemClock clock;
  SystemRandom random;
  pki::Authority old_ca = authority("limpet-ca-old"), new_ca = authority("limpet-ca-new");
  std::string pki_dir = dir.path + "/pki", out;
  Servers servers;
  int taken = 0;
  Result<> disk;  // what becomes of the next files
  Device device{.loop = loop,
                .clock = clock,
                .random = random,
                .config = check_config("role: agent\n").config,
                .paths = {},
                .node_name = "field-1",
                .fatal = {},
                .starting_takes = {},
                .identity = {},
                .identity_changed = {}};
  std::unique_ptr<AgentCertificate> agent;

  World() {
    const pki::PrivateKey key = pki::joining_key(pki_dir, random).value();
    REQUIRE(pki::install_joined(pki_dir, {old_ca.certificate_pem, "", "", leaf(old_ca, key.spki())}, random));
    device.client = &servers;
    device.take_issued = [this](Issued issued, std::function<void(Result<>)> done) {
      loop.defer([this, issued = std::move(issued), done = std::move(done)] {
        ++taken;
        Result<> end =
            disk ? pki::install_renewed(pki_dir, issued.ca_pem, issued.certificate_pem, random) : disk;
        read();
        agent->look();
        done(end);
      });
    };
    read();
    agent = std::make_unique<AgentCertificate>(device, [this] { return out; });
    agent->look();
  }
  ~World() { log::set_sink(nullptr); }

  pki::Authority authority(const std::string& name) {
    pki::Authority made;
    made.key = pki::PrivateKey::generate(random).value();
    made.certificate_pem =
        pki::make_ca(name, made.key, pki::authority_validity(pki::Moment(clock.wall())), random).value();
    return made;
  }
  std::string leaf(const pki::Authority& by, const std::string& spki, int64_t life = pki::leaf_life_seconds) {
    const pki::DeviceId id{"field-1", false};
    pki::Validity validity = pki::valid_from(clock.wall(), life);
    validity.not_before = pki::parse_certificate(by.certificate_pem)->not_before;
    return pki::issue(by, spki, pki::device_subject(id), {}, pki::Use::client, validity, random).value();
  }
  static std::string hash(const pki::Authority& ca) {
    return pki::parse_certificate(ca.certificate_pem)->spki_sha256();
  }
  void read() {
    const pki::IdentityOptions options{.directory = pki_dir, .node_name = "field-1", .agent = true};
    auto identity = pki::agent_identity(options, {clock.wall(), SystemClock::machine()}, random);
    REQUIRE_MESSAGE(identity, identity.error().message);
    device.identity = std::move(*identity);
  }
  void spin() {
    for (int i = 0; i < 5; ++i) loop.run_until([] { return false; }, 1);
  }
  // The one question that waits for an answer.
  cluster::RenewRequest question() {
    REQUIRE(servers.asked.size() == 1);
    CHECK(servers.asked[0].call.method == "POST");
    CHECK(servers.asked[0].call.path == "/limpet/v1/renew");
    return cluster::decode_renew_request(servers.asked[0].call.body).value();
  }
  void answer(Result<client::Reply> reply) {
    REQUIRE(servers.asked.size() == 1);
    const auto done = std::move(servers.asked[0].done);
    servers.asked.clear();
    done(std::move(reply));
    spin();
  }
  // As a server of this authority; a certificate when one was asked for.
  void answer(const std::string& ca_pem, const pki::Authority& signer,
              int64_t life = pki::leaf_life_seconds) {
    cluster::RenewAnswer a{ca_pem, ""};
    if (const std::string csr = question().csr_pem; !csr.empty())
      a.certificate_pem = leaf(signer, cluster::requested_key(csr).value(), life);
    answer(client::Reply{200, encode(a)});
  }
  bool quiet() const { return servers.asked.empty(); }
  std::string issuer() const { return pki::parse_certificate(device.identity.peer_pem)->issuer.common_name; }

  struct Asked {
    std::shared_ptr<client::MemoryExchange> exchange;
    int status = 0;
    std::string body;
  };
  std::shared_ptr<Asked> ask(const std::string& method = "POST") {
    http::Request r;
    r.method = method;
    auto call = std::make_shared<Asked>();
    const std::weak_ptr<Asked> weak(call);
    client::MemoryExchange::Receiver receiver;
    receiver.on_head = [weak](int status, const http::Headers&) {
      if (const auto c = weak.lock()) c->status = status;
    };
    receiver.on_body = [weak](std::string_view bytes) {
      if (const auto c = weak.lock()) c->body += bytes;
    };
    receiver.on_end = [](bool) {};
    call->exchange = std::make_shared<client::MemoryExchange>(loop, std::move(r), std::move(receiver));
    return call;
  }
  std::string status() {
    const auto call = ask("GET");
    agent->status(call->exchange);
    spin();
    return call->body;
  }
};

std::vector<std::string> lines;  // of the log

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("an agent goes from one authority to the next as servers tell it, and reports each step") {
  World w;
  const std::string old_hash = World::hash(w.old_ca), new_hash = World::hash(w.new_ca);
  const std::string trusting = w.old_ca.certificate_pem + w.new_ca.certificate_pem;
  const std::string reissuing = w.new_ca.certificate_pem + w.old_ca.certificate_pem;
  CHECK(w.quiet());
  w.agent->told({old_hash});
  CHECK(w.quiet());

  w.agent->told({old_hash, new_hash});
  CHECK(w.question().trusted == std::vector<std::string>{old_hash});
  CHECK(w.question().csr_pem == "");
  w.answer(trusting, w.old_ca);
  CHECK(w.device.identity.ca_pem == trusting);
  // The leader hears that it is so.
  CHECK(w.question().trusted == std::vector<std::string>{old_hash, new_hash});
  CHECK(w.question().csr_pem == "");
  w.answer(trusting, w.old_ca);
  CHECK(w.quiet());
  CHECK(w.issuer() == "limpet-ca-old");

  w.agent->told({new_hash, old_hash});  // the same two, and the other one signs
  w.answer(reissuing, w.new_ca);
  CHECK(w.question().csr_pem != "");
  w.answer(reissuing, w.new_ca);
  CHECK(w.issuer() == "limpet-ca-new");
  CHECK(w.question().csr_pem == "");  // shown with the new certificate
  w.answer(reissuing, w.new_ca);
  CHECK(w.quiet());

  w.agent->told({new_hash});
  w.answer(w.new_ca.certificate_pem, w.new_ca);
  CHECK(w.quiet());
  CHECK(w.device.identity.ca_pem == w.new_ca.certificate_pem);
  CHECK(w.device.identity.due == "");
  CHECK(w.taken == 4);
}

TEST_CASE("a server that is behind is asked about once") {
  World w;
  w.agent->told({World::hash(w.new_ca)});
  w.answer(w.old_ca.certificate_pem, w.old_ca);
  CHECK(w.quiet());
  CHECK(w.taken == 0);
}

TEST_CASE(
    "a certificate that is due is renewed, and one that is due when it comes does not make it ask for ever") {
  World w;
  const std::string key = w.device.identity.peer_key_pem;
  const auto spki = pki::parse_certificate(w.device.identity.peer_pem)->spki;
  const int64_t nearly_over = pki::leaf_life_seconds / 4;
  REQUIRE(pki::install_renewed(w.pki_dir, w.old_ca.certificate_pem, w.leaf(w.old_ca, spki, nearly_over),
                               w.random));
  w.read();
  CHECK(w.device.identity.due == "two thirds of its life are over");
  w.agent->look();
  CHECK(cluster::requested_key(w.question().csr_pem).value() == spki);
  w.answer(w.old_ca.certificate_pem, w.old_ca, nearly_over);  // its clock is months behind
  CHECK(w.taken == 1);
  CHECK(w.quiet());
  w.agent->look();
  CHECK(w.quiet());
  // Somebody asks: at once.
  const auto asked = w.ask();
  w.agent->renew(asked->exchange);
  w.answer(w.old_ca.certificate_pem, w.old_ca);
  CHECK(asked->status == 200);
  CHECK(w.device.identity.due == "");
  CHECK(w.device.identity.peer_key_pem == key);
  CHECK(w.quiet());
}

TEST_CASE("who asks for another certificate hears what became of it") {
  struct Row {
    const char* what;
    std::function<void(World&)> then;
    int status;
    const char* text;
  };
  const Row rows[] = {
      {"it comes", [](World& w) { w.answer(w.old_ca.certificate_pem, w.old_ca); }, 200,
       "field-1 has a new device certificate, which ends on "},
      {"no server", [](World& w) { w.answer(fail(Errc::unavailable, "10.0.0.1:6443: connection refused")); },
       503, "no server can be reached: 10.0.0.1:6443: connection refused. The present one ends on "},
      {"refused",
       [](World& w) { w.answer(client::Reply{403, R"({"kind":"Status","message":"field-1 was revoked"})"}); },
       503, "the certificate is not renewed: field-1 was revoked"},
      {"garbage", [](World& w) { w.answer(client::Reply{200, "<html>"}); }, 503,
       "the cluster's answer cannot be used"},
      {"no certificate in it",
       [](World& w) {
         w.answer(client::Reply{200, encode(cluster::RenewAnswer{w.old_ca.certificate_pem, ""})});
       },
       503, "a certificate was asked for, and the answer holds none"},
      {"another authority's", [](World& w) { w.answer(w.old_ca.certificate_pem, w.new_ca); }, 503,
       "the device certificate is of another authority"},
      {"another cluster", [](World& w) { w.answer(w.new_ca.certificate_pem, w.new_ca); }, 503,
       "this device belongs to another cluster"},
      {"the disk is full",
       [](World& w) {
         w.disk = fail(Errc::exhausted, "no space left");
         w.answer(w.old_ca.certificate_pem, w.old_ca);
       },
       503, "no space left"},
      {"it is out of the cluster",
       [](World& w) {
         w.out = "certificate of 10.0.0.1 is not signed by the cluster CA";
         w.answer(fail(Errc::unavailable, "10.0.0.1:6443"));
       },
       503, "no server lets this device in (certificate of 10.0.0.1 is not signed by the cluster CA)"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    World w;
    const std::string before = w.device.identity.peer_pem;
    const auto asked = w.ask();
    w.agent->renew(asked->exchange);
    CHECK(w.question().csr_pem != "");
    row.then(w);
    CHECK(asked->status == row.status);
    CHECK_MESSAGE(has(asked->body, row.text), asked->body);
    CHECK((w.device.identity.peer_pem != before) == (row.status == 200));
    CHECK(w.quiet());
    const std::string status = w.status();
    CHECK(has(status, R"("device":"field-1")"));
    CHECK(has(status, R"("issuer":"limpet-ca-old")"));
    CHECK(has(status, R"("problem":"")") == (row.status == 200));
  }
  World w;
  const auto got = w.ask("GET");
  w.agent->renew(got->exchange);
  w.spin();
  CHECK(got->status == 405);
  CHECK(w.quiet());
}

TEST_CASE("what failed is tried again, at once when a server is in reach") {
  World w;
  const std::string old_hash = World::hash(w.old_ca), new_hash = World::hash(w.new_ca);
  w.agent->told({old_hash, new_hash});
  w.answer(fail(Errc::unavailable, "cut off"));
  w.agent->look();
  CHECK(w.quiet());  // it waits
  CHECK(has(w.agent->problem(), "no server can be reached: cut off"));
  w.agent->told({old_hash, new_hash});
  w.answer(w.old_ca.certificate_pem + w.new_ca.certificate_pem, w.old_ca);
  CHECK(w.taken == 1);
  CHECK(w.agent->problem() == "");
  // Asked while another question is under way: the certificate comes with the next.
  const auto asked = w.ask();
  w.agent->renew(asked->exchange);
  CHECK(w.question().csr_pem == "");
  w.answer(w.old_ca.certificate_pem + w.new_ca.certificate_pem, w.old_ca);
  CHECK(asked->status == 0);
  CHECK(w.question().csr_pem != "");
  w.answer(w.old_ca.certificate_pem + w.new_ca.certificate_pem, w.old_ca);
  CHECK(asked->status == 200);
}

TEST_CASE("a device that is out of its cluster says what to do") {
  World w;
  CHECK(w.agent->problem() == "");
  w.out = "certificate of 10.0.0.1 is not signed by the cluster CA";
  CHECK(w.agent->problem() ==
        "no server lets this device in (certificate of 10.0.0.1 is not signed by the cluster CA): the "
        "cluster's "
        "authority was replaced while the device was away, or these are servers of another cluster: let it "
        "join "
        "again (on a server: limpet token create --role agent, here: limpet join URL TOKEN)");
  lines.clear();
  log::set_sink([](log::Level, std::string_view line) { lines.emplace_back(line); });
  w.agent->shut_out();
  log::set_sink(nullptr);
  REQUIRE(lines.size() == 1);
  CHECK(has(lines[0], "this device is out of its cluster"));
  CHECK(has(lines[0], "let it join again"));
  // Its own certificate ended: no server is to blame.
  const auto spki = pki::parse_certificate(w.device.identity.peer_pem)->spki;
  REQUIRE(pki::install_renewed(w.pki_dir, w.old_ca.certificate_pem, w.leaf(w.old_ca, spki, -60), w.random));
  w.read();
  w.agent->look();
  CHECK(has(w.agent->problem(), "this device's certificate ended on "));
  CHECK(has(w.agent->problem(), "let it join again"));
}

}  // namespace limpet::daemon::test
