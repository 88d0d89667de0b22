// What follows a deletion: dependents, finalizers, the contents of namespaces.
#include "api/garbage.h"
#include "fixture.h"

namespace limpet::api::test {
namespace {

const std::string kMaps = "/api/v1/namespaces/default/configmaps";

std::string owned(const std::string& name, const std::vector<std::string>& uids, bool blocks = false) {
  std::string refs;
  for (const std::string& uid : uids) {
    size_t colon = uid.find(':');
    if (!refs.empty()) refs += ',';
    refs += R"({"apiVersion":"v1","kind":"ConfigMap","name":")" + uid.substr(0, colon) + R"(","uid":")" +
            uid.substr(colon + 1) + R"(","blockOwnerDeletion":)" + (blocks ? "true" : "false") + "}";
  }
  return R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":")" + name + R"(","ownerReferences":[)" +
         refs + "]}}";
}

std::string make(Server& s, const std::string& name) {
  Answer a = s.post(kMaps, config_map(name));
  REQUIRE(a.status == 201);
  return name + ":" + a.json()["metadata"]["uid"].str();
}

bool gone(Server& s, const std::string& target) {
  return s.until([&] { return s.get(target).status == 404; });
}

}  // namespace

TEST_CASE("the verdict on a dependent") {
  using S = OwnerState;
  using A = Verdict::Action;
  struct {
    std::vector<S> owners;
    A action;
    size_t dead;
  } rows[] = {
      {{}, A::keep, 0},
      {{S::alive}, A::keep, 0},
      {{S::unknown}, A::keep, 0},
      {{S::absent}, A::remove, 1},
      {{S::foreground}, A::remove, 0},
      {{S::absent, S::foreground}, A::remove, 1},
      {{S::alive, S::absent}, A::trim, 1},
      {{S::alive, S::foreground}, A::keep, 0},
      {{S::absent, S::absent, S::unknown}, A::trim, 2},
  };
  for (const auto& row : rows) {
    std::vector<OwnerRef> refs(row.owners.size());
    Verdict v = judge_dependent(refs, row.owners);
    CHECK(v.action == row.action);
    CHECK(v.dead.size() == row.dead);
  }
}

TEST_CASE("dependents follow their last owner") {
  Server s;
  std::string a = make(s, "a"), b = make(s, "b");
  REQUIRE(s.post(kMaps, owned("both", {a, b})).status == 201);
  REQUIRE(s.post(kMaps, owned("only-a", {a})).status == 201);
  REQUIRE(
      s.post(kMaps, owned("below", {"only-a:" + s.get(kMaps + "/only-a").json()["metadata"]["uid"].str()}))
          .status == 201);
  s.remove(kMaps + "/a");
  CHECK(gone(s, kMaps + "/only-a"));
  CHECK(gone(s, kMaps + "/below"));
  CHECK(s.until([&] { return s.get(kMaps + "/both").json()["metadata"]["ownerReferences"].size() == 1; }));
  s.remove(kMaps + "/b");
  CHECK(gone(s, kMaps + "/both"));
  // An owner that never was.
  REQUIRE(s.post(kMaps, owned("stray", {"nobody:123"})).status == 201);
  CHECK(gone(s, kMaps + "/stray"));
}

TEST_CASE("foreground waits for the dependents, orphan sets them free") {
  Server s;
  std::string a = make(s, "a");
  REQUIRE(s.post(kMaps, owned("dep", {a}, true)).status == 201);
  Answer d = s.remove(kMaps + "/a", R"({"propagationPolicy":"Foreground"})");
  CHECK(d.status == 202);
  CHECK(d.body.find("foregroundDeletion") != std::string::npos);
  CHECK(gone(s, kMaps + "/dep"));
  CHECK(gone(s, kMaps + "/a"));
  std::string b = make(s, "b");
  REQUIRE(s.post(kMaps, owned("free", {b})).status == 201);
  s.remove(kMaps + "/b", R"({"propagationPolicy":"Orphan"})");
  CHECK(gone(s, kMaps + "/b"));
  CHECK(s.get(kMaps + "/free").json()["metadata"]["ownerReferences"].size() == 0);
}

