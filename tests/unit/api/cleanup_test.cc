// What follows a deletion: dependents, finalizers, the contents of namespaces.
#include "api/garbage.h"
#include "api/namespace_conditions.h"
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
  using Indices = std::vector<size_t>;
  struct {
    std::vector<S> owners;
    A action;
    Indices forget;
    bool waited_for;
  } rows[] = {
      {{}, A::keep, {}, false},
      {{S::alive}, A::keep, {}, false},
      {{S::unknown}, A::keep, {}, false},
      {{S::alive, S::unknown}, A::keep, {}, false},
      {{S::absent}, A::remove, {0}, false},
      {{S::foreground}, A::remove, {0}, true},
      {{S::absent, S::foreground}, A::remove, {0, 1}, true},
      {{S::alive, S::absent}, A::trim, {1}, false},
      {{S::alive, S::foreground}, A::trim, {1}, true},
      {{S::foreground, S::alive, S::absent}, A::trim, {0, 2}, true},
      {{S::foreground, S::unknown}, A::trim, {0}, true},
      {{S::absent, S::absent, S::unknown}, A::trim, {0, 1}, false},
  };
  for (const auto& row : rows) {
    std::vector<OwnerRef> refs(row.owners.size());
    for (size_t i = 0; i < refs.size(); ++i) refs[i].uid = std::to_string(i);
    Verdict v = judge_dependent(refs, row.owners);
    std::vector<std::string> forget;
    for (size_t i : row.forget) forget.push_back(std::to_string(i));
    CHECK(v.action == row.action);
    CHECK(v.forget == forget);
    CHECK(v.waited_for == row.waited_for);
  }
}

TEST_CASE("the index of owners follows every change") {
  auto object = [](const char* uid, const std::string& owners, bool waits = false) {
    return std::string(R"({"metadata":{"uid":")") + uid + R"(","ownerReferences":[)" + owners + "]" +
           (waits ? R"(,"deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["foregroundDeletion"])"
                  : "") +
           "}}";
  };
  auto owner = [](const char* uid, bool blocks) {
    return std::string(R"({"uid":")") + uid + R"(","blockOwnerDeletion":)" + (blocks ? "true}" : "false}");
  };
  using Keys = std::vector<std::string>;
  OwnerIndex index;
  std::string both = object("d", owner("a", true) + "," + owner("b", false));
  CHECK(index.update("x/d", "", both).empty());
  CHECK(index.dependents("a") == Keys{"x/d"});
  CHECK(index.dependents("b") == Keys{"x/d"});
  CHECK(index.blocked("a"));
  CHECK_FALSE(index.blocked("b"));
  CHECK(index.update("x/a", object("a", ""), object("a", "", true)).empty());
  // It goes on, but holds nobody up any more.
  std::string free = object("d", owner("a", false) + "," + owner("b", false));
  CHECK(index.update("x/d", both, free) == Keys{"x/a"});
  CHECK_FALSE(index.blocked("a"));
  CHECK(index.dependents("a") == Keys{"x/d"});
  CHECK(index.update("x/d", free, both).empty());
  CHECK(index.blocked("a"));
  // The reference goes, and the object.
  std::string one = object("d", owner("b", true));
  CHECK(index.update("x/d", both, one) == Keys{"x/a"});
  CHECK(index.dependents("a").empty());
  CHECK(index.update("x/d", one, "").empty());  // b waits for nothing
  CHECK(index.dependents("b").empty());
  // Objects that own each other.
  CHECK(index.update("x/d", "", both).empty());
  CHECK(index.update("x/a", object("a", "", true), object("a", owner("d", true), true)).empty());
  CHECK(index.in_circle("d"));
  CHECK_FALSE(index.in_circle("a"));
  index.clear();
  CHECK(index.dependents("a").empty());
  CHECK_FALSE(index.in_circle("d"));
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

TEST_CASE("foreground: another owner keeps the dependent, the one that waits loses it") {
  Server s;
  std::string a = make(s, "a"), b = make(s, "b");
  REQUIRE(s.post(kMaps, owned("dep", {a, b}, true)).status == 201);
  s.remove(kMaps + "/a", R"({"propagationPolicy":"Foreground"})");
  CHECK(gone(s, kMaps + "/a"));
  Answer dep = s.get(kMaps + "/dep");
  REQUIRE(dep.status == 200);
  std::vector<OwnerRef> owners = read_owners(dep.body);
  REQUIRE(owners.size() == 1);
  CHECK(owners[0].name == "b");
}

TEST_CASE("foreground: who is no dependent any more is not waited for") {
  Server s;
  std::string a = make(s, "a");
  // Held, so that a wait for it would be one for ever.
  REQUIRE(s.post(kMaps, owned("dep", {a}, true)).status == 201);
  s.patch(kMaps + "/dep", "application/merge-patch+json",
          R"({"metadata":{"finalizers":["example.com/x"],"ownerReferences":null}})");
  s.remove(kMaps + "/a", R"({"propagationPolicy":"Foreground"})");
  CHECK(gone(s, kMaps + "/a"));
  CHECK(s.get(kMaps + "/dep").json()["metadata"]["deletionTimestamp"].str().empty());
  // The same while the owner waits already.
  std::string b = make(s, "b");
  std::string body = owned("late", {b}, true);
  body.insert(body.find("\"name\":\"late\""), R"("finalizers":["example.com/x"],)");
  REQUIRE(s.post(kMaps, body).status == 201);
  s.remove(kMaps + "/b", R"({"propagationPolicy":"Foreground"})");
  REQUIRE(
      s.until([&] { return !s.get(kMaps + "/late").json()["metadata"]["deletionTimestamp"].str().empty(); }));
  CHECK(s.get(kMaps + "/b").status == 200);
  s.patch(kMaps + "/late", "application/merge-patch+json",
          R"({"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"b","uid":")" +
              b.substr(2) + R"(","blockOwnerDeletion":false}]}})");
  CHECK(gone(s, kMaps + "/b"));
  CHECK(s.get(kMaps + "/late").status == 200);
}

