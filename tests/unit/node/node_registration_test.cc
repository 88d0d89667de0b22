// What of the stored Node is changed so that it says what the configuration says.
#include "node/node_registration.h"

#include <doctest/doctest.h>

#include "base/json.h"
#include "world.h"

using namespace limpet;
using namespace limpet::node;

namespace {

NodeFacts facts(std::vector<NodeFacts::TaintFact> taints, std::map<std::string, std::string> labels = {}) {
  NodeFacts f;
  f.name = f.hostname = "edge";
  f.architecture = "amd64";
  f.taints = std::move(taints);
  f.labels = std::move(labels);
  return f;
}

// The object after another program changed it and the patch was applied: as a merge patch is (RFC 7386).
void merge(json::Ref target, json::Ref patch) {
  for (json::Ref member : patch) {
    const std::string key(member.key());
    if (member.is_null()) {
      target.remove(key);
    } else if (member.type() == json::Type::object) {
      merge(target.ensure_object(key), member);
    } else {
      target.set(key, member.clone());
    }
  }
}

std::string taints(json::Ref node) {
  std::string out;
  for (json::Ref t : node["spec"]["taints"]) {
    out += (out.empty() ? "" : " ") + std::string(t["key"].str()) + "=" + std::string(t["value"].str()) +
           ":" + std::string(t["effect"].str());
  }
  return out;
}

std::string label(json::Ref node, const char* key) {
  return std::string(node["metadata"]["labels"][key].str("none"));
}

struct World {
  json::Value node;
  explicit World(const NodeFacts& f) : node(json::parse(node_object(f)).value()) {
    node.ref()["metadata"].set("resourceVersion", "7");
  }
  // The configuration becomes f; true when something had to be written.
  bool take(const NodeFacts& f) {
    const std::string patch = node_patch(f, node.ref().dump());
    if (patch.empty()) return false;
    const json::Value parsed = json::parse(patch).value();
    CHECK(parsed.ref()["metadata"]["resourceVersion"].str() == "7");
    merge(node, parsed.ref());
    CHECK(node_patch(f, node.ref().dump()).empty());
    return true;
  }
  void operators_taints(const char* list) {
    node.ref().ensure_object("spec").set("taints", json::parse(list).value());
  }
};

}  // namespace

TEST_CASE("taints of the configuration come and go; those of others stay") {
  World w(facts({{"site", "roof", "NoSchedule"}}));
  CHECK(taints(w.node) == "site=roof:NoSchedule");
  CHECK_FALSE(w.take(facts({{"site", "roof", "NoSchedule"}})));

  w.operators_taints(R"([{"key":"site","value":"roof","effect":"NoSchedule"},
                         {"key":"maintenance","effect":"NoExecute"}])");
  CHECK(w.take(facts({{"site", "cellar", "NoSchedule"}, {"wet", "", "PreferNoSchedule"}})));
  CHECK(taints(w.node) == "maintenance=:NoExecute site=cellar:NoSchedule wet=:PreferNoSchedule");

  CHECK(w.take(facts({{"wet", "", "NoSchedule"}})));  // another effect is another taint
  CHECK(taints(w.node) == "maintenance=:NoExecute wet=:NoSchedule");
  CHECK(w.take(facts({})));
  CHECK(taints(w.node) == "maintenance=:NoExecute");
}

TEST_CASE("what an operator does to a taint of the configuration holds until the configuration changes") {
  World w(facts({{"site", "roof", "NoSchedule"}}));
  w.operators_taints("[]");
  CHECK_FALSE(w.take(facts({{"site", "roof", "NoSchedule"}})));
  CHECK(w.take(facts({{"site", "attic", "NoSchedule"}})));
  CHECK(taints(w.node) == "site=attic:NoSchedule");
}

TEST_CASE("labels of the configuration come and go; those of others stay, those of the machine come back") {
  World w(facts({}, {{"zone", "shore"}, {"kubernetes.io/hostname", "other"}}));
  w.node.ref()["metadata"].ensure_object("labels").set("team", "blue");
  CHECK_FALSE(w.take(facts({}, {{"zone", "shore"}, {"kubernetes.io/hostname", "other"}})));
  CHECK(w.take(facts({}, {{"tide", "low"}})));
  CHECK(label(w.node, "zone") == "none");
  CHECK(label(w.node, "tide") == "low");
  CHECK(label(w.node, "team") == "blue");
  CHECK(label(w.node, "kubernetes.io/hostname") == "edge");
}

