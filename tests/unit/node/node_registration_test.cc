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
  SeededRandom random(4);
  NodeRegistration registration(loop, clock, random, api, device, [] { return true; });
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

namespace {

// A Node in an API that others write, too; every change is told to whoever watches.
struct Cluster {
  loop::Loop loop;
  ManualClock clock;
  SeededRandom random{4};
  test::FakeApi api{loop};
  bool stays = true;
  int posts = 0, writes = 0;
  std::string last;
  NodeFacts device = facts({});
  std::unique_ptr<NodeRegistration> registration;

  Cluster() {
    api.instead = [this](const client::Call& call) -> std::optional<client::Reply> {
      if (call.method == "GET") return std::nullopt;
      ++writes;
      last = call.body;
      if (call.method == "POST") {
        ++posts;
        json::Value node = json::parse(call.body).value();
        node.ref()["metadata"].set("uid", "u" + std::to_string(posts));
        api.put("nodes", node.ref().dump());
      } else {
        change([&](json::Ref node) { merge(node, json::parse(call.body).value().ref()); });
      }
      return client::Reply{200, api.get("nodes", "edge")};
    };
    registration =
        std::make_unique<NodeRegistration>(loop, clock, random, api, device, [this] { return stays; });
    registration->set_ready(true, "");
    registration->start([] {});
    CHECK(until([this] { return ready() == "True" && api.watches() == 1; }));
  }
  void change(const std::function<void(json::Ref)>& f) {
    json::Value node = json::parse(api.get("nodes", "edge")).value();
    f(node);
    api.put("nodes", node.ref().dump());
  }
  std::string ready() const {
    std::string out;
    json::Cursor(api.get("nodes", "edge"))["status"]["conditions"].each(
        [&](std::string_view, json::Cursor c) {
          if (c["type"].str_equals("Ready")) out = c["status"].str();
          return true;
        });
    return out;
  }
  std::string uid() const { return json::Cursor(api.get("nodes", "edge"))["metadata"]["uid"].str(); }
  // As the controller of nodes does with one that it does not hear of.
  void fall_silent() {
    change([](json::Ref node) {
      for (json::Ref c : node["status"]["conditions"]) c.set("status", "Unknown");
      json::Ref taint = node.ensure_object("spec").ensure_array("taints").push(json::Value::object());
      taint.set("key", "node.kubernetes.io/unreachable");
      taint.set("effect", "NoSchedule");
    });
  }
  bool until(const std::function<bool()>& f) { return loop.run_until(f, 20'000); }
  void settle() {
    loop.run_until([] { return false; }, 50);
  }
};

}  // namespace

TEST_CASE(
    "a Node that became Unknown is written anew as soon as the device sees it, and nothing after that") {
  Cluster c;
  c.settle();
  const int64_t before = c.registration->confirmed_ms();
  CHECK(before >= 0);
  const int quiet = c.writes;
  c.fall_silent();
  REQUIRE(c.until([&] { return c.ready() == "True"; }));
  c.settle();
  CHECK(c.writes == quiet + 1);
  CHECK(c.registration->confirmed_ms() >= before);
  // The taints are the controller's to take away.
  CHECK(c.api.get("nodes", "edge").find("unreachable") != std::string::npos);
  // What others write that is not the device's to say is no reason to write.
  c.change([](json::Ref node) { node["metadata"].ensure_object("annotations").set("theirs", "1"); });
  c.settle();
  CHECK(c.writes == quiet + 1);
}

TEST_CASE("conditions of others stay, and nobody is answered in a rage") {
  Cluster c;
  c.settle();
  c.change([](json::Ref node) {
    json::Ref foreign = node["status"]["conditions"].push(json::Value::object());
    foreign.set("type", "KernelDeadlock");
    foreign.set("status", "False");
  });
  c.settle();
  c.loop.run_until([] { return false; }, 1100);  // the device's last write is a while ago
  const int quiet = c.writes;
  c.fall_silent();
  REQUIRE(c.until([&] { return c.ready() == "True"; }));
  CHECK(c.api.get("nodes", "edge").find("KernelDeadlock") != std::string::npos);
  CHECK(c.writes == quiet + 1);
  // The version of what the patch was made from goes along, since the list is replaced whole.
  CHECK(c.last.find("\"resourceVersion\"") != std::string::npos);
  const int64_t began = c.loop.now_ms();
  for (int i = 0; i < 2; ++i) {
    c.fall_silent();
    REQUIRE(c.until([&] { return c.ready() == "True"; }));
  }
  CHECK(c.loop.now_ms() - began >= 1900);
}

TEST_CASE("the addresses of a Node: the device's own, its name, and the DNS name if it has one") {
  NodeFacts f = facts({});
  f.internal_ips = {"192.0.2.5"};
  const auto addresses = [&] {
    std::string out;
    const auto status = json::parse(node_status(f, true, "", "{}", {}));
    REQUIRE(status);
    for (json::Ref a : json::Ref(*status)["addresses"])
      out += strf("%s=%s ", std::string(a["type"].str()).c_str(), std::string(a["address"].str()).c_str());
    return out;
  };
  CHECK_EQ(addresses(), "InternalIP=192.0.2.5 Hostname=edge ");
  f.internal_dns = "edge.fleet.example";
  CHECK_EQ(addresses(), "InternalIP=192.0.2.5 Hostname=edge InternalDNS=edge.fleet.example ");
}

TEST_CASE("a Node that was removed comes back, unless the device is leaving") {
  Cluster c;
  c.settle();
  SUBCASE("seen by the watch, after a while") {
    c.api.remove("nodes", "edge");
    c.settle();
    CHECK(c.posts == 1);
    REQUIRE(c.until([&] { return c.posts == 2 && c.ready() == "True"; }));
    CHECK(c.uid() == "u2");
  }
  SUBCASE("said by a server that does not know it: at once") {
    c.api.remove("nodes", "edge");
    c.settle();
    c.registration->check();
    CHECK(c.loop.run_until([&] { return c.posts == 2; }, 1000));
  }
  SUBCASE("the device is leaving") {
    c.stays = false;
    c.api.remove("nodes", "edge");
    c.registration->check();
    c.settle();
    CHECK(c.posts == 1);
    CHECK(c.api.get("nodes", "edge").empty());
    c.stays = true;  // it was let in again
    REQUIRE(c.until([&] { return c.posts == 2; }));
  }
}
