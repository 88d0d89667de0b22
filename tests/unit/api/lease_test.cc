// Leases: what of them is written to flash and what is not, what outlasts the leader, and heartbeats.
#include "api/lease_space.h"
#include "fixture.h"

namespace limpet::api::test {
namespace {

const std::string kLeases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
const std::string kNodeLeases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

std::string lease(const std::string& name, const std::string& holder, int second,
                  const std::string& more = "") {
  return R"({"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":")" + name + "\"" +
         more + R"(},"spec":{"holderIdentity":")" + holder +
         R"(","leaseDurationSeconds":15,"renewTime":"2026-01-01T00:00:)" + (second < 10 ? "0" : "") +
         std::to_string(second) + R"(.000000Z"}})";
}

std::string node(const std::string& name) {
  return R"({"apiVersion":"v1","kind":"Node","metadata":{"name":")" + name + "\"}}";
}

Ask heartbeat(const std::string& name, const std::string& body = "") {
  return {.method = "POST",
          .target = "/limpet/v1/heartbeat",
          .body = body,
          .user = "system:node:" + name,
          .groups = {"system:nodes"}};
}

std::string renewed(const Answer& lease) { return lease.json()["spec"]["renewTime"].str(); }

uint64_t version(const Answer& a) { return std::stoull(a.json()["metadata"]["resourceVersion"].str()); }

// Commits to the durable space by what is done.
template <class F>
store::Revision writes(Server& s, F what) {
  const store::Revision before = s.store->durable().revision();
  what();
  return s.store->durable().revision() - before;
}

}  // namespace

TEST_CASE("a renewal is no durable write; a new holder, a transition or a label is one") {
  Server s;
  const std::string one = kLeases + "/one";
  CHECK(writes(s, [&] { REQUIRE(s.post(kLeases, lease("one", "a", 1)).status == 201); }) == 1);
  Answer last;
  CHECK(writes(s, [&] {
          for (int i = 2; i < 20; ++i) {
            const uint64_t before = version(s.get(one));
            s.clock.set_wall({1767225600 + i, 0});
            last = s.put(one, lease("one", "a", i));
            REQUIRE(last.status == 200);
            CHECK(version(last) > before);
          }
        }) == 0);
  CHECK(renewed(s.get(one)) == "2026-01-01T00:00:19.000000Z");
  const struct {
    const char *what, *patch;
    store::Revision writes;
  } rows[] = {
      {"a renewal by patch", R"({"spec":{"renewTime":"2026-01-01T00:00:20.000000Z"}})", 0},
      {"nothing", "{}", 0},
      {"another holder", R"({"spec":{"holderIdentity":"b","renewTime":"2026-01-01T00:00:21.000000Z"}})", 1},
      {"a transition", R"({"spec":{"leaseTransitions":1}})", 1},
      {"when it was taken", R"({"spec":{"acquireTime":"2026-01-01T00:00:21.000000Z"}})", 1},
      {"how long it holds", R"({"spec":{"leaseDurationSeconds":30}})", 1},
      {"a label", R"({"metadata":{"labels":{"x":"y"}}})", 1},
      {"no holder", R"({"spec":{"holderIdentity":null}})", 1},
  };
  for (const auto& row : rows) {
    INFO(row.what);
    CHECK(writes(s, [&] {
            REQUIRE(s.patch(one, "application/merge-patch+json", row.patch).status == 200);
          }) == row.writes);
  }
  CHECK(writes(s, [&] { REQUIRE(s.remove(one).status == 200); }) == 1);
  CHECK(s.get(one).status == 404);
  CHECK(s.store->durable().count("leases.coordination.k8s.io/") == 0);
}

