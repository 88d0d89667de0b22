// Who is let in by a server with a real store, whose calls the test can hold back, fail, or overtake.
#include "daemon/join_service.h"

#include <doctest/doctest.h>

#include "../scripted_store.h"
#include "../temp_dir.h"
#include "api/object.h"
#include "base/log.h"
#include "base/sha256.h"
#include "client/memory_exchange.h"
#include "cluster/token.h"
#include "daemon/denied.h"
#include "daemon/leadership.h"
#include "daemon/member_records.h"
#include "pki/device.h"
#include "schema/types.h"

namespace limpet::daemon::test {
namespace {

using limpet::test::ScriptedSpace;
using limpet::test::ScriptedStore;
using limpet::test::TempDir;

struct Answer {
  int status = 0;
  std::string reason, message, retry_after;
};

struct Call {
  std::shared_ptr<client::MemoryExchange> exchange;
  std::string body;
  std::optional<Answer> answer;
};

std::vector<std::string> refusals;  // lines of the log

// The founder of a cluster, alone, and devices that ask it.
struct World {
  TempDir dir;
  loop::Loop loop;
  SystemClock clock;
  SystemRandom random;
  std::unique_ptr<ScriptedStore> store;
  std::unique_ptr<Leadership> leadership;
  std::unique_ptr<MemberRecords> members;
  Device device{.loop = loop,
                .clock = clock,
                .random = random,
                .config = check_config("node:\n  address: 192.0.2.1\n").config,
                .node_name = "founder"};
  std::unique_ptr<KeyRing> keys;
  std::unique_ptr<JoinService> joins;
  cluster::Token token;
  int joined = 0;
  pki::PrivateKey key = pki::PrivateKey::generate(random).value();