TEST_CASE("finalizers hold an object until they are taken away") {
  Server s;
  s.post(kMaps,
         R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"f","finalizers":["example.com/x"]}})");
  Answer d = s.remove(kMaps + "/f");
  CHECK(d.status == 200);
  CHECK(d.body.find("deletionTimestamp") != std::string::npos);
  CHECK(s.get(kMaps + "/f").status == 200);
  s.patch(kMaps + "/f", "application/merge-patch+json", R"({"metadata":{"finalizers":null}})");
  CHECK(s.get(kMaps + "/f").status == 404);
}

TEST_CASE("a namespace takes its contents along") {
  Server s;
  REQUIRE(s.post("/api/v1/namespaces", R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"n"}})")
              .status == 201);
  Answer n = s.get("/api/v1/namespaces/n");
  CHECK(n.body.find(R"("kubernetes.io/metadata.name":"n")") != std::string::npos);
  CHECK(n.body.find(R"("finalizers":["kubernetes"])") != std::string::npos);
  CHECK(s.get("/api/v1/namespaces/n/serviceaccounts/default").status == 200);
  s.post("/api/v1/namespaces/n/configmaps", config_map("a"));
  s.post("/api/v1/namespaces/n/pods", pod("p"));
  Answer d = s.remove("/api/v1/namespaces/n");
  CHECK(d.status == 200);
  CHECK(d.body.find(R"("phase":"Terminating")") != std::string::npos);
  Answer late = s.post("/api/v1/namespaces/n/configmaps", config_map("late"));
  CHECK((late.status == 403 || late.status == 404));
  if (late.status == 403) CHECK(late.message().find("because it is being terminated") != std::string::npos);
  CHECK(gone(s, "/api/v1/namespaces/n"));
  CHECK(s.get("/api/v1/namespaces/n/configmaps").json()["items"].size() == 0);
  CHECK(s.get("/api/v1/namespaces/n/pods").json()["items"].size() == 0);
  // Again under the same name.
  CHECK(s.post("/api/v1/namespaces", R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"n"}})")
            .status == 201);
  for (const char* name : {"default", "kube-system", "kube-public", "kube-node-lease"}) {
    Answer no = s.remove("/api/v1/namespaces/" + std::string(name));
    CHECK(no.status == 403);
    CHECK(no.message().find("this namespace may not be deleted") != std::string::npos);
  }
}

TEST_CASE("what every namespace has comes back") {
  Server s;
  const std::string account = "/api/v1/namespaces/default/serviceaccounts/default";
  std::string uid = s.get(account).json()["metadata"]["uid"].str();
  s.remove(account);
  CHECK(s.until([&] {
    Answer a = s.get(account);
    return a.status == 200 && a.json()["metadata"]["uid"].str() != uid;
  }));
  s.remove(kMaps + "/kube-root-ca.crt");
  CHECK(s.until([&] { return s.get(kMaps + "/kube-root-ca.crt").status == 200; }));
}

TEST_CASE("events leave after an hour") {
  Server s(nullptr, [](Options& o) { o.event_sweep_ms = 2; });
  const std::string events = "/api/v1/namespaces/default/events";
  Answer a = s.post(
      events,
      R"({"apiVersion":"v1","kind":"Event","metadata":{"name":"e"},"involvedObject":{"kind":"Pod","name":"p","namespace":"default"},"reason":"Started","type":"Normal","lastTimestamp":"2026-01-01T00:00:00Z","firstTimestamp":"2026-01-01T00:00:00Z"})");
  INFO(a.body);
  REQUIRE(a.status == 201);
  CHECK(std::stoll(a.json()["metadata"]["resourceVersion"].str()) > (1ll << 32));
  CHECK(s.get(events + "?fieldSelector=involvedObject.name%3Dp").json()["items"].size() == 1);
  CHECK(s.get(events + "?fieldSelector=involvedObject.name%3Dq").json()["items"].size() == 0);
  CHECK(s.get(events + "?watch=true&resourceVersion=5").body.find("410") != std::string::npos);
  s.clock.set_wall({1767225600 + 3599, 0});
  for (int i = 0; i < 20; ++i) s.turn();
  CHECK(s.get(events).json()["items"].size() == 1);
  s.clock.set_wall({1767225600 + 3601, 0});
  CHECK(s.until([&] { return s.get(events).json()["items"].size() == 0; }));
}

}  // namespace limpet::api::test