TEST_CASE("optimistic locking as elections use it") {
  Server s;
  REQUIRE(s.post(kLeases, lease("one", "a", 1)).status == 201);
  CHECK(s.post(kLeases, lease("one", "b", 1)).status == 409);
  const auto with_version = [](const Answer& at, const std::string& holder, int second) {
    return lease("one", holder, second,
                 R"(,"resourceVersion":")" + at.json()["metadata"]["resourceVersion"].str() + "\"");
  };
  const Answer seen = s.get(kLeases + "/one");
  // Several want it at once: of those that saw the same version one gets it.
  std::vector<Server::Open> rivals;
  for (const char* who : {"b", "c", "d"})
    rivals.push_back(
        s.open({.method = "PUT", .target = kLeases + "/one", .body = with_version(seen, who, 9)}));
  int won = 0, lost = 0;
  for (Server::Open& r : rivals) {
    REQUIRE(s.until([&] { return r.answer->over; }));
    won += r.answer->status == 200;
    lost += r.answer->status == 409;
  }
  CHECK(won == 1);
  CHECK(lost == 2);
  const Answer now = s.get(kLeases + "/one");
  CHECK(now.json()["spec"]["holderIdentity"].str() == "b");
  CHECK(s.put(kLeases + "/one", with_version(seen, "a", 10)).status == 409);
  CHECK(s.put(kLeases + "/one", with_version(now, "b", 10)).status == 200);
}

TEST_CASE("renewals that come while a new holder is being written wait for it") {
  Server s;
  REQUIRE(s.post(kLeases, lease("one", "a", 1)).status == 201);
  Server::Open take = s.open({.method = "PUT", .target = kLeases + "/one", .body = lease("one", "b", 2)});
  Server::Open renew = s.open({.method = "PATCH",
                               .target = kLeases + "/one",
                               .body = R"({"spec":{"renewTime":"2026-01-01T00:00:03.000000Z"}})",
                               .type = "application/merge-patch+json"});
  REQUIRE(s.until([&] { return take.answer->over && renew.answer->over; }));
  CHECK(take.answer->status == 200);
  CHECK(renew.answer->status == 200);
  const Answer now = s.get(kLeases + "/one");
  CHECK(now.json()["spec"]["holderIdentity"].str() == "b");
  CHECK(renewed(now) == "2026-01-01T00:00:03.000000Z");
}

TEST_CASE("watches and lists of leases are on the volatile line") {
  Server s;
  REQUIRE(s.post(kLeases, lease("one", "a", 1)).status == 201);
  Answer list = s.get("/apis/coordination.k8s.io/v1/leases");
  const std::string from = list.json()["metadata"]["resourceVersion"].str();
  CHECK((std::stoll(from) >> 32) == (s.store->transient().revision() >> 32));
  Server::Open watch =
      s.open({.target = "/apis/coordination.k8s.io/v1/leases?watch=1&resourceVersion=" + from});
  REQUIRE(s.put(kLeases + "/one", lease("one", "a", 2)).status == 200);  // volatile
  REQUIRE(s.put(kLeases + "/one", lease("one", "b", 3)).status == 200);  // durable, too
  REQUIRE(s.post("/api/v1/nodes", node("n")).status == 201);
  REQUIRE(s.remove(kLeases + "/one").status == 200);
  REQUIRE(s.until([&] { return watch.lines().size() == 4; }));
  const auto lines = watch.lines();
  CHECK(lines[0].starts_with(R"({"type":"MODIFIED")"));
  CHECK(lines[1].starts_with(R"({"type":"MODIFIED")"));
  CHECK((lines[2].starts_with(R"({"type":"ADDED")") || lines[3].starts_with(R"({"type":"ADDED")")));
  CHECK((lines[2].starts_with(R"({"type":"DELETED")") || lines[3].starts_with(R"({"type":"DELETED")")));
  watch.exchange->cancel();
}

TEST_CASE("what outlasts the leader's memory, and what does not") {
  store::Options options;
  Server s(nullptr, nullptr, options);
  REQUIRE(s.post(kLeases, lease("one", "a", 1)).status == 201);
  REQUIRE(s.post(kLeases, lease("gone", "a", 1)).status == 201);
  REQUIRE(s.put(kLeases + "/one", lease("one", "b", 2)).status == 200);
  REQUIRE(s.put(kLeases + "/one", lease("one", "b", 9)).status == 200);
  REQUIRE(s.remove(kLeases + "/gone").status == 200);
  REQUIRE(s.post("/api/v1/nodes", node("n")).status == 201);
  REQUIRE(s.ask(heartbeat("n")).status == 204);
  CHECK(s.store->durable().count("leases.coordination.k8s.io/kube-node-lease/") == 0);
  const uint64_t before = version(s.get(kLeases + "/one"));
  s.reopen();
  const Answer one = s.get(kLeases + "/one");
  CHECK(one.json()["spec"]["holderIdentity"].str() == "b");
  CHECK(renewed(one) == "2026-01-01T00:00:02.000000Z");  // of the last durable write
  CHECK(version(one) > before);
  CHECK(s.get(kLeases + "/gone").status == 404);
  const Answer beat = s.get(kNodeLeases + "/n");
  CHECK(beat.json()["spec"]["holderIdentity"].str() == "n");
  CHECK(renewed(beat) == "");  // not heard of yet
  CHECK(s.get("/apis/coordination.k8s.io/v1/leases?resourceVersion=" + std::to_string(before) +
              "&resourceVersionMatch=Exact")
            .status == 410);
}

