// Deployments: rolling out, back, up and down.
#include <doctest/doctest.h>

#include <algorithm>

#include "controllers/deployment/reconcile.h"
#include "world.h"

using namespace limpet;
using namespace limpet::controllers;

namespace {

const std::string kWeb = "deployments/d/web";

std::string annotation(World& w, const std::string& path, const char* name) {
  return std::string(w.get(path).ref()["metadata"]["annotations"][name].str());
}

std::string revision(World& w, const std::string& set) {
  return annotation(w, "replicasets/d/" + set, deployment::kRevision);
}

}  // namespace

TEST_CASE("a deployment makes a replica set and says how far it is") {
  World w;
  w.deployment("web", 3);
  w.start();
  const std::string set = w.new_set("web");
  CHECK(set.starts_with("web-"));
  const json::Value made = w.get("replicasets/d/" + set);
  const std::string hash = set.substr(4);
  CHECK(made.ref()["metadata"]["labels"]["pod-template-hash"].str() == hash);
  CHECK(made.ref()["spec"]["selector"]["matchLabels"]["pod-template-hash"].str() == hash);
  CHECK(made.ref()["spec"]["template"]["metadata"]["labels"]["pod-template-hash"].str() == hash);
  CHECK(made.ref()["metadata"]["ownerReferences"].at(0)["kind"].str() == "Deployment");
  CHECK(revision(w, set) == "1");
  CHECK(annotation(w, "replicasets/d/" + set, deployment::kDesired) == "3");
  CHECK(annotation(w, "replicasets/d/" + set, deployment::kMax) == "4");
  CHECK(annotation(w, kWeb, deployment::kRevision) == "1");
  CHECK(w.said("Deployment/web ScalingReplicaSet: Scaled up replica set " + set + " from 0 to 3"));
  CHECK(w.condition(kWeb, "Available") == "MinimumReplicasUnavailable");
  CHECK(w.condition(kWeb, "Available", "message") == "Deployment does not have minimum availability.");
  w.finish();
  CHECK(w.condition(kWeb, "Progressing") == "NewReplicaSetAvailable");
  CHECK(w.condition(kWeb, "Progressing", "message") ==
        "ReplicaSet \"" + set + "\" has successfully progressed.");
  CHECK(w.condition(kWeb, "Available") == "MinimumReplicasAvailable");
  for (const char* count : {"replicas", "updatedReplicas", "readyReplicas", "availableReplicas"})
    CHECK(w.status(kWeb, count) == 3);
  CHECK(w.status(kWeb, "observedGeneration") == w.get(kWeb).ref()["metadata"]["generation"].integer());
}

TEST_CASE("a rolling update keeps its bounds at every moment") {
  struct Row {
    int replicas;
    const char *surge, *unavailable;
    int most, least;  // pods wanted, pods available
  };
  const Row rows[] = {
      {10, "\"25%\"", "\"25%\"", 13, 8},
      {3, "1", "0", 4, 3},
      {3, "0", "1", 3, 2},
      {4, "\"100%\"", "0", 8, 4},
      {1, "\"25%\"", "\"25%\"", 2, 1},
      {2, "0", "\"1%\"", 2, 1},
  };
  for (const Row& row : rows) {
    CAPTURE(row.replicas);
    CAPTURE(row.surge);
    World w;
    w.deployment("web", row.replicas,
                 std::string(R"("strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":)") +
                     row.surge + R"(,"maxUnavailable":)" + row.unavailable + "}},");
    w.start();
    w.finish();
    const std::string old = w.new_set("web");
    w.image("web", "i:2");
    for (int round = 0; round < 100 && (w.wanted(old) > 0 || w.new_set("web").empty()); round++) {
      w.settle();
      int wanted = 0, available = 0;
      for (const std::string& set : w.api.names("replicasets")) {
        wanted += static_cast<int>(w.wanted(set));
        available += static_cast<int>(w.status("replicasets/d/" + set, "availableReplicas"));
      }
      CHECK(wanted <= row.most);
      CHECK(available >= row.least);
      w.run_pods();
    }
    w.finish();
    CHECK(w.wanted(old) == 0);
    CHECK(w.pods_of(w.new_set("web")).size() == static_cast<size_t>(row.replicas));
    CHECK(revision(w, w.new_set("web")) == "2");
    CHECK(annotation(w, kWeb, deployment::kRevision) == "2");
    CHECK(w.condition(kWeb, "Progressing") == "NewReplicaSetAvailable");
  }
}