TEST_CASE("foreground: only dependents that block are waited for, the others follow") {
  Server s;
  std::string a = make(s, "a");
  std::string body = owned("held", {a}, false);
  body.insert(body.find("\"name\":\"held\""), R"("finalizers":["example.com/x"],)");
  REQUIRE(s.post(kMaps, body).status == 201);
  REQUIRE(s.post(kMaps, owned("plain", {a}, false)).status == 201);
  s.remove(kMaps + "/a", R"({"propagationPolicy":"Foreground"})");
  CHECK(gone(s, kMaps + "/a"));
  CHECK(gone(s, kMaps + "/plain"));
  CHECK(
      s.until([&] { return !s.get(kMaps + "/held").json()["metadata"]["deletionTimestamp"].str().empty(); }));
}

TEST_CASE("foreground goes down to the last generation, and objects that own each other go too") {
  Server s;
  std::string a = make(s, "a");
  auto uid = [&](const std::string& name) {
    return name + ":" + s.get(kMaps + "/" + name).json()["metadata"]["uid"].str();
  };
  REQUIRE(s.post(kMaps, owned("child", {a}, true)).status == 201);
  std::string body = owned("grandchild", {uid("child")}, true);
  body.insert(body.find("\"name\":\"grandchild\""), R"("finalizers":["example.com/x"],)");
  REQUIRE(s.post(kMaps, body).status == 201);
  s.remove(kMaps + "/a", R"({"propagationPolicy":"Foreground"})");
  REQUIRE(s.until(
      [&] { return !s.get(kMaps + "/grandchild").json()["metadata"]["deletionTimestamp"].str().empty(); }));
  for (int i = 0; i < 50; ++i) s.turn();
  CHECK(s.get(kMaps + "/child").body.find("foregroundDeletion") != std::string::npos);
  CHECK(s.get(kMaps + "/a").status == 200);
  s.patch(kMaps + "/grandchild", "application/merge-patch+json", R"({"metadata":{"finalizers":null}})");
  for (const char* name : {"grandchild", "child", "a"}) CHECK(gone(s, kMaps + "/" + name));

  std::string left = make(s, "left");
  REQUIRE(s.post(kMaps, owned("right", {left}, true)).status == 201);
  std::string right = uid("right");
  s.patch(kMaps + "/left", "application/merge-patch+json",
          R"({"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"right","uid":")" +
              right.substr(6) + R"(","blockOwnerDeletion":true}]}})");
  s.remove(kMaps + "/left", R"({"propagationPolicy":"Foreground"})");
  CHECK(gone(s, kMaps + "/left"));
  CHECK(gone(s, kMaps + "/right"));
}

