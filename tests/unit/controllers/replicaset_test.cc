// Replica sets: how many pods, which ones go, whose they are, what the status says.
#include <doctest/doctest.h>

#include <algorithm>

#include "controllers/expectations.h"
#include "controllers/replicaset/reconcile.h"
#include "world.h"

using namespace limpet;
using namespace limpet::controllers;

namespace {

struct Pod {
  const char* name;
  const char* node = "n";
  Phase phase = Phase::running;
  bool ready = true;
  int64_t ready_s = 1000, cost = 0, restarts = 0, created_s = 1000;
};

PodView view(const Pod& p) {
  PodView v;
  v.ns = "d";
  v.name = v.uid = p.name;
  v.node = p.node;
  v.phase = p.phase;
  v.ready = p.ready;
  v.ready_s = p.ready_s;
  v.deletion_cost = p.cost;
  v.restarts = p.restarts;
  v.created_s = p.created_s;
  return v;
}

}  // namespace

TEST_CASE("ranking: which pod goes first") {
  struct Row {
    const char* why;
    Pod first, second;
  };
  // Times are seconds; it is 100,000.
  const Row rows[] = {
      {"not assigned", {.name = "b", .node = ""}, {.name = "a"}},
      {"pending", {.name = "b", .phase = Phase::pending}, {.name = "a"}},
      {"unknown", {.name = "b", .phase = Phase::unknown}, {.name = "a"}},
      {"not ready", {.name = "b", .ready = false}, {.name = "a"}},
      {"lower cost", {.name = "b", .cost = -5}, {.name = "a"}},
      {"more kin on its node", {.name = "b", .node = "full"}, {.name = "a"}},
      {"ready much later", {.name = "b", .ready_s = 99'000}, {.name = "a", .ready_s = 1000}},
      {"about the same time: restarts",
       {.name = "b", .ready_s = 1000, .restarts = 3},
       {.name = "a", .ready_s = 1500}},
      {"much younger", {.name = "b", .created_s = 99'000}, {.name = "a", .created_s = 1000}},
      {"all equal: by uid", {.name = "a"}, {.name = "b"}},
      {"phase before cost", {.name = "b", .phase = Phase::pending, .cost = 9}, {.name = "a", .cost = -9}},
      {"readiness before kin", {.name = "b", .ready = false}, {.name = "a", .node = "full"}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.why);
    const PodView first = view(row.first), second = view(row.second);
    const PodView x = view({.name = "x", .node = "full"}), y = view({.name = "y", .node = "full"});
    std::vector<const PodView*> related{&first, &second, &x, &y};
    for (const bool swapped : {false, true}) {
      std::vector<const PodView*> pods{&first, &second};
      if (swapped) std::swap(pods[0], pods[1]);
      replicaset::rank_for_deletion(pods, related, {100'000, 0});
      CHECK(pods[0] == &first);
    }
  }
}

TEST_CASE("batches double") {
  int64_t batch = 0, left = 10;
  std::vector<int64_t> batches;
  while ((batch = replicaset::next_batch(batch, left)) > 0) {
    batches.push_back(batch);
    left -= batch;
  }
  CHECK(batches == std::vector<int64_t>{1, 2, 4, 3});
}

TEST_CASE("pods are made, counted and made up for") {
  World w;
  w.replica_set("web", 3);
  w.start();
  CHECK(w.pods_of("web").size() == 3);
  CHECK(w.said("ReplicaSet/web SuccessfulCreate: Created pod: web-"));
  CHECK(w.status("replicasets/d/web", "replicas") == 3);
  CHECK(w.status("replicasets/d/web", "fullyLabeledReplicas") == 3);
  CHECK(w.status("replicasets/d/web", "readyReplicas") == 0);
  CHECK(w.status("replicasets/d/web", "observedGeneration") == 1);
  w.finish();
  CHECK(w.status("replicasets/d/web", "readyReplicas") == 3);
  CHECK(w.status("replicasets/d/web", "availableReplicas") == 3);

  const json::Value pod = w.get("pods/d/" + w.pods_of("web")[0]);
  CHECK(pod.ref()["metadata"]["generateName"].str() == "web-");
  const json::Ref owner = pod.ref()["metadata"]["ownerReferences"].at(0);
  CHECK(owner["kind"].str() == "ReplicaSet");
  CHECK(owner["apiVersion"].str() == "apps/v1");
  CHECK(owner["controller"].boolean());
  CHECK(owner["blockOwnerDeletion"].boolean());

  w.api.remove("pods/d/" + w.pods_of("web")[0]);
  w.settle();
  CHECK(w.pods_of("web").size() == 3);
  // A pod that failed is replaced, and stays to be looked at.
  w.api.change("pods/d/" + w.pods_of("web")[0], [](json::Ref p) { p["status"].set("phase", "Failed"); });
  w.settle();
  CHECK(w.pods_of("web").size() == 4);
  CHECK(w.status("replicasets/d/web", "replicas") == 3);
}

TEST_CASE("scaled down: the fewest are hurt, those that end are told apart") {
  World w;
  w.replica_set("web", 4);
  w.start();
  w.finish();
  const std::string bad = w.pods_of("web")[2];
  w.pods_ready(bad, false);
  w.scale("replicasets/d/web", 3);
  w.settle();
  const std::vector<std::string> left = w.pods_of("web");
  CHECK(left.size() == 3);
  CHECK(std::find(left.begin(), left.end(), bad) == left.end());
  CHECK(w.status("replicasets/d/web", "terminatingReplicas") == 1);
  CHECK(w.status("replicasets/d/web", "replicas") == 3);
  CHECK(w.said("SuccessfulDelete: Deleted pod: " + bad));
  w.finish();
  CHECK(w.status("replicasets/d/web", "terminatingReplicas") == 0);
  w.scale("replicasets/d/web", 0);
  w.finish();
  CHECK(w.api.names("pods").empty());
}

TEST_CASE("nothing is done twice while the watch lags") {
  World w;
  w.replica_set("web", 2);
  w.start();
  w.finish();
  w.scale("replicasets/d/web", 5);
  w.settle();
  w.api.lag = true;
  w.scale("replicasets/d/web", 7);
  w.api.change("replicasets/d/web", [](json::Ref o) { o["metadata"].ensure_object("labels").set("x", "y"); });
  w.api.lag = false;
  REQUIRE(w.api.turn());  // the scaling is seen
  w.api.lag = true;       // and nothing of what follows from it
  w.settle();
  CHECK(w.api.names("pods").size() == 7);
  w.pass(60'000);
  CHECK(w.api.names("pods").size() == 7);
  w.api.lag = false;
  w.finish();
  CHECK(w.pods_of("web").size() == 7);
  w.api.lag = true;
  w.restart();
  CHECK(w.pods_of("web").size() == 7);
}

TEST_CASE("orphans are adopted, those that no longer match are released") {
  World w;
  const std::string labels =
      R"({"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":"i"}]}})";
  w.api.put("pods/d/stray", labels);
  w.api.put("pods/d/other",
            R"({"metadata":{"labels":{"app":"x"}},"spec":{"containers":[{"name":"c","image":"i"}]}})");
  w.replica_set("web", 2);
  w.start();
  std::vector<std::string> mine = w.pods_of("web");
  CHECK(mine.size() == 2);
  CHECK(std::find(mine.begin(), mine.end(), "stray") != mine.end());
  CHECK(!w.get("pods/d/other").ref()["metadata"]["ownerReferences"]);

  w.api.change("pods/d/stray", [](json::Ref p) { p["metadata"]["labels"].set("app", "debug"); });
  w.settle();
  CHECK(w.get("pods/d/stray").ref()["metadata"]["ownerReferences"].size() == 0);
  CHECK(w.pods_of("web").size() == 2);
  // Back again: one too many.
  w.api.change("pods/d/stray", [](json::Ref p) { p["metadata"]["labels"].set("app", "web"); });
  w.settle();
  CHECK(w.pods_of("web").size() == 2);
}

TEST_CASE("creations that fail are said, tried again with back-off, and forgotten when they work") {
  World w;
  w.api.refuse = [](const client::Call& c) { return c.method == "POST" ? 403 : 0; };
  w.replica_set("web", 20);
  w.start();
  w.pass(2000);
  CHECK(w.condition("replicasets/d/web", "ReplicaFailure") == "FailedCreate");
  CHECK(w.condition("replicasets/d/web", "ReplicaFailure", "message") == "refused by the test");
  CHECK(w.said("FailedCreate: Error creating: refused by the test"));
  const auto tries = [&w] { return std::count(w.api.log.begin(), w.api.log.end(), "POST pods"); };
  CHECK(tries() < 15);  // one by one, and less and less often
  const int64_t before = tries();
  w.pass(3'600'000);
  CHECK(tries() - before < 15);
  CHECK(tries() > before);
  w.api.refuse = nullptr;
  w.pass(1'100'000);
  w.finish();
  CHECK(w.pods_of("web").size() == 20);
  CHECK(w.condition("replicasets/d/web", "ReplicaFailure") == "");
}

TEST_CASE("minReadySeconds: available when the time is over, without anybody asking") {
  World w;
  w.replica_set("web", 1, R"("minReadySeconds":30,)");
  w.start();
  w.finish();
  CHECK(w.status("replicasets/d/web", "readyReplicas") == 1);
  CHECK(w.status("replicasets/d/web", "availableReplicas") == 0);
  w.pass(29'000);
  CHECK(w.status("replicasets/d/web", "availableReplicas") == 0);
  w.pass(1'100);
  CHECK(w.status("replicasets/d/web", "availableReplicas") == 1);
}

TEST_CASE("a set that is being deleted gets no pods and adopts none") {
  World w;
  w.replica_set("web", 2);
  w.start();
  w.finish();
  w.api.change("replicasets/d/web", [](json::Ref o) {
    o["metadata"].set("deletionTimestamp", "2026-01-01T00:00:00Z");
    o["metadata"].ensure_array("finalizers").push(json::Value::string("foregroundDeletion"));
  });
  w.api.remove("pods/d/" + w.pods_of("web")[0]);
  w.settle();
  CHECK(w.pods_of("web").size() == 1);
}

TEST_CASE("idle means that nothing is written and no alarm is set for long") {
  World w;
  w.replica_set("web", 3);
  w.start();
  w.finish();
  w.pass(Expectations::kLongestMs);
  const size_t writes = w.api.log.size();
  w.pass(3'600'000);
  CHECK(w.api.log.size() == writes);
  CHECK(w.timing.alarms() == 0);
  w.restart();
  CHECK(w.api.log.size() == writes);
}
