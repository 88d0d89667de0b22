// What a server with a real store answers an agent that asks for its certificate and for whom to trust.
#include "daemon/renewal_service.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/sha256.h"
#include "base/tree.h"
#include "client/memory_exchange.h"
#include "daemon/denied.h"
#include "daemon/leadership.h"
#include "daemon/member_records.h"
#include "pki/device.h"

namespace limpet::daemon::test {
namespace {

struct TempDir {
  std::string path = "/tmp/limpet-renew-XXXXXX";
  TempDir() { REQUIRE(mkdtemp(path.data()) != nullptr); }
  ~TempDir() { (void)remove_tree(path); }
};

struct Answer {
  std::shared_ptr<client::MemoryExchange> exchange;
  int status = 0;
  std::string body;
  bool ended = false;
};

// The only server of a cluster, and an agent of it.
struct World {
  TempDir dir;
  loop::Loop loop;
  SystemClock clock;
  SystemRandom random;
  std::unique_ptr<store::Store> store;
  std::unique_ptr<Leadership> leadership;
  std::unique_ptr<MemberRecords> members;
  std::unique_ptr<Denied> denied;
  Device device{.loop = loop,
                .clock = clock,
                .random = random,
                .config = check_config("node:\n  address: 192.0.2.1\n").config,
                .paths = {},
                .node_name = "founder",
                .fatal = {},
                .starting_takes = {},
                .identity = {},
                .identity_changed = {}};
  std::unique_ptr<KeyKeeper> keys;
  std::unique_ptr<RenewalService> service;
  pki::PrivateKey key = pki::PrivateKey::generate(random).value();
  cluster::Device agent;