TEST_CASE("after a restart nothing is judged before all is known") {
  // The owner is among what is read first, its dependent among what is read last.
  Server s;
  std::string a = make(s, "a");
  REQUIRE(s.post(kMaps, owned("free", {a})).status == 201);
  for (int i = 0; i < 400; ++i) REQUIRE(s.post(kMaps, config_map("c" + std::to_string(i))).status == 201);
  s.restart([&] {
    const std::string key = "configmaps/default/a";
    std::string value;
    s.store->durable().get(key, [&](Result<std::optional<store::Item>> got) {
      REQUIRE((got && *got));
      value = *(*got)->value;
    });
    REQUIRE(s.until([&] { return !value.empty(); }));
    value.insert(
        value.find(R"("uid":)"),
        R"("deletionTimestamp":"2026-01-01T00:00:00Z","deletionGracePeriodSeconds":0,"finalizers":["orphan"],)");
    bool written = false;
    store::Txn txn;
    txn.ops.push_back({store::Op::Type::put, key, value, std::nullopt});
    s.store->durable().commit(std::move(txn), [&](Result<store::Committed> c) { written = c.has_value(); });
    REQUIRE(s.until([&] { return written; }));
  });
  CHECK(gone(s, kMaps + "/a"));
  for (int i = 0; i < 50; ++i) s.turn();
  Answer free = s.get(kMaps + "/free");
  CHECK(free.status == 200);
  CHECK(free.json()["metadata"]["ownerReferences"].size() == 0);
}

TEST_CASE("volatile objects have no dependents to wait for") {
  Server s;
  const std::string events = "/api/v1/namespaces/default/events";
  for (const char* policy : {"Foreground", "Orphan", "Background"}) {
    Answer made = s.post(events, R"({"apiVersion":"v1","kind":"Event","metadata":{"name":"e"},)"
                                 R"("involvedObject":{"kind":"Pod","name":"p","namespace":"default"}})");
    REQUIRE(made.status == 201);
    CHECK(s.remove(events + "/e", R"({"propagationPolicy":")" + std::string(policy) + "\"}").status == 200);
    CHECK(s.get(events + "/e").status == 404);
  }
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

TEST_CASE("a namespace says what holds it") {
  Server s;
  const std::string ns = "/api/v1/namespaces/n";
  s.post("/api/v1/namespaces", R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"n"}})");
  std::string held = config_map("f");
  held.insert(held.find("\"name\""), R"("finalizers":["example.com/x"],)");
  REQUIRE(s.post(ns + "/configmaps", held).status == 201);
  s.remove(ns);
  auto condition = [&](std::string_view type) {
    std::string out;
    std::string body = s.get(ns).body;
    json::Cursor(body)["status"]["conditions"].each([&](std::string_view, json::Cursor c) {
      if (!c["type"].str_equals(type)) return true;
      out = c["status"].str() + " " + c["reason"].str() + ": " + c["message"].str();
      return false;
    });
    return out;
  };
  REQUIRE(s.until([&] { return !condition("NamespaceContentRemaining").empty(); }));
  CHECK(condition("NamespaceContentRemaining") ==
        "True SomeResourcesRemain: Some resources are remaining: configmaps. has 1 resource instances");
  CHECK(condition("NamespaceFinalizersRemaining") ==
        "True SomeFinalizersRemain: Some content in the namespace has finalizers remaining: "
        "example.com/x in 1 resource instances");
  CHECK(condition("NamespaceDeletionContentFailure") ==
        "False ContentDeleted: All content successfully deleted, may be waiting on finalization");
  CHECK(condition("NamespaceDeletionDiscoveryFailure") ==
        "False ResourcesDiscovered: All resources successfully discovered");
  CHECK(condition("NamespaceDeletionGroupVersionParsingFailure") ==
        "False ParsedGroupVersions: All legacy kube types successfully parsed");
  // Nothing is made there any more, events neither, and the answer says why in a way programs read.
  for (const char* kind : {"events", "configmaps"}) {
    std::string body = kind[0] == 'c' ? config_map("late")
                                      : R"({"apiVersion":"v1","kind":"Event","metadata":{"name":"late"},)"
                                        R"("involvedObject":{"kind":"Pod","name":"p","namespace":"n"}})";
    Answer late = s.post(ns + "/" + kind, body);
    CHECK(late.status == 403);
    CHECK(late.message() == std::string(kind) +
                                " \"late\" is forbidden: unable to create new content in namespace n because "
                                "it is being terminated");
    CHECK(late.body.find(R"("reason":"NamespaceTerminating")") != std::string::npos);
  }
  s.patch(ns + "/configmaps/f", "application/merge-patch+json", R"({"metadata":{"finalizers":null}})");
  CHECK(gone(s, ns));
}