TEST_CASE("heartbeats") {
  Server s;
  REQUIRE(s.post("/api/v1/nodes", node("n")).status == 201);
  const std::string at = kNodeLeases + "/n";
  REQUIRE(s.until([&] { return s.get(at).status == 200; }));
  CHECK(renewed(s.get(at)) == "");
  const Answer made = s.get(at);
  CHECK(made.json()["metadata"]["ownerReferences"].at(0)["name"].str() == "n");
  CHECK(writes(s, [&] {
          s.clock.set_wall({1767225605, 250'000'000});
          CHECK(s.ask(heartbeat("n")).status == 204);
          CHECK(renewed(s.get(at)) == "2026-01-01T00:00:05.250000Z");
          CHECK(s.get(at).json()["spec"]["leaseDurationSeconds"].integer() == 40);
          CHECK(s.ask(heartbeat("n", R"({"leaseDurationSeconds":240})")).status == 204);
          CHECK(s.get(at).json()["spec"]["leaseDurationSeconds"].integer() == 240);
        }) == 0);
  CHECK(s.get(at).json()["metadata"]["uid"].str() == made.json()["metadata"]["uid"].str());
  CHECK(version(s.get(at)) > version(made));
  // Table and list as kubectl asks for them.
  CHECK(s.get(kNodeLeases).json()["items"].size() == 1);
  // It comes back when somebody deletes it, and goes with its Node.
  REQUIRE(s.remove(at).status == 200);
  CHECK(s.ask(heartbeat("n")).status == 204);
  CHECK(s.get(at).status == 200);
  REQUIRE(s.remove("/api/v1/nodes/n").status == 200);
  REQUIRE(s.until([&] { return s.get(at).status == 404; }));
  const Answer unknown = s.ask(heartbeat("n"));
  CHECK(unknown.status == 404);
  CHECK(unknown.message() == "nodes \"n\" not found");
  // As new as can be.
  REQUIRE(s.post("/api/v1/nodes", node("new")).status == 201);
  CHECK(s.ask(heartbeat("new")).status == 204);
}

TEST_CASE("heartbeats that are none") {
  Server s;
  REQUIRE(s.post("/api/v1/nodes", node("n")).status == 201);
  const struct {
    const char *body, *why;
  } rows[] = {
      {"nonsense", "invalid"},
      {"[]", "it is no object"},
      {"7", "it is no object"},
      {R"({"leaseDurationSeconds":9})", "a whole number from 10 to 3600"},
      {R"({"leaseDurationSeconds":3601})", "a whole number from 10 to 3600"},
      {R"({"leaseDurationSeconds":"40"})", "a whole number from 10 to 3600"},
      {R"({"leaseDurationSeconds":40.5})", "a whole number from 10 to 3600"},
      {R"({"leaseDurationSeconds":null})", "a whole number from 10 to 3600"},
      {R"({"seconds":40})", "unknown field \"seconds\""},
  };
  for (const auto& row : rows) {
    INFO(row.body);
    const Answer a = s.ask(heartbeat("n", row.body));
    CHECK(a.status == 400);
    if (std::string_view(row.why) != "invalid") CHECK(a.message().find(row.why) != std::string::npos);
  }
  CHECK(s.ask(heartbeat("n", std::string(300, ' ') + "{}")).message().find("too long") != std::string::npos);
  CHECK(renewed(s.get(kNodeLeases + "/n")) == "");
  Ask get = heartbeat("n");
  get.method = "GET";
  CHECK(s.ask(get).status == 403);
  Ask admin = heartbeat("n");
  admin.user = "admin";
  admin.groups = {"system:masters"};
  CHECK(s.ask(admin).status == 400);
  Ask stranger = heartbeat("n");
  stranger.groups = {};
  CHECK(s.ask(stranger).status == 403);
}

