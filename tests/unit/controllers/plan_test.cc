// The pure functions by themselves: whose objects are whose, shares of sets, times of conditions.
#include <doctest/doctest.h>

#include "controllers/deployment/reconcile.h"
#include "controllers/replicaset/reconcile.h"

using namespace limpet;
using namespace limpet::controllers;

namespace {

ReplicaSetView set(const std::string& name, int64_t replicas, int64_t most, int64_t created_s,
                   const std::string& digest = "") {
  ReplicaSetView v;
  v.name = v.uid = name;
  v.replicas = v.status.replicas = v.status.available = replicas;
  v.created_s = created_s;
  v.template_digest = digest.empty() ? name : digest;
  v.annotations[deployment::kMax] = v.annotations[deployment::kDesired] = std::to_string(most);
  return v;
}

DeploymentView rolling(int64_t replicas, int64_t surge = 0) {
  DeploymentView d;
  d.name = "web";
  d.replicas = replicas;
  d.max_surge = {surge, false};
  d.max_unavailable = {1, false};
  d.template_digest = "new";
  return d;
}

}  // namespace

TEST_CASE("claims") {
  struct Row {
    const char* owner;  // of the object
    const char* labels;
    bool owner_deleting, object_deleting;
    Claim claim;
  };
  const Row rows[] = {
      {"me", R"({"app":"web"})", false, false, Claim::mine},
      {"me", R"({"app":"web"})", true, true, Claim::mine},
      {"me", R"({"app":"x"})", false, false, Claim::release},
      {"me", R"({"app":"x"})", true, false, Claim::not_mine},
      {"other", R"({"app":"web"})", false, false, Claim::not_mine},
      {"", R"({"app":"web"})", false, false, Claim::adopt},
      {"", R"({"app":"web"})", true, false, Claim::not_mine},
      {"", R"({"app":"web"})", false, true, Claim::not_mine},
      {"", R"({"app":"x"})", false, false, Claim::not_mine},
      {"", "", false, false, Claim::not_mine},
  };
  const auto selector = schema::LabelSelector::from_object(json::Cursor(R"({"matchLabels":{"app":"web"}})"));
  REQUIRE(selector.has_value());
  for (const Row& row : rows) {
    CAPTURE(row.labels);
    CAPTURE(row.owner);
    Object owner, object;
    owner.uid = "me";
    owner.deleting = row.owner_deleting;
    object.controller.uid = row.owner;
    object.labels = row.labels;
    object.deleting = row.object_deleting;
    CHECK(claim(owner, *selector, object) == row.claim);
  }
}

TEST_CASE("a set that is being deleted, or behind with what it sees, counts but does nothing") {
  ReplicaSetView s;
  s.uid = "me";
  s.selector = R"({"matchLabels":{"app":"web"}})";
  PodView pod;
  pod.labels = R"({"app":"web"})";
  pod.controller.uid = "me";
  for (const int64_t wanted : {0, 5}) {
    for (const bool deleting : {false, true}) {
      s.replicas = wanted;
      s.deleting = deleting;
      for (const bool caught_up : {true, false}) {
        const auto plan = replicaset::plan({s, {&pod}, {&pod}, caught_up, {}});
        CHECK(plan.active.size() == 1);
        const bool acts = caught_up && !deleting;
        CHECK(plan.create == (acts && wanted == 5 ? 4 : 0));
        CHECK(plan.remove.size() == (acts && wanted == 0 ? 1u : 0u));
      }
    }
  }
}