  World() {
    store::Options o;
    o.path = dir.path + "/store";
    store = std::make_unique<ScriptedStore>(store::Store::open(loop, o, clock).value());
    leadership = std::make_unique<Leadership>(loop, store->consensus());
    members = std::make_unique<MemberRecords>(loop, store->durable(), [] {});
    const pki::IdentityOptions identity{.directory = dir.path + "/pki",
                                        .node_name = "founder",
                                        .names = {{"localhost"}, {}},
                                        .server_url = "https://127.0.0.1:6443",
                                        .kubeconfig_path = ""};
    device.identity = pki::ensure_identity(identity, {clock.wall(), SystemClock::machine()}, random).value();
    device.store = store.get();
    device.leadership = leadership.get();
    device.members = members.get();
    keys = std::make_unique<KeyRing>(device);
    joins = std::make_unique<JoinService>(device, *keys, [this] { ++joined; });
    REQUIRE(until([&] { return leadership->term() != 0 && members->known(); }));
    token = cluster::make_token(pki::parse_certificate(device.identity.ca_pem)->spki_sha256(), random);
    grant({});
    refusals.clear();
    log::set_sink([](log::Level, std::string_view line) {
      if (line.find("was not let in") != std::string_view::npos) refusals.emplace_back(line);
    });
  }
  ~World() {
    log::set_sink(nullptr);
    joins.reset();
    keys.reset();
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
  void put(const std::string& name, std::string value) {
    bool done = false;
    store::Txn txn;
    txn.ops.push_back({store::Op::Type::put, name, std::move(value), std::nullopt});
    store->durable().real().commit(std::move(txn), [&](Result<store::Committed> r) {
      REQUIRE(r);
      done = true;
    });
    REQUIRE(until([&] { return done; }));
  }
  std::string value(const std::string& name) {
    std::optional<std::string> out;
    store->durable().real().get(name, [&](Result<std::optional<store::Item>> r) {
      REQUIRE(r);
      out = *r ? std::string(*(*r)->value) : "";
    });
    REQUIRE(until([&] { return out.has_value(); }));
    return *out;
  }
  // What the token is good for.
  void grant(std::optional<int64_t> uses) {
    const json::Value secret = cluster::token_secret(token, {cluster::Role::server, 0, uses, ""});
    put("secrets/kube-system/" + cluster::token_secret_name(token.id),
        api::canonical(*schema::find_resource("", "v1", "secrets"), secret));
  }
  std::string denied_record() const { return denied_key(sha256_hex(key.spki())); }
  cluster::JoinRequest request(const std::string& name, raft::MemberId member = 7) {
    return {name,
            cluster::Role::server,
            pki::make_request(key, {name, {}}, {}, random).value(),
            LIMPET_VERSION,
            member,
            {"192.0.2.7:6444"},
            6443};
  }
  std::shared_ptr<Call> begin(const cluster::JoinRequest& wanted,
                              const std::function<void(http::Request&)>& bend = {}) {
    http::Request r;
    r.method = "POST";
    r.path = "/limpet/v1/join";
    r.body = encode(wanted);
    r.headers.add("Authorization", "Bearer " + token.text());
    r.peer.kind = http::Peer::Kind::tls;
    r.peer.address = "192.0.2.7:40000";
    if (bend) bend(r);
    auto call = std::make_shared<Call>();
    const std::weak_ptr<Call> weak(call);
    call->exchange = std::make_shared<client::MemoryExchange>(
        loop, std::move(r),
        client::MemoryExchange::Receiver{.on_head =
                                             [weak](int status, const http::Headers& h) {
                                               if (const auto c = weak.lock())
                                                 c->answer = Answer{status, "", "",
                                                                    std::string(h.get("Retry-After"))};
                                             },
                                         .on_body =
                                             [weak](std::string_view bytes) {
                                               if (const auto c = weak.lock()) c->body += bytes;
                                             },
                                         .on_end =
                                             [weak](bool) {
                                               const auto c = weak.lock();
                                               if (!c) return;
                                               if (!c->answer) c->answer = Answer{};
                                               c->answer->reason = json::Cursor(c->body)["reason"].str();
                                               c->answer->message = json::Cursor(c->body)["message"].str();
                                             }});
    joins->serve(call->exchange);
    return call;
  }
  Answer end(const std::shared_ptr<Call>& call) {
    REQUIRE(until([&] { return call->answer && !call->body.empty(); }));
    return *call->answer;
  }
  Answer ask(const cluster::JoinRequest& wanted, const std::function<void(http::Request&)>& bend = {}) {
    return end(begin(wanted, bend));
  }
  void settle() {
    loop.run_until([] { return false; }, 20);
  }
  raft::MemberId member_of(const std::string& name) {
    const std::string record = value(cluster::device_key(name));
    return record.empty() ? 0 : cluster::decode_device(record)->member;
  }
};

std::string denied_json(const char* state) {
  return R"({"name":"stolen","at":"2026-05-27T20:26:40Z")" +
         (*state == '\0' ? std::string("}") : ",\"state\":\"" + std::string(state) + "\"}");
}

}  // namespace

TEST_CASE("the first device is let in, and the founder's record is written with its own") {
  World w;
  w.put(w.denied_record(), denied_json("removed"));
  const Answer answer = w.ask(w.request("edge-7"));
  CHECK_MESSAGE(answer.status == 200, answer.message);
  CHECK(w.joined == 1);
  CHECK(w.member_of("edge-7") == 7);
  CHECK(w.member_of("founder") == w.store->consensus().self());
  CHECK(w.value(w.denied_record()).empty());
}

TEST_CASE("the name of the founder is held, also before anybody joined") {
  World w;
  const Answer first = w.ask(w.request("founder"));
  CHECK(first.status == 409);
  CHECK(first.reason == "AlreadyExists");
  CHECK_MESSAGE(first.message.starts_with("the name founder is held by a server at 192.0.2.1:6444"),
                first.message);
  CHECK(w.store->durable().commits == 0);
  // A copy of it has its key.
  w.key = pki::PrivateKey::from_pem(w.device.identity.peer_key_pem, w.random).value();
  CHECK(w.ask(w.request("founder", 9)).status == 409);
  REQUIRE(w.ask(w.request("edge-7")).status == 200);
  CHECK(w.ask(w.request("founder", 9)).status == 409);
  CHECK(w.member_of("founder") == w.store->consensus().self());
}

TEST_CASE("a restored server keeps its name, whatever is recorded of who had it") {
  for (const auto state : {cluster::DeviceState::active, cluster::DeviceState::removed}) {
    World w;
    cluster::Device before;
    before.name = "founder";
    before.role = cluster::Role::server;
    before.member = 99;
    before.addresses = {"192.0.2.99:6444"};
    before.spki = w.key.spki();
    before.state = state;
    w.put(cluster::device_key("founder"), encode(before));
    const Answer answer = w.ask(w.request("founder", 9));
    CHECK(answer.status == 409);
    CHECK_MESSAGE(answer.message.starts_with("the name founder is held by a server at 192.0.2.1:6444"),
                  answer.message);
  }
}

TEST_CASE("of two devices that take the last use of a token in the same moment one is let in") {
  World w;
  w.grant(1);
  const auto first = w.begin(w.request("edge-7", 7));
  w.key = pki::PrivateKey::generate(w.random).value();
  const auto second = w.begin(w.request("edge-8", 8));
  const Answer answers[] = {w.end(first), w.end(second)};
  const bool first_won = answers[0].status == 200;
  CHECK(answers[first_won ? 0 : 1].status == 200);
  const Answer& refused = answers[first_won ? 1 : 0];
  CHECK(refused.status == 401);
  CHECK_MESSAGE(refused.message.find("is used up") != std::string::npos, refused.message);
  CHECK(w.joined == 1);
  CHECK((w.member_of("edge-7") == 0) != (w.member_of("edge-8") == 0));
}

TEST_CASE("a key that was revoked is not let in under any name, and stays revoked") {
  World w;
  w.put(w.denied_record(), denied_json("revoked"));
  const Answer answer = w.ask(w.request("edge-8"));
  CHECK(answer.status == 403);
  CHECK_MESSAGE(answer.message.starts_with("the key of this device was revoked, as that of stolen"),
                answer.message);
  CHECK(w.value(w.denied_record()) == denied_json("revoked"));
  CHECK(w.member_of("edge-8") == 0);
}

TEST_CASE("a server that is about to leave does not come back before it is gone, nor ever when revoked") {
  struct Row {
    cluster::DeviceState state;
    int status;
  };
  for (const Row& row : {Row{cluster::DeviceState::active, 200}, Row{cluster::DeviceState::removed, 503},
                         Row{cluster::DeviceState::revoked, 403}}) {
    CAPTURE(row.status);
    World w;
    cluster::Device leaving;
    leaving.name = "edge-7";
    leaving.role = cluster::Role::server;
    leaving.member = 9;
    leaving.addresses = {"192.0.2.7:6444"};
    leaving.spki = w.key.spki();
    leaving.state = row.state;
    w.put(cluster::member_key(9), encode(leaving));
    REQUIRE(w.until([&] { return w.members->find(9) != nullptr; }));
    CHECK(w.ask(w.request("edge-8")).status == row.status);
  }
}

TEST_CASE("who is revoked while it joins is not let in") {
  for (const char* before : {"none", "removed"}) {
    CAPTURE(before);
    World w;
    if (before == std::string("removed")) w.put(w.denied_record(), denied_json("removed"));
    w.store->durable().on_commit = [&](store::Txn& txn, ScriptedSpace::Committed& done) {
      w.store->durable().on_commit = {};
      store::Txn revoke;
      revoke.ops.push_back({store::Op::Type::put, w.denied_record(), denied_json("revoked"), std::nullopt});
      w.store->durable().real().commit(std::move(revoke), [](Result<store::Committed> r) { CHECK(r); });
      w.store->durable().real().commit(std::move(txn), std::move(done));
      return true;
    };
    CHECK(w.ask(w.request("edge-7")).status == 403);
    CHECK(w.value(w.denied_record()) == denied_json("revoked"));
    CHECK(w.member_of("edge-7") == 0);
  }
}

TEST_CASE("trouble of the store is not the fault of the token") {
  struct Row {
    Errc code;
    int status;
    const char* reason;
    const char* retry_after;
    int commits;
  };
  for (const Row& row : {
           Row{Errc::exhausted, 507, "InsufficientStorage", "", 1},
           Row{Errc::expired, 503, "ServiceUnavailable", "1", 1},
           Row{Errc::unavailable, 503, "ServiceUnavailable", "1", 1},
           Row{Errc::timeout, 504, "Timeout", "", 1},
           Row{Errc::corrupt, 500, "InternalError", "", 1},
           // Every race was lost: nothing is wrong with the one who asks.
           Row{Errc::conflict, 503, "ServiceUnavailable", "1", 5},
       }) {
    CAPTURE(errc_name(row.code));
    World w;
    w.store->durable().on_commit = [&](store::Txn&, ScriptedSpace::Committed& done) {
      done(fail(row.code, "as the test has it"));
      return true;
    };
    const Answer answer = w.ask(w.request("edge-7"));
    CHECK(answer.status == row.status);
    CHECK(answer.reason == row.reason);
    CHECK(answer.retry_after == row.retry_after);
    CHECK(w.store->durable().commits == row.commits);
    CHECK(w.joined == 0);
    if (row.code == Errc::conflict) continue;
    w.store->durable().on_get = [&](const std::string&, ScriptedSpace::Got& done) {
      done(fail(row.code, "as the test has it"));
      return true;
    };
    CHECK(w.ask(w.request("edge-7")).status == row.status);
  }
  World w;
  w.grant(0);
  const Answer used_up = w.ask(w.request("edge-7"));
  CHECK(used_up.status == 401);
  CHECK(used_up.retry_after.empty());
}

TEST_CASE("the token is looked at before the request for a certificate, and that before any key is made") {
  World w;
  cluster::JoinRequest wanted = w.request("edge-7");
  wanted.csr_pem = "junk";
  w.store->durable().lists = 0;
  CHECK(w.ask(wanted).status == 400);
  w.token.secret = std::string(16, 'x');
  CHECK(w.ask(wanted).status == 401);
  CHECK(w.store->durable().lists == 0);
  CHECK(w.store->durable().commits == 0);
}

TEST_CASE("a request whose client is gone does not undo the next one") {
  World w;
  store::Txn held;
  ScriptedSpace::Committed done;
  w.store->durable().on_commit = [&](store::Txn& txn, ScriptedSpace::Committed& f) {
    held = std::move(txn);
    done = std::move(f);
    w.store->durable().on_commit = {};
    return true;
  };
  const auto first = w.begin(w.request("edge-7", 7));
  REQUIRE(w.until([&] { return done != nullptr; }));
  first->exchange->cancel();
  REQUIRE(w.ask(w.request("edge-7", 8)).status == 200);
  bool over = false;
  w.store->durable().real().commit(std::move(held), [&](Result<store::Committed> r) {
    CHECK_FALSE(r);
    done(std::move(r));
    over = true;
  });
  REQUIRE(w.until([&] { return over; }));
  w.settle();
  CHECK(w.member_of("edge-7") == 8);
  CHECK(w.store->durable().commits == 2);
  CHECK(w.joined == 1);
}

TEST_CASE("nothing is committed for a client that is gone") {
  World w;
  for (const std::string part : {"secrets/", "limpet/devices/", "limpet/denied/"}) {
    CAPTURE(part);
    std::function<void()> go_on;
    w.store->durable().on_get = [&](const std::string& key, ScriptedSpace::Got& done) {
      if (!key.starts_with(part)) return false;
      go_on = [&w, key, done = std::move(done)] { w.store->durable().real().get(key, done); };
      return true;
    };
    const auto call = w.begin(w.request("edge-7"));
    REQUIRE(w.until([&] { return go_on != nullptr; }));
    call->exchange->cancel();
    w.store->durable().on_get = {};
    go_on();
    w.settle();
  }
  CHECK(w.store->durable().commits == 0);
  CHECK(w.member_of("edge-7") == 0);
}

TEST_CASE("refusals are logged once a minute and address, which a server that hands on tells") {
  World w;
  const cluster::Token good = w.token;
  w.token.secret = std::string(16, 'x');
  const auto from = [](const char* address, http::Peer::Kind kind, const char* told) {
    return [=](http::Request& r) {
      r.peer.address = address;
      r.peer.kind = kind;
      if (*told != '\0') r.headers.add(client_header, told);
    };
  };
  struct Row {
    const char* address;
    http::Peer::Kind kind;
    const char* told;
    const char* logged;  // "": not again
  };
  const auto tls = http::Peer::Kind::tls, server = http::Peer::Kind::forwarded;
  for (const Row& row : {
           Row{"192.0.2.7:40000", tls, "", "from=192.0.2.7:40000 "},
           Row{"192.0.2.7:40001", tls, "", ""},
           Row{"192.0.2.7:40002", tls, "192.0.2.66:1", ""},  // not believed
           Row{"192.0.2.2:6444", server, "192.0.2.7:40003", ""},
           Row{"192.0.2.2:6444", server, "192.0.2.8:40000", "from=192.0.2.8:40000 "},
           Row{"192.0.2.2:6444", server, "[fd00::8]:40000", "from=[fd00::8]:40000 "},
           Row{"192.0.2.2:6444", server, "no address", "from=192.0.2.2:6444 "},
           Row{"192.0.2.3:6444", server, "", "from=192.0.2.3:6444 "},
       }) {
    CAPTURE(row.address);
    CAPTURE(row.told);
    refusals.clear();
    CHECK(w.ask(w.request("edge-7"), from(row.address, row.kind, row.told)).status == 401);
    CHECK(refusals.size() == (*row.logged == '\0' ? 0 : 1));
    for (const std::string& line : refusals) CHECK_MESSAGE(line.find(row.logged) != std::string::npos, line);
  }
}

}  // namespace limpet::daemon::test