TEST_CASE("leases are bounded, and none is pushed out by another") {
  Server s;
  REQUIRE(s.post(kLeases, lease("first", "a", 1)).status == 201);
  const std::string large = R"(,"annotations":{"x":")" + std::string(200'000, 'x') + "\"}";
  int made = 0;
  Answer refused;
  for (int i = 0; i < 20; ++i) {
    refused = s.post(kLeases, lease("l" + std::to_string(i), "a", 1, large));
    if (refused.status != 201) break;
    ++made;
  }
  CHECK(refused.status == 507);
  CHECK(refused.message().find("delete some") != std::string::npos);
  CHECK(made == 10);
  CHECK(s.get(kLeases + "/first").status == 200);
  CHECK(s.put(kLeases + "/first", lease("first", "a", 2)).status == 200);  // a renewal finds its room
  CHECK(s.put(kLeases + "/first", lease("first", "a", 2, large)).status == 507);
  REQUIRE(s.remove(kLeases + "/l0").status == 200);
  CHECK(s.post(kLeases, lease("again", "a", 1, large)).status == 201);
}

TEST_CASE("leases with owners are collected, and go with their namespace") {
  Server s;
  const Answer owner = s.post("/api/v1/namespaces/default/configmaps", config_map("owner"));
  REQUIRE(owner.status == 201);
  REQUIRE(s.post(kLeases,
                 lease("owned", "a", 1,
                       R"(,"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"owner","uid":")" +
                           owner.json()["metadata"]["uid"].str() + "\"}]"))
              .status == 201);
  REQUIRE(s.put(kLeases + "/owned",
                lease("owned", "a", 2,
                      R"(,"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"owner","uid":")" +
                          owner.json()["metadata"]["uid"].str() + "\"}]"))
              .status == 200);
  REQUIRE(s.remove("/api/v1/namespaces/default/configmaps/owner").status == 200);
  CHECK(s.until([&] { return s.get(kLeases + "/owned").status == 404; }));
  REQUIRE(s.post("/api/v1/namespaces", R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"x"}})")
              .status == 201);
  const std::string there = "/apis/coordination.k8s.io/v1/namespaces/x/leases";
  REQUIRE(s.post(there, lease("one", "a", 1)).status == 201);
  REQUIRE(s.remove("/api/v1/namespaces/x").status == 200);
  CHECK(s.until([&] { return s.get("/api/v1/namespaces/x").status == 404; }));
  CHECK(s.store->durable().count("leases.coordination.k8s.io/") == 0);
  CHECK(s.store->transient().count("leases.coordination.k8s.io/") == 0);
}

TEST_CASE("a durable lease that another member wrote reaches memory") {
  Server s;
  REQUIRE(s.post(kLeases, lease("one", "a", 1)).status == 201);
  const auto put = [&](store::Op::Type type, const std::string& key, const std::string& value) {
    store::Txn txn;
    txn.ops.push_back({type, key, value, std::nullopt});
    bool done = false;
    s.store->durable().commit(std::move(txn), [&](Result<store::Committed> c) { done = c.has_value(); });
    REQUIRE(s.until([&] { return done; }));
  };
  using Type = store::Op::Type;
  const std::string key = "leases.coordination.k8s.io/default/one";
  put(Type::put, key,
      R"({"kind":"Lease","apiVersion":"coordination.k8s.io/v1","metadata":{"name":"one","namespace":"default","uid":"u"},"spec":{"holderIdentity":"z"}})");
  CHECK(s.until([&] { return s.get(kLeases + "/one").json()["spec"]["holderIdentity"].str() == "z"; }));
  put(Type::remove, key, "");
  CHECK(s.until([&] { return s.get(kLeases + "/one").status == 404; }));
}

}  // namespace limpet::api::test
