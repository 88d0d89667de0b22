// The life cycle of nodes, its pure parts: who counts as unreachable, taints by conditions, tolerations,
// when a pod is due.
#include <doctest/doctest.h>

#include "controllers/nodelifecycle/conditions.h"
#include "controllers/nodelifecycle/evictions.h"
#include "controllers/nodelifecycle/health.h"
#include "controllers/nodelifecycle/taints.h"
#include "schema/codec.h"
#include "schema/types.h"

using namespace limpet;
using namespace limpet::controllers;
using namespace limpet::controllers::nodelifecycle;

namespace {

constexpr WallTime kNow{1767225600, 0};

NodeView node(const std::string& json) { return read_node(json::Cursor(json)); }

std::string taint(const std::string& key, const std::string& effect, const std::string& value = "") {
  return R"({"key":")" + key + R"(","value":")" + value + R"(","effect":")" + effect + R"("})";
}

// "key:Effect" of each, in order.
std::string names(const std::string& taints) {
  std::string out;
  json::Cursor(taints).each([&out](std::string_view, json::Cursor t) {
    out += (out.empty() ? "" : " ") + t["key"].str() + ":" + t["effect"].str();
    return true;
  });
  return out;
}

}  // namespace

TEST_CASE("health: a device is unreachable when nothing came for the whole grace period") {
  // Times are seconds. What happens: "a" is seen at 0, and heard of at `heard` (-1: not); judged at `at`.
  struct Row {
    const char* why;
    int64_t heard, at;
    Standing standing;
  };
  const Row rows[] = {
      {"nobody knows yet", -1, 39, Standing::unheard},
      {"it never was heard of", -1, 40, Standing::unreachable},
      {"it was heard of", 10, 49, Standing::reachable},
      {"but not since", 10, 50, Standing::unreachable},
      {"in the last moment", 39, 40, Standing::reachable},
  };
  for (const Row& row : rows) {
    CAPTURE(row.why);
    Health h("own", 40'000);
    h.seen("a", 0);
    if (row.heard >= 0) CHECK_FALSE(h.heard("a", row.heard * 1000));
    CHECK(h.next_ms() == std::max<int64_t>(row.heard, 0) * 1000 + 40'000);
    const bool fell = row.standing == Standing::unreachable;
    CHECK(h.judge(row.at * 1000) == (fell ? std::vector<std::string>{"a"} : std::vector<std::string>{}));
    CHECK(h.standing("a") == row.standing);
    CHECK(h.unreachable() == (fell ? 1 : 0));
    CHECK(h.judge(row.at * 1000).empty());  // told once
  }
}

TEST_CASE("health: back again, gone, seen again") {
  Health h("own", 40'000);
  h.seen("a", 0);
  h.judge(40'000);
  CHECK_FALSE(h.next_ms());
  h.seen("a", 41'000);  // a node that changes is not heard of by that
  CHECK(h.standing("a") == Standing::unreachable);
  CHECK(h.heard("a", 50'000));
  CHECK(h.standing("a") == Standing::reachable);
  CHECK(h.unreachable() == 0);
  CHECK(h.next_ms() == 90'000);
  h.judge(90'000);
  h.gone("a");
  CHECK(h.unreachable() == 0);
  CHECK(h.size() == 0);
  CHECK_FALSE(h.heard("a", 95'000));  // a lease without a node
  CHECK(h.size() == 0);
  h.seen("a", 100'000);
  CHECK(h.standing("a") == Standing::unheard);
  CHECK(h.next_ms() == 140'000);
}

TEST_CASE("health: the own device always, and all of them anew") {
  Health h("own", 40'000);
  h.seen("own", 0);
  CHECK_FALSE(h.next_ms());
  CHECK(h.judge(1'000'000).empty());
  CHECK(h.standing("own") == Standing::reachable);
  h.seen("a", 0);
  h.seen("b", 0);
  h.heard("b", 1000);
  h.judge(40'000);
  h.restart(40'500);
  CHECK(h.standing("a") == Standing::unreachable);
  CHECK(h.judge(80'499).empty());
  CHECK(h.judge(80'500) == std::vector<std::string>{"b"});
}

TEST_CASE("health: more than 55 % unreachable makes the own uplink the suspect") {
  struct Row {
    size_t devices, silent;
    bool own, suspect;  // own: one of them is this device
  };
  const Row rows[] = {
      {0, 0, false, false}, {1, 0, true, false},    {1, 1, false, true},   {2, 1, true, false},
      {2, 2, false, true},  {3, 1, true, false},    {3, 2, true, true},    {4, 2, true, false},
      {4, 3, true, true},   {20, 11, true, false},  // 55 % is not more than 55 %
      {20, 12, true, true}, {100, 55, true, false}, {100, 56, true, true},
  };
  for (const Row& row : rows) {
    CAPTURE(row.devices);
    CAPTURE(row.silent);
    Health h("own", 1000);
    for (size_t i = 0; i < row.devices; i++) {
      const std::string name = i == 0 && row.own ? "own" : "n" + std::to_string(i);
      h.seen(name, 0);
      if (i < row.devices - row.silent) h.heard(name, 500);
    }
    h.judge(1000);
    CHECK(h.unreachable() == row.silent);
    CHECK(h.suspect() == row.suspect);
  }
}

TEST_CASE("taints follow the conditions") {
  struct Row {
    const char* why;
    std::string conditions, spec;
    bool held;
    const char* wanted;  // nullptr: as it is
  };
  const std::string ready = R"({"type":"Ready","status":"True"})",
                    not_ready = R"({"type":"Ready","status":"False"})",
                    unknown = R"({"type":"Ready","status":"Unknown"})";
  const std::string key_n = std::string(kNotReady), key_u = std::string(kUnreachable);
  const std::string both_n =
      R"("taints":[)" + taint(key_n, "NoSchedule") + "," + taint(key_n, "NoExecute") + "]";
  const std::string both_u =
      R"("taints":[)" + taint(key_u, "NoSchedule") + "," + taint(key_u, "NoExecute") + "]";
  const Row rows[] = {
      {"well", ready, "", false, nullptr},
      {"no status yet", "", "", false, nullptr},
      {"not ready", not_ready, "", false,
       "node.kubernetes.io/not-ready:NoSchedule node.kubernetes.io/not-ready:NoExecute"},
      {"unknown", unknown, "", false,
       "node.kubernetes.io/unreachable:NoSchedule node.kubernetes.io/unreachable:NoExecute"},
      {"all there", unknown, both_u, false, nullptr},
      {"back", ready, both_u, false, ""},
      {"from one to the other", unknown, both_n, false,
       "node.kubernetes.io/unreachable:NoSchedule node.kubernetes.io/unreachable:NoExecute"},
      {"and back", not_ready, both_u, false,
       "node.kubernetes.io/not-ready:NoSchedule node.kubernetes.io/not-ready:NoExecute"},
      {"held: no new NoExecute", unknown, "", true, "node.kubernetes.io/unreachable:NoSchedule"},
      {"held: what is there stays", unknown, both_u, true, nullptr},
      {"held: what is there is exchanged", unknown, both_n, true,
       "node.kubernetes.io/unreachable:NoSchedule node.kubernetes.io/unreachable:NoExecute"},
      {"held, and back", ready, both_u, true, ""},
      {"taints of others stay", ready,
       R"("taints":[)" + taint("site", "NoExecute", "roof") + "," + taint(key_u, "NoExecute") + "," +
           taint(key_n, "PreferNoSchedule") + "," + taint("site", "NoSchedule") + "]",
       false, "site:NoExecute node.kubernetes.io/not-ready:PreferNoSchedule site:NoSchedule"},
      {"cordoned", ready, R"("unschedulable":true)", false, "node.kubernetes.io/unschedulable:NoSchedule"},
      {"and uncordoned", ready,
       R"("taints":[)" + taint("node.kubernetes.io/unschedulable", "NoSchedule") + "]", false, ""},
      {"pressure",
       ready + R"(,{"type":"DiskPressure","status":"True"},{"type":"MemoryPressure","status":"True"},)" +
           R"({"type":"PIDPressure","status":"True"},{"type":"NetworkUnavailable","status":"True"})",
       "", false,
       "node.kubernetes.io/memory-pressure:NoSchedule node.kubernetes.io/disk-pressure:NoSchedule "
       "node.kubernetes.io/network-unavailable:NoSchedule node.kubernetes.io/pid-pressure:NoSchedule"},
      {"pressure that is over", ready + R"(,{"type":"DiskPressure","status":"False"})",
       R"("taints":[)" + taint("node.kubernetes.io/disk-pressure", "NoSchedule") + "]", false, ""},
  };
  for (const Row& row : rows) {
    CAPTURE(row.why);
    const NodeView n = node(R"({"metadata":{"name":"n"},"spec":{)" + row.spec +
                            R"(},"status":{"conditions":[)" + row.conditions + "]}}");
    const auto plan = plan_taints(n, row.held, kNow);
    REQUIRE(plan.has_value() == (row.wanted != nullptr));
    if (!plan) continue;
    CHECK(names(*plan) == row.wanted);
    // What was written leads to nothing more.
    const NodeView then = node(R"({"metadata":{"name":"n"},"spec":{"unschedulable":)" +
                               std::string(n.unschedulable ? "true" : "false") + R"(,"taints":)" + *plan +
                               R"(},"status":{"conditions":[)" + row.conditions + "]}}");
    CHECK_FALSE(plan_taints(then, row.held, kNow).has_value());
  }
}

TEST_CASE("a taint keeps what is not read here, a new one says since when") {
  const NodeView n = node(
      R"({"metadata":{"name":"n"},"spec":{"taints":[{"key":"a","effect":"NoExecute","timeAdded":"2020-01-01T00:00:00Z"}]},)"
      R"("status":{"conditions":[{"type":"Ready","status":"False"}]}})");
  const std::string plan = plan_taints(n, false, kNow).value();
  CHECK(json::Cursor(plan).at(0)["timeAdded"].str() == "2020-01-01T00:00:00Z");
  CHECK(json::Cursor(plan).at(2)["timeAdded"].str() == "2026-01-01T00:00:00Z");
}

TEST_CASE("which taints evict") {
  struct Row {
    const char* why;
    std::string key, effect;
    Standing standing;
    bool held, evicts;
  };
  const std::string u = std::string(kUnreachable), n = std::string(kNotReady);
  const Row rows[] = {
      {"unreachable in this term", u, "NoExecute", Standing::unreachable, false, true},
      {"nobody knows yet", u, "NoExecute", Standing::unheard, false, false},
      {"heard of again", u, "NoExecute", Standing::reachable, false, false},
      {"held", u, "NoExecute", Standing::unreachable, true, false},
      {"it says that it is not ready", n, "NoExecute", Standing::reachable, false, true},
      {"it said so in another term", n, "NoExecute", Standing::unheard, false, false},
      {"it said so last", n, "NoExecute", Standing::unreachable, false, true},
      {"not ready, held", n, "NoExecute", Standing::reachable, true, false},
      {"an operator's taint", "site", "NoExecute", Standing::unheard, true, true},
      {"another effect", u, "NoSchedule", Standing::unreachable, false, false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.why);
    const NodeView v =
        node(R"({"metadata":{"name":"n"},"spec":{"taints":[)" + taint(row.key, row.effect) + "]}}");
    CHECK(evicting(v, row.standing, row.held).size() == (row.evicts ? 1 : 0));
  }
}

TEST_CASE("tolerations: how long a pod may stay") {
  struct Row {
    const char* why;
    std::vector<Taint> taints;
    const char* tolerations;
    int64_t seconds;  // -1: for ever
  };
  const Taint a{"a", "1", "NoExecute", ""}, b{"b", "", "NoExecute", ""};
  const Row rows[] = {
      {"no taint", {}, "[]", -1},
      {"no toleration", {a}, "", 0},
      {"an empty list", {a}, "[]", 0},
      {"for ever", {a}, R"([{"key":"a","operator":"Exists"}])", -1},
      {"for a while", {a}, R"([{"key":"a","operator":"Exists","tolerationSeconds":30}])", 30},
      {"for no time", {a}, R"([{"key":"a","operator":"Exists","tolerationSeconds":0}])", 0},
      {"for less", {a}, R"([{"key":"a","operator":"Exists","tolerationSeconds":-5}])", 0},
      {"by value", {a}, R"([{"key":"a","value":"1","tolerationSeconds":7}])", 7},
      {"by value, said", {a}, R"([{"key":"a","operator":"Equal","value":"1"}])", -1},
      {"another value", {a}, R"([{"key":"a","value":"2"}])", 0},
      {"an operator that is not known", {a}, R"([{"key":"a","operator":"Gt","value":"0"}])", 0},
      {"effect", {a}, R"([{"key":"a","operator":"Exists","effect":"NoExecute","tolerationSeconds":9}])", 9},
      {"another effect", {a}, R"([{"key":"a","operator":"Exists","effect":"NoSchedule"}])", 0},
      {"everything", {a, b}, R"([{"operator":"Exists"}])", -1},
      {"one is not tolerated", {a, b}, R"([{"key":"a","operator":"Exists","tolerationSeconds":30}])", 0},
      {"the shortest of those that match",
       {a, b},
       R"([{"key":"a","operator":"Exists","tolerationSeconds":30},{"key":"b","operator":"Exists","tolerationSeconds":20}])",
       20},
      {"one of them for ever",
       {a, b},
       R"([{"key":"a","operator":"Exists"},{"key":"b","operator":"Exists","tolerationSeconds":20}])",
       20},
      {"one that matches nothing does not count",
       {a},
       R"([{"key":"c","operator":"Exists","tolerationSeconds":1},{"key":"a","operator":"Exists","tolerationSeconds":30}])",
       30},
      {"the first that matches speaks",
       {a},
       R"([{"key":"a","operator":"Exists","tolerationSeconds":30},{"key":"a","value":"1","tolerationSeconds":10}])",
       30},
      {"longer than time",
       {a},
       R"([{"key":"a","operator":"Exists","tolerationSeconds":9223372036854775807}])",
       3'153'600'000},
  };
  for (const Row& row : rows) {
    CAPTURE(row.why);
    const std::optional<int64_t> ms = allowance_ms(row.taints, json::Cursor(row.tolerations));
    CHECK(ms.has_value() == (row.seconds >= 0));
    if (ms) CHECK(*ms == row.seconds * 1000);
  }
}

TEST_CASE("evictions count from when they were first written down") {
  Evictions e;
  CHECK(e.schedule("d/a", "u1", 300'000, 1000) == 301'000);
  CHECK(e.schedule("d/a", "u1", 300'000, 200'000) == 301'000);  // looked at again
  CHECK(e.schedule("d/a", "u1", 10'000, 200'000) == 11'000);    // another taint, borne for less
  CHECK(e.schedule("d/a", "u2", 300'000, 5000) == 305'000);     // another pod of the name
  CHECK(e.cancel("d/a"));
  CHECK_FALSE(e.cancel("d/a"));
  CHECK(e.schedule("d/a", "u2", 300'000, 50'000) == 350'000);
  e.sent("d/a");
  CHECK(e.was_sent("d/a"));
  CHECK_FALSE(e.cancel("d/a"));  // it was not waiting any more
  CHECK(e.empty());
  e.sent("d/b");
  CHECK_FALSE(e.was_sent("d/b"));
}

TEST_CASE("what nobody confirms is unknown") {
  const NodeView n = node(
      R"({"metadata":{"name":"n","uid":"u","resourceVersion":"7","creationTimestamp":"2025-01-01T00:00:00Z"},)"
      R"("status":{"conditions":[{"type":"Ready","status":"True"},{"type":"DiskPressure","status":"Unknown"},)"
      R"({"type":"NetworkUnavailable","status":"False"}]}})");
  const std::string patch = plan_unknown(n, kNow).value();
  const json::Cursor p(patch), list = p["status"]["conditions"];
  CHECK(p["metadata"]["uid"].str() == "u");
  CHECK(p["metadata"]["resourceVersion"].str() == "7");
  CHECK(list.size() == 3);
  CHECK(list.at(0)["type"].str() == "Ready");
  CHECK(list.at(0)["status"].str() == "Unknown");
  CHECK(list.at(0)["reason"].str() == "NodeStatusUnknown");
  CHECK(list.at(0)["message"].str() == "Kubelet stopped posting node status.");
  CHECK(list.at(0)["lastTransitionTime"].str() == "2026-01-01T00:00:00Z");
  CHECK_FALSE(list.at(0)["lastHeartbeatTime"]);
  CHECK(list.at(1)["type"].str() == "MemoryPressure");
  CHECK(list.at(1)["reason"].str() == "NodeStatusNeverUpdated");
  CHECK(list.at(1)["lastHeartbeatTime"].str() == "2025-01-01T00:00:00Z");
  const NodeView all =
      node(R"({"metadata":{"name":"n"},"status":{"conditions":[{"type":"Ready","status":"Unknown"},)"
           R"({"type":"MemoryPressure","status":"Unknown"},{"type":"DiskPressure","status":"Unknown"},)"
           R"({"type":"PIDPressure","status":"Unknown"}]}})");
  CHECK_FALSE(plan_unknown(all, kNow));
}

TEST_CASE("the tolerations that nearly every pod has take no room") {
  const auto stored = [](const std::string& tolerations) {
    const schema::Resource* r = schema::find_resource("", "v1", "pods");
    json::Value pod = json::parse(R"({"spec":{"tolerations":)" + tolerations + "}}").value();
    return schema::encode_canonical(pod, *r->type());
  };
  const std::string usual = stored(
      R"([{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300},)"
      R"({"tolerationSeconds":300,"effect":"NoExecute","operator":"Exists","key":"node.kubernetes.io/unreachable"}])");
  const PodView v = read_pod(json::Cursor(usual));
  CHECK(v.default_tolerations);
  CHECK(v.own_tolerations.empty());
  CHECK(v.tolerations() == kDefaultTolerations);
  const std::string own = stored(R"([{"operator":"Exists"}])");
  CHECK(read_pod(json::Cursor(own)).tolerations() == R"([{"operator":"Exists"}])");
}