  // restored: its store has no keys of the cluster.
  explicit World(bool restored = false) {
    store::Options o;
    o.path = dir.path + "/store";
    store = store::Store::open(loop, o, clock).value();
    leadership = std::make_unique<Leadership>(loop, store->consensus());
    members = std::make_unique<MemberRecords>(loop, store->durable(), [] {});
    denied = std::make_unique<Denied>(loop, store->durable(), [] {});
    const pki::IdentityOptions identity{.directory = dir.path + "/pki",
                                        .node_name = "founder",
                                        .names = {{"localhost"}, {}},
                                        .server_url = "https://127.0.0.1:6443",
                                        .kubeconfig_path = ""};
    device.identity = pki::ensure_identity(identity, {clock.wall(), SystemClock::machine()}, random).value();
    device.store = store.get();
    device.leadership = leadership.get();
    device.members = members.get();
    keys = std::make_unique<KeyKeeper>(device);
    service = std::make_unique<RenewalService>(device, *keys);
    REQUIRE(until([&] { return leadership->term() != 0 && members->known(); }));
    KeyRing ring(device);
    std::optional<std::vector<store::Op>> first;
    ring.prepare([&](Result<KeyRing::Prepared> prepared) { first = prepared->ops; });
    REQUIRE(until([&] { return first.has_value(); }));
    agent.name = "field-1";
    agent.role = cluster::Role::agent;
    agent.spki = key.spki();
    if (restored) first->clear();
    first->push_back({store::Op::Type::put, cluster::device_key("field-1"), encode(agent), std::nullopt});
    commit(std::move(*first));
    REQUIRE(until([&] { return restored || keys->opened() != nullptr; }));
  }
  ~World() {
    service.reset();
    keys.reset();
    denied.reset();
    members.reset();
    leadership.reset();
    bool closed = false;
    store->close([&] { closed = true; });
    until([&] { return closed; });
  }
  template <class F>
  bool until(F done) {
    return loop.run_until(done, 30'000);
  }
  void commit(std::vector<store::Op> ops) {
    bool done = false;
    store::Txn txn;
    txn.ops = std::move(ops);
    store->durable().commit(std::move(txn), [&](Result<store::Committed> r) {
      REQUIRE(r);
      done = true;
    });
    REQUIRE(until([&] { return done; }));
  }
  void put(const std::string& path, std::string value) {
    commit({{store::Op::Type::put, path, std::move(value), std::nullopt}});
  }

  std::string shown(const pki::DeviceId& id = {"field-1", false}, int64_t until_s = 3600) {
    return shown_by(
        {device.identity.ca_pem, pki::PrivateKey::from_pem(device.identity.ca_key_pem, random).value()},
        pki::device_subject(id), pki::device_names(id), until_s);
  }
  std::string shown_by(const pki::Authority& ca, const pki::Subject& subject, const pki::Names& names = {},
                       int64_t until_s = 3600) {
    const int64_t now = clock.wall().seconds;
    const std::string pem =
        pki::issue(ca, key.spki(), subject, names, pki::Use::client, {now - 7200, now + until_s}, random)
            .value();
    return pki::parse_certificate(pem)->der;
  }
  std::string csr(const pki::PrivateKey& of) {
    // Whatever it asks for: the cluster decides.
    return pki::make_request(of, {"limpet-admin", {"system:masters"}}, {{"kubernetes"}, {}}, random).value();
  }
  std::string body(const std::string& csr_pem = "", std::vector<std::string> trusted = {}) {
    return encode(cluster::RenewRequest{std::move(trusted), csr_pem});
  }
  std::shared_ptr<Answer> begin(http::Request r, const http::Handler& handler) {
    auto out = std::make_shared<Answer>();
    const std::weak_ptr<Answer> weak(out);
    client::MemoryExchange::Receiver receiver;
    receiver.on_head = [weak](int status, const http::Headers&) {
      if (const auto a = weak.lock()) a->status = status;
    };
    receiver.on_body = [weak](std::string_view bytes) {
      if (const auto a = weak.lock()) a->body += bytes;
    };
    receiver.on_end = [weak](bool) {
      if (const auto a = weak.lock()) a->ended = true;
    };
    out->exchange = std::make_shared<client::MemoryExchange>(loop, std::move(r), std::move(receiver));
    handler(out->exchange);
    return out;
  }
  Answer ask(const std::string& certificate_der, const std::string& text,
             const std::function<void(http::Request&)>& bend = {}) {
    http::Request r;
    r.method = "POST";
    r.path = "/limpet/v1/renew";
    r.body = text;
    r.peer.kind = http::Peer::Kind::tls;
    r.peer.address = "192.0.2.9:40000";
    r.peer.client_certificate_der = certificate_der;
    if (bend) bend(r);
    const auto answer = begin(std::move(r), [this](http::ExchangePtr e) { service->serve(std::move(e)); });
    REQUIRE(until([&] { return answer->ended; }));
    return *answer;
  }
  Answer authority(const std::string& method, const std::string& text = "") {
    http::Request r;
    r.method = method;
    r.body = text;
    const auto answer = begin(std::move(r), [this](http::ExchangePtr e) { keys->authority(std::move(e)); });
    REQUIRE(until([&] { return answer->ended; }));
    return *answer;
  }
  bool waited_for(const std::string& name) {
    const std::string text = authority("GET").body;
    const size_t list = text.find("waitsFor");
    REQUIRE(list != std::string::npos);
    return text.find("\"" + name + "\"", list) != std::string::npos;
  }
};

}  // namespace

TEST_CASE("an agent gets a certificate for the key and name that it has, and whom to trust") {
  World w;
  const Answer plain = w.ask(w.shown(), w.body());
  REQUIRE_MESSAGE(plain.status == 200, plain.body);
  const auto known = cluster::decode_renew_answer(plain.body).value();
  CHECK(known.ca_pem == w.device.identity.ca_pem);
  CHECK(known.certificate_pem == "");
  for (const bool handed_on : {false, true}) {
    CAPTURE(handed_on);
    const Answer got = w.ask(w.shown(), w.body(w.csr(w.key)), [&](http::Request& r) {
      if (!handed_on) return;
      // By a server that the agent reached: the connection is that one's.
      r.headers.add(shown_header, base64_encode(r.peer.client_certificate_der));
      r.peer.kind = http::Peer::Kind::forwarded;
      r.peer.client_certificate_der = "of the server";
    });
    REQUIRE_MESSAGE(got.status == 200, got.body);
    const std::string pem = cluster::decode_renew_answer(got.body)->certificate_pem;
    const pki::Certificate leaf = pki::parse_certificate(pem).value();
    CHECK(leaf.subject == pki::device_subject({"field-1", false}));
    CHECK(leaf.names.dns.empty());
    CHECK(leaf.spki == w.key.spki());
    CHECK(leaf.not_after >= w.clock.wall().seconds + pki::leaf_life_seconds - 60);
    CHECK(pki::verify_signed_by(leaf, pki::parse_certificate(known.ca_pem).value(), w.clock.wall()));
  }
}

TEST_CASE("who is refused a certificate, and why") {
  struct Row {
    const char* what;
    std::function<Answer(World&)> ask;
    int status;
    const char* text;
  };
  const auto good = [](World& w) { return w.ask(w.shown(), w.body(w.csr(w.key))); };
  const auto deny = [](World& w, bool revoked) {
    cluster::Device gone = w.agent;
    gone.state = revoked ? cluster::DeviceState::revoked : cluster::DeviceState::removed;
    w.put(cluster::denied_key(sha256_hex(gone.spki)), cluster::denied_record(gone, w.clock.wall()));
  };
  const Row rows[] = {
      {"no POST", [](World& w) { return w.ask(w.shown(), "", [](http::Request& r) { r.method = "GET"; }); },
       405, "renewing is a POST"},
      {"no certificate", [](World& w) { return w.ask("", w.body()); }, 401, "there was none"},
      {"no certificate handed on",
       [](World& w) {
         return w.ask(w.shown(), w.body(),
                      [](http::Request& r) { r.peer.kind = http::Peer::Kind::forwarded; });
       },
       401, "there was none"},
      {"a header of the agent's own",
       [](World& w) {
         return w.ask("", w.body(),
                      [&](http::Request& r) { r.headers.add(shown_header, base64_encode(w.shown())); });
       },
       401, "there was none"},
      {"garbage handed on",
       [](World& w) {
         return w.ask("", w.body(), [](http::Request& r) {
           r.peer.kind = http::Peer::Kind::forwarded;
           r.headers.add(shown_header, "!!!");
         });
       },
       401, ""},
      {"a person",
       [](World& w) {
         const pki::Authority ca{w.device.identity.ca_pem,
                                 pki::PrivateKey::from_pem(w.device.identity.ca_key_pem, w.random).value()};
         return w.ask(w.shown_by(ca, {"limpet-admin", {"system:masters"}}), w.body());
       },
       401, "is not a device certificate"},
      {"a server", [](World& w) { return w.ask(w.shown({"founder", true}), w.body()); }, 400,
       "founder shows the certificate of a server, which makes its own"},
      {"of another authority",
       [](World& w) {
         pki::Authority ca;
         ca.key = pki::PrivateKey::generate(w.random).value();
         ca.certificate_pem =
             pki::make_ca("elsewhere", ca.key, pki::authority_validity(pki::Moment(w.clock.wall())), w.random)
                 .value();
         return w.ask(w.shown_by(ca, pki::device_subject({"field-1", false})), w.body());
       },
       401, "is of an authority that this cluster does not trust: let it join again"},
      {"expired", [](World& w) { return w.ask(w.shown({"field-1", false}, -3600), w.body()); }, 401,
       "let it join again with a new token"},
      {"a name that nobody has",
       [](World& w) { return w.ask(w.shown({"field-2", false}), w.body(w.csr(w.key))); }, 403,
       "field-2 is not known to this cluster"},
      {"another device has the name",
       [good](World& w) {
         w.agent.spki = pki::PrivateKey::generate(w.random)->spki();
         w.put(cluster::device_key("field-1"), encode(w.agent));
         return good(w);
       },
       403, "field-1 is another device by now"},
      {"a server by now",
       [good](World& w) {
         w.agent.role = cluster::Role::server;
         w.agent.member = 7;
         w.agent.addresses = {"192.0.2.7:6444"};
         w.put(cluster::device_key("field-1"), encode(w.agent));
         return good(w);
       },
       403, "field-1 is a server by now"},
      {"removed",
       [good, deny](World& w) {
         deny(w, false);
         return good(w);
       },
       403, "field-1 was removed from this cluster"},
      {"revoked",
       [good, deny](World& w) {
         deny(w, true);
         return good(w);
       },
       403, "field-1 was revoked"},
      {"a request for another key",
       [](World& w) { return w.ask(w.shown(), w.body(w.csr(pki::PrivateKey::generate(w.random).value()))); },
       403, "renewed for the key with which it joined only"},
      {"a request that is none", [](World& w) { return w.ask(w.shown(), w.body("junk")); }, 400, ""},
      {"no JSON", [](World& w) { return w.ask(w.shown(), "junk"); }, 400, "request of an agent"},
      {"too large", [](World& w) { return w.ask(w.shown(), std::string(20'000, ' ')); }, 413,
       "more than 16384 bytes"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    World w;
    const Answer got = row.ask(w);
    CHECK_MESSAGE(got.status == row.status, got.body);
    CHECK_MESSAGE(got.body.find(row.text) != std::string::npos, got.body);
    CHECK(got.body.find("BEGIN CERTIFICATE") == std::string::npos);
  }
}

TEST_CASE(
    "a server that was restored renews with the authority of its files; one whose key is gone says so") {
  World w(true);
  CHECK(w.keys->opened() == nullptr);
  const Answer got = w.ask(w.shown(), w.body(w.csr(w.key)));
  REQUIRE_MESSAGE(got.status == 200, got.body);
  const auto answer = cluster::decode_renew_answer(got.body).value();
  CHECK(answer.ca_pem == w.device.identity.ca_pem);
  CHECK(pki::verify_signed_by(pki::parse_certificate(answer.certificate_pem).value(),
                              pki::parse_certificate(answer.ca_pem).value(), w.clock.wall()));
  const std::string shown = w.shown();
  w.device.identity.ca_key_pem.clear();
  const Answer none = w.ask(shown, w.body(w.csr(w.key)));
  CHECK(none.status == 503);
  CHECK(none.body.find("this server cannot sign certificates") != std::string::npos);
}

TEST_CASE("a server that has the denial refuses before it hands the request on") {
  World w;
  w.device.denied = w.denied.get();
  w.put(cluster::denied_key(sha256_hex(w.key.spki())), cluster::denied_record(w.agent, w.clock.wall()));
  REQUIRE(w.until([&] { return w.denied->has(pki::parse_certificate(w.shown()).value()); }));
  http::Request r;
  r.method = "POST";
  r.peer.kind = http::Peer::Kind::tls;
  r.peer.client_certificate_der = w.shown();
  bool admitted = true;
  const auto answer =
      w.begin(std::move(r), [&](const http::ExchangePtr& e) { admitted = w.service->admit(e); });
  CHECK_FALSE(admitted);
  REQUIRE(w.until([&] { return answer->ended; }));
  CHECK(answer->status == 403);
}

TEST_CASE("certificates are signed a few at once, and the words of an agent as often as it likes") {
  World w;
  for (int i = 0; i < 6; ++i) CHECK(w.ask(w.shown(), w.body(w.csr(w.key))).status == 200);
  const Answer more = w.ask(w.shown(), w.body(w.csr(w.key)));
  CHECK(more.status == 429);
  CHECK(more.body.find("field-1 had several certificates signed within minutes") != std::string::npos);
  CHECK(w.ask(w.shown(), w.body()).status == 200);
  // Another one is not put off.
  w.agent.name = "field-2";
  w.put(cluster::device_key("field-2"), encode(w.agent));
  CHECK(w.ask(w.shown({"field-2", false}), w.body(w.csr(w.key))).status == 200);
}

TEST_CASE("the replacement of the authority waits for an agent until it has told that it is that far") {
  World w;
  CHECK_FALSE(w.waited_for("field-1"));
  const Answer begun = w.authority("POST", R"({"patienceSeconds":3600})");
  REQUIRE_MESSAGE(begun.status == 200, begun.body);
  REQUIRE(w.until([&] { return w.keys->opened()->authorities.step == cluster::AuthorityStep::trusting; }));
  REQUIRE(w.until([&] { return w.waited_for("field-1"); }));
  // It learns of both, and has not got them yet.
  const auto answer = cluster::decode_renew_answer(w.ask(w.shown(), w.body()).body).value();
  const auto both = pki::parse_bundle(answer.ca_pem).value();
  REQUIRE(both.size() == 2);
  CHECK(w.waited_for("field-1"));
  CHECK(w.ask(w.shown(), w.body("", {both[0].spki_sha256(), both[1].spki_sha256()})).status == 200);
  CHECK_FALSE(w.waited_for("field-1"));
  // Who leaves is not waited for.
  cluster::Device other = w.agent;
  other.name = "field-2";
  w.put(cluster::device_key("field-2"), encode(other));
  REQUIRE(w.until([&] { return w.waited_for("field-2"); }));
  other.state = cluster::DeviceState::removed;
  w.put(cluster::device_key("field-2"), encode(other));
  CHECK(w.until([&] { return !w.waited_for("field-2"); }));
}

}  // namespace limpet::daemon::test