TEST_CASE("a bad image stops at the bound, is reported at the deadline, and undone") {
  World w;
  w.deployment("web", 4, R"("progressDeadlineSeconds":60,)");
  w.start();
  w.finish();
  const std::string good = w.new_set("web");
  w.broken.insert("bad");
  w.image("web", "bad");
  w.finish();
  const std::string bad = w.new_set("web");
  CHECK(w.status(kWeb, "availableReplicas") == 3);
  CHECK(w.wanted(good) == 3);
  CHECK(w.wanted(bad) == 2);
  w.pass(50'000);
  CHECK(w.condition(kWeb, "Progressing") == "ReplicaSetUpdated");
  w.pass(15'000);
  CHECK(w.condition(kWeb, "Progressing") == "ProgressDeadlineExceeded");
  CHECK(w.condition(kWeb, "Progressing", "status") == "False");
  CHECK(w.condition(kWeb, "Progressing", "message") ==
        "ReplicaSet \"" + bad + "\" has timed out progressing.");
  // What kubectl rollout undo does: the template of the old set, without its hash.
  const json::Value set = w.get("replicasets/d/" + good);
  w.api.change(kWeb, [&](json::Ref d) {
    d["spec"].set("template", set.ref()["spec"]["template"].clone());
    d["spec"]["template"]["metadata"]["labels"].remove("pod-template-hash");
  });
  w.finish();
  CHECK(w.new_set("web") == good);
  CHECK(w.wanted(good) == 4);
  CHECK(w.wanted(bad) == 0);
  CHECK(revision(w, good) == "3");
  CHECK(annotation(w, "replicasets/d/" + good, deployment::kHistory) == "1");
  CHECK(annotation(w, kWeb, deployment::kRevision) == "3");
  CHECK(w.condition(kWeb, "Progressing") == "NewReplicaSetAvailable");
}

TEST_CASE("recreate: the new ones come when the last old one is gone") {
  World w;
  w.deployment("web", 2, R"("strategy":{"type":"Recreate"},)");
  w.start();
  w.finish();
  const std::string old = w.new_set("web");
  w.image("web", "i:2");
  w.settle();
  CHECK(w.wanted(old) == 0);
  CHECK(w.new_set("web").empty());  // two pods are ending
  w.api.remove("pods/d/" + w.api.names("pods")[0]);
  w.settle();
  CHECK(w.new_set("web").empty());
  w.api.remove("pods/d/" + w.api.names("pods")[0]);
  w.settle();
  CHECK(w.wanted(w.new_set("web")) == 2);
  w.finish();
  CHECK(w.condition(kWeb, "Progressing") == "NewReplicaSetAvailable");
}

TEST_CASE("scaled in the middle of a rollout every set keeps its share") {
  World w;
  w.deployment("web", 10);
  w.start();
  w.finish();
  const std::string old = w.new_set("web");
  w.broken.insert("slow");
  w.image("web", "slow");
  w.finish();
  const std::string fresh = w.new_set("web");
  REQUIRE(w.wanted(old) == 8);
  REQUIRE(w.wanted(fresh) == 5);
  w.scale(kWeb, 20);
  w.settle();
  CHECK(w.wanted(old) == 15);  // 8 * 25/13, and 5 * 25/13
  CHECK(w.wanted(fresh) == 10);
  CHECK(annotation(w, "replicasets/d/" + old, deployment::kDesired) == "20");
  w.scale(kWeb, 0);
  w.finish();
  CHECK(w.wanted(old) == 0);
  CHECK(w.wanted(fresh) == 0);
}

TEST_CASE("paused: scaled but not rolled out; resumed: rolled out") {
  World w;
  w.deployment("web", 2);
  w.start();
  w.finish();
  const std::string old = w.new_set("web");
  w.api.change(kWeb, [](json::Ref d) { d["spec"].set("paused", true); });
  w.settle();
  CHECK(w.condition(kWeb, "Progressing") == "DeploymentPaused");
  w.image("web", "i:2");
  w.scale(kWeb, 3);
  w.finish();
  CHECK(w.new_set("web").empty());
  CHECK(w.wanted(old) == 3);
  CHECK(w.condition(kWeb, "Progressing") == "DeploymentPaused");
  w.api.change(kWeb, [](json::Ref d) { d["spec"].remove("paused"); });
  w.finish();
  CHECK(w.wanted(w.new_set("web")) == 3);
  CHECK(w.wanted(old) == 0);
  CHECK(w.condition(kWeb, "Progressing") == "NewReplicaSetAvailable");
}

TEST_CASE("the history is kept up to its limit, with causes of change") {
  World w;
  w.deployment("web", 1, R"("revisionHistoryLimit":2,)");
  w.start();
  w.finish();
  for (int i = 2; i <= 6; i++) {
    w.pass(1000);
    w.api.change(kWeb, [&](json::Ref d) {
      d["metadata"]
          .ensure_object("annotations")
          .set("kubernetes.io/change-cause", "image " + std::to_string(i));
    });
    w.image("web", "i:" + std::to_string(i));
    w.finish();
  }
  const std::vector<std::string> sets = w.api.names("replicasets");
  CHECK(sets.size() == 3);
  std::vector<std::string> revisions;
  for (const std::string& set : sets) {
    revisions.push_back(revision(w, set));
    CHECK(annotation(w, "replicasets/d/" + set, "kubernetes.io/change-cause") == "image " + revisions.back());
  }
  std::sort(revisions.begin(), revisions.end());
  CHECK(revisions == std::vector<std::string>{"4", "5", "6"});
}

TEST_CASE("a name that is taken by something else is gone round") {
  World probe;
  probe.deployment("web", 1);
  probe.start();
  const std::string name = probe.new_set("web");
  World w;
  w.api.put(
      "replicasets/d/" + name,
      R"({"metadata":{},"spec":{"replicas":0,"selector":{"matchLabels":{"x":"y"}},"template":{"metadata":{"labels":{"x":"y"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})");
  w.deployment("web", 1);
  w.start();
  CHECK(w.status(kWeb, "collisionCount") == 1);
  CHECK(w.new_set("web") != name);
  CHECK(!w.new_set("web").empty());
}

TEST_CASE("a replica set that cannot be made is reported") {
  World w;
  w.api.refuse = [](const client::Call& c) { return c.method == "POST" ? 403 : 0; };
  w.deployment("web", 1);
  w.start();
  CHECK(w.condition(kWeb, "Progressing") == "ReplicaSetCreateError");
  CHECK(w.said("Warning") == false);
  CHECK(w.said("ReplicaSetCreateError: Failed to create new replica set"));
  w.api.refuse = nullptr;
  w.pass(10'000);
  w.finish();
  CHECK(w.condition(kWeb, "Progressing") == "NewReplicaSetAvailable");
}

TEST_CASE("pods that cannot be made show in the deployment") {
  World w;
  w.api.refuse = [](const client::Call& c) { return c.path.ends_with("/pods") ? 403 : 0; };
  w.deployment("web", 1);
  w.start();
  w.pass(1000);
  CHECK(w.condition(kWeb, "ReplicaFailure") == "FailedCreate");
  w.api.refuse = nullptr;
  w.pass(1'100'000);
  w.finish();
  CHECK(w.condition(kWeb, "ReplicaFailure") == "");
  CHECK(w.status(kWeb, "availableReplicas") == 1);
}

TEST_CASE("orphaned replica sets are adopted again, with their pods") {
  World w;
  w.deployment("web", 2);
  w.start();
  w.finish();
  const std::string set = w.new_set("web");
  w.api.remove(kWeb, "Orphan");
  w.finish();
  CHECK(w.pods_of(set).size() == 2);
  w.deployment("web", 2);
  w.finish();
  CHECK(w.api.names("replicasets") == std::vector<std::string>{set});
  CHECK(w.get("replicasets/d/" + set).ref()["metadata"]["ownerReferences"].at(0)["uid"].str() ==
        w.get(kWeb).ref()["metadata"]["uid"].str());
  w.api.remove(kWeb);
  w.finish();
  CHECK(w.api.names("pods").empty());
}

TEST_CASE("deployments: nothing is done twice while the watch lags") {
  World w;
  w.deployment("web", 3);
  w.start();
  w.finish();
  w.image("web", "i:2");
  REQUIRE(w.api.turn());
  w.api.lag = true;
  w.settle();
  w.pass(30'000);
  CHECK(std::count(w.api.log.begin(), w.api.log.end(), "POST replicasets") == 2);
  w.api.lag = false;
  w.finish();
  CHECK(w.api.names("replicasets").size() == 2);
  CHECK(w.condition(kWeb, "Progressing") == "NewReplicaSetAvailable");
}

TEST_CASE("a settled deployment is left alone") {
  World w;
  w.deployment("web", 3);
  w.start();
  w.finish();
  w.pass(700'000);
  const size_t writes = w.api.log.size();
  w.pass(3'600'000);
  w.restart();
  w.pass(3'600'000);
  CHECK(w.api.log.size() == writes);
  CHECK(w.timing.alarms() == 0);
}

TEST_CASE("killed at any moment, a rollout is finished by the next life") {
  for (int after = 1; after < 60; after++) {
    CAPTURE(after);
    World w;
    w.deployment("web", 3);
    w.start();
    w.finish();
    w.image("web", "i:2");
    for (int i = 0; i < after; i++) {
      if (!w.api.turn() && !w.timing.turn()) w.run_pods();
    }
    w.restart();
    w.finish();
    const std::vector<std::string> pods = w.pods_of(w.new_set("web"));
    CHECK(pods.size() == 3);
    CHECK(w.api.names("pods").size() == 3);
    CHECK(w.api.names("replicasets").size() == 2);
    CHECK(w.condition(kWeb, "Progressing") == "NewReplicaSetAvailable");
  }
}