TEST_CASE("the conditions of a namespace change only when what they say does") {
  json::Value ns = *json::parse("{}");
  NamespaceRest rest;
  rest.resources = {{"configmaps.", 2}, {"deployments.apps", 1}};
  rest.errors = {"b", "a", "b"};
  auto find = [&](std::string_view type) {
    for (json::Ref c : ns.ref()["status"]["conditions"]) {
      if (c["type"].str() == type) return c;
    }
    return json::Ref();
  };
  CHECK(set_namespace_conditions(ns.ref(), rest, {1767225600, 0}));
  CHECK(ns.ref()["status"]["conditions"].size() == 5);
  CHECK(find("NamespaceContentRemaining")["message"].str() ==
        "Some resources are remaining: configmaps. has 2 resource instances, deployments.apps has 1 resource "
        "instances");
  CHECK(find("NamespaceDeletionContentFailure")["message"].str() ==
        "Failed to delete all resource types, 2 remaining: a, b");
  CHECK_FALSE(set_namespace_conditions(ns.ref(), rest, {1767225700, 0}));
  rest.resources = {{"configmaps.", 1}};
  CHECK(set_namespace_conditions(ns.ref(), rest, {1767225700, 0}));
  CHECK(find("NamespaceContentRemaining")["lastTransitionTime"].str() == "2026-01-01T00:00:00Z");
  CHECK(set_namespace_conditions(ns.ref(), {}, {1767225700, 0}));
  CHECK(find("NamespaceContentRemaining")["lastTransitionTime"].str() == "2026-01-01T00:01:40Z");
  CHECK(find("NamespaceContentRemaining")["status"].str() == "False");
  CHECK(ns.ref()["status"]["conditions"].size() == 5);
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

TEST_CASE("kube-root-ca.crt follows the authority's certificate, in every namespace, and nobody else") {
  Server s;
  REQUIRE(s.post("/api/v1/namespaces", R"({"kind":"Namespace","apiVersion":"v1","metadata":{"name":"shop"}})")
              .status == 201);
  const auto map = [](const std::string& ns) {
    return "/api/v1/namespaces/" + ns + "/configmaps/kube-root-ca.crt";
  };
  const auto holds = [&](const std::string& ns, const std::string& ca) {
    Answer a = s.get(map(ns));
    return a.json()["data"]["ca.crt"].str() == ca && a.json()["data"].size() == 1;
  };
  s.api->set_cluster_ca("renewed");
  for (const char* ns : {"default", "kube-system", "shop"})
    CHECK(s.until([&] { return holds(ns, "renewed"); }));
  // Nothing is written where nothing changed.
  const std::string version = s.get(map("shop")).json()["metadata"]["resourceVersion"].str();
  s.api->set_cluster_ca("renewed");
  s.patch(map("default"), "application/merge-patch+json", R"({"data":{"ca.crt":"mine","more":"x"}})");
  CHECK(s.until([&] { return holds("default", "renewed"); }));
  CHECK(s.get(map("shop")).json()["metadata"]["resourceVersion"].str() == version);
  // One that was renewed while no server ran.
  s.restart([&] { s.set_ca("later"); });
  CHECK(s.until([&] { return holds("shop", "later"); }));
}

TEST_CASE("kube-root-ca.crt is right, too, when another takes its place at once") {
  Server s;
  const std::string path = kMaps + "/kube-root-ca.crt";
  const std::string ca(s.get(path).json()["data"]["ca.crt"].str());
  // As of `kubectl replace --force`. Both are on their way before the server can make it again.
  const std::string key = "configmaps/default/kube-root-ca.crt";
  const std::string wrong =
      R"({"apiVersion":"v1","data":{"ca.crt":"mine"},"kind":"ConfigMap","metadata":{)"
      R"("creationTimestamp":"2026-01-01T00:00:00Z","name":"kube-root-ca.crt","namespace":"default",)"
      R"("uid":"00000000-0000-4000-8000-000000000001"}})";
  int done = 0;
  for (store::Op op : {store::Op{store::Op::Type::remove, key, "", std::nullopt},
                       store::Op{store::Op::Type::put, key, wrong, 0}}) {
    store::Txn txn;
    txn.ops.push_back(std::move(op));
    s.store->durable().commit(std::move(txn), [&](Result<store::Committed> c) { done += c ? 1 : 100; });
  }
  REQUIRE(s.until([&] { return done == 2; }));
  CHECK(s.until([&] { return s.get(path).json()["data"]["ca.crt"].str() == ca; }));
  CHECK(s.get(path).json()["metadata"]["uid"].str() == "00000000-0000-4000-8000-000000000001");
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