TEST_CASE("shares of sets when the number of replicas changes") {
  struct Row {
    std::vector<int64_t> sizes;  // the newest first, which has the template
    int64_t before, after, surge;
    std::vector<int64_t> wanted;
  };
  const Row rows[] = {
      {{3, 3, 2}, 8, 10, 0, {4, 4, 2}},
      {{2, 2, 2, 2}, 8, 9, 0, {3, 2, 2, 2}},  // what rounding leaves goes to the newest of the largest
      {{2, 2, 2, 2}, 8, 7, 0, {2, 2, 2, 1}},  // and is taken from the oldest
      {{5, 5}, 10, 20, 0, {10, 10}},
      {{2, 8}, 10, 5, 0, {1, 4}},
      {{1, 1, 1}, 3, 0, 0, {0, 0, 0}},
      {{4, 8}, 12, 20, 4, {8, 16}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.after);
    const DeploymentView d = rolling(row.after, row.surge);
    std::vector<ReplicaSetView> sets;
    for (size_t i = 0; i < row.sizes.size(); i++) {
      sets.push_back(set("s" + std::to_string(i), row.sizes[i], row.before, static_cast<int64_t>(100 - i),
                         i == 0 ? "new" : ""));
    }
    const deployment::Plan plan = deployment::plan({d, sets, {}, {1000, 0}});
    for (size_t i = 0; i < row.sizes.size(); i++) {
      int64_t wanted = row.sizes[i];
      for (const deployment::Change& c : plan.changes) {
        if (c.before.name == sets[i].name) wanted = c.replicas;
      }
      CAPTURE(i);
      CHECK(wanted == row.wanted[i]);
    }
  }
}

TEST_CASE("how many old pods a rolling update may take") {
  struct Row {
    int64_t replicas, unavailable, fresh, fresh_available, old, old_available, wanted_old;
  };
  const Row rows[] = {
      // Neither more nor fewer would be a standstill: one may be missing.
      {10, 0, 0, 0, 10, 10, 9},
      {10, 0, 1, 0, 10, 10, 10},
      {10, 0, 1, 1, 10, 10, 9},
      {10, 2, 0, 0, 10, 10, 8},
      // New ones that are not available do not count.
      {10, 2, 2, 0, 10, 10, 8},
      {10, 2, 2, 0, 8, 8, 8},
      // Those that do not work go first.
      {10, 2, 5, 5, 8, 8, 3},
      {10, 2, 5, 5, 8, 0, 3},
  };
  for (const Row& row : rows) {
    CAPTURE(row.fresh);
    CAPTURE(row.old);
    // No room for more new ones: only the old ones change.
    DeploymentView d = rolling(row.replicas, row.fresh + row.old - row.replicas);
    d.max_unavailable = {row.unavailable, false};
    std::vector<ReplicaSetView> sets{set("f", row.fresh, row.replicas, 2, "new"),
                                     set("o", row.old, row.replicas, 1)};
    sets[0].status.available = row.fresh_available;
    sets[1].status.available = row.old_available;
    deployment::Planner p{d, sets, {}, {1000, 0}, nullptr, {}, d.status, {}};
    p.split();
    p.roll();
    CHECK(sets[1].replicas == row.wanted_old);
  }
}

TEST_CASE("progress is noted with its time, a condition keeps the time of its last turn") {
  DeploymentView d = rolling(3, 1);
  d.deadline_s = 600;
  d.status.conditions = {{"Progressing", "True", "ReplicaSetUpdated", "m", 100, 200}};
  const std::vector<ReplicaSetView> sets{set("s", 3, 3, 1, "new")};
  std::vector<ReplicaSetView> moving = sets;
  moving[0].status.available = 1;
  moving[0].annotations[deployment::kMax] = "4";
  deployment::Plan plan = deployment::plan({d, moving, {}, {1000, 0}});
  const Condition* c = find_condition(plan.status.conditions, "Progressing");
  REQUIRE((c != nullptr));
  CHECK(c->transition_s == 100);
  CHECK(c->update_s == 1000);
  CHECK(plan.again_ms == 601'000);

  d.status = plan.status;  // nothing more happens
  plan = deployment::plan({d, moving, {}, {1601, 0}});
  c = find_condition(plan.status.conditions, "Progressing");
  CHECK(c->reason == "ProgressDeadlineExceeded");
  CHECK(c->transition_s == 1601);
  CHECK(plan.again_ms == -1);
}