TEST_CASE("a node of an earlier version, without the note of what was configured") {
  World w(facts({}));
  w.node.ref()["metadata"].remove("annotations");
  w.operators_taints(R"([{"key":"theirs","effect":"NoSchedule"}])");
  CHECK(w.take(facts({{"ours", "", "NoSchedule"}}, {{"zone", "shore"}})));
  CHECK(taints(w.node) == "theirs=:NoSchedule ours=:NoSchedule");
  CHECK(label(w.node, "zone") == "shore");
  CHECK(w.take(facts({})));
  CHECK(taints(w.node) == "theirs=:NoSchedule");
}

TEST_CASE("the end of the start waits for what the Node says, or for the attempt to say it") {
  loop::Loop loop;
  ManualClock clock;
  test::FakeApi api(loop);
  std::string node = R"({"metadata":{"name":"n","uid":"u","resourceVersion":"1"},"status":{"conditions":[)"
                     R"({"type":"Ready","status":"True"}]}})";
  bool refuses = false;
  api.instead = [&](const client::Call& call) -> std::optional<client::Reply> {
    if (call.method == "GET") return client::Reply{200, node};
    if (refuses) return client::Reply{507, R"({"message":"no room to write"})"};
    if (call.path.ends_with("/status")) {
      json::Value v = json::parse(node).value();
      v.ref().set("status", json::parse(call.body).value().ref()["status"].clone());
      node = v.ref().dump();
    }
    return client::Reply{200, node};
  };
  NodeFacts device;
  device.name = "n";
  NodeRegistration registration(loop, clock, api, device);
  int told = 0;
  std::string then;  // the Node at that moment
  const auto start = [&] {
    registration.set_facts(device);
    registration.set_ready(false, "the pod network cannot be set up");
    registration.start([&] {
      told++;
      then = node;
    });
    return loop.run_until([&] { return told > 0; }, 10'000);
  };
  SUBCASE("it is written") {
    REQUIRE(start());
    CHECK(then.find("the pod network cannot be set up") != std::string::npos);
  }
  SUBCASE("it cannot be written: a full disk keeps no device from serving") {
    refuses = true;
    REQUIRE(start());
    CHECK(then.find("the pod network cannot be set up") == std::string::npos);
    refuses = false;  // and is tried again
    CHECK(loop.run_until([&] { return node.find("the pod network cannot be set up") != std::string::npos; },
                         10'000));
  }
  CHECK(told == 1);
}

TEST_CASE("a device that is no server has its taints when it registers, and the labels that it may have") {
  NodeFacts f = facts(
      {{"site", "roof", "NoSchedule"}},
      {{"zone", "shore"}, {"node-restriction.kubernetes.io/secure", "1"}, {"node-role.kubernetes.io/x", ""}});
  using Names = std::vector<std::string>;
  CHECK(refused_labels(f) == Names{"node-restriction.kubernetes.io/secure"});
  f.server = false;
  CHECK(refused_labels(f) == Names{"node-restriction.kubernetes.io/secure", "node-role.kubernetes.io/x"});
  World w(f);
  CHECK(taints(w.node) == "site=roof:NoSchedule");
  CHECK(label(w.node, "zone") == "shore");
  CHECK(label(w.node, "node-role.kubernetes.io/control-plane") == "none");
  CHECK(label(w.node, "node-restriction.kubernetes.io/secure") == "none");
  w.node.ref()["metadata"]["labels"].set("node-restriction.kubernetes.io/secure", "by an administrator");
  f.taints = {{"site", "cellar", "NoExecute"}};
  f.labels = {{"zone", "sea"}};
  CHECK(w.take(f));
  CHECK(taints(w.node) == "site=roof:NoSchedule");
  CHECK(label(w.node, "zone") == "sea");
  CHECK(label(w.node, "node-restriction.kubernetes.io/secure") == "by an administrator");
}

TEST_CASE("a device whose role changed says so of the Node that it finds") {
  NodeFacts f = facts({}, {{"zone", "shore"}});
  World w(f);
  CHECK(label(w.node, "node-role.kubernetes.io/control-plane").empty());
  f.server = false;
  CHECK(w.take(f));
  CHECK(label(w.node, "node-role.kubernetes.io/control-plane") == "none");
  CHECK(label(w.node, "zone") == "shore");
  CHECK_FALSE(w.take(f));
  f.server = true;
  CHECK(w.take(f));
  CHECK(label(w.node, "node-role.kubernetes.io/control-plane").empty());
}
