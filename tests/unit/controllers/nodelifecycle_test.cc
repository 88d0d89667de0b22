// The life cycle of nodes on virtual time: devices fall silent and come back, leaders change, pods are
// evicted, stay, and are removed for good.
#include <doctest/doctest.h>

#include <algorithm>

#include "world.h"

using namespace limpet;
using namespace limpet::controllers;

namespace {

const std::string kBoth =
    "node.kubernetes.io/unreachable:NoExecute node.kubernetes.io/unreachable:NoSchedule";
const std::string kNotReady =
    "node.kubernetes.io/not-ready:NoExecute node.kubernetes.io/not-ready:NoSchedule";
// As admission gives them to pods.
const std::string kUsual = std::string(kDefaultTolerations);

std::string bearing(int64_t seconds) {
  return R"([{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":)" +
         std::to_string(seconds) + "}]";
}

bool going(World& w, const std::string& pod) {
  return static_cast<bool>(w.get("pods/d/" + pod).ref()["metadata"]["deletionTimestamp"]);
}

int64_t count(const World& w, const std::string& part) {
  return std::count_if(w.events.begin(), w.events.end(),
                       [&](const std::string& e) { return e.find(part) != std::string::npos; });
}

int64_t writes(const World& w, const std::string& what) {
  return std::count(w.api.log.begin(), w.api.log.end(), what);
}

// This device, and two others that renew their leases.
void three(World& w) {
  for (const char* name : {"a", "b"}) w.node(name);
  w.start();
}

}  // namespace

TEST_CASE("nodes: a device that falls silent") {
  World w;
  three(w);
  w.pod_on("p", "a", kUsual);
  w.pod_on("q", "b", kUsual);
  w.pod_on("mine", "own", kUsual);
  CHECK(w.said("Node/a RegisteredNode: Node a event: Registered Node a in Controller"));
  w.pass_renewing({"a", "b"}, 60);
  w.renew("a");
  const size_t before = w.api.log.size();
  w.pass_renewing({"b"}, 39);
  CHECK(w.api.log.size() == before);
  w.pass_renewing({"b"}, 2);
  for (const char* type : {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"}) {
    CAPTURE(type);
    CHECK(w.condition("nodes//a", type, "status") == "Unknown");
    CHECK(w.condition("nodes//a", type) == "NodeStatusUnknown");
    CHECK(w.condition("nodes//a", type, "message") == "Kubelet stopped posting node status.");
  }
  CHECK(w.taints("a") == kBoth);
  CHECK(w.condition("pods/d/p", "Ready", "status") == "False");
  CHECK(count(w, "Node/a NodeNotReady: Node a status is now: NodeNotReady") == 1);
  CHECK(w.said("Pod/p NodeNotReady: Node is not ready"));
  CHECK(w.condition("nodes//b", "Ready", "status") == "True");
  CHECK(w.condition("nodes//own", "Ready", "status") == "True");
  CHECK(w.taints("b").empty());
  CHECK(w.taints("own").empty());
  CHECK(w.condition("pods/d/q", "Ready", "status") == "True");
  CHECK(w.condition("pods/d/mine", "Ready", "status") == "True");
  CHECK(writes(w, "PATCH nodes//a/status") == 1);
  CHECK(writes(w, "PATCH nodes//a") == 1);

  // It is back, and says so.
  w.renew("a");
  w.settle();
  CHECK(w.taints("a") == kBoth);  // its conditions are its own to say
  w.device_says("a", "True");
  w.settle();
  CHECK(w.taints("a").empty());
  CHECK(w.condition("nodes//a", "Ready", "status") == "True");
  CHECK_FALSE(going(w, "p"));
  w.pass_renewing({"a", "b"}, 600);
  CHECK(w.taints("a").empty());
  CHECK_FALSE(going(w, "p"));
}

TEST_CASE("nodes: a status that the device writes is a sign of life, what others write is none") {
  World w;
  three(w);
  w.pass_renewing({"b"}, 30);
  w.device_says("a", "True");
  w.pass_renewing({"b"}, 30);
  CHECK(w.condition("nodes//a", "Ready", "status") == "True");
  w.api.change("nodes//a", [](json::Ref n) { n["metadata"].ensure_object("labels").set("x", "y"); });
  w.pass_renewing({"b"}, 11);
  CHECK(w.condition("nodes//a", "Ready", "status") == "Unknown");
}

TEST_CASE("nodes: a device that is not ready, by its own word") {
  World w;
  three(w);
  w.pod_on("p", "a", kUsual);
  w.device_says("a", "False");
  w.settle();
  CHECK(w.taints("a") == kNotReady);
  CHECK(w.condition("pods/d/p", "Ready", "status") == "True");  // the device says how its pods are
  w.pass_renewing({"a", "b"}, 299);
  CHECK_FALSE(going(w, "p"));
  w.pass_renewing({"a", "b"}, 2);
  CHECK(going(w, "p"));
  CHECK(w.said("Pod/p TaintManagerEviction: Marking for deletion Pod d/p"));
  w.device_says("a", "True");
  w.settle();
  CHECK(w.taints("a").empty());
}

TEST_CASE("nodes: from not ready to unreachable the pods' time goes on") {
  World w;
  three(w);
  w.pod_on("p", "a", kUsual);
  w.device_says("a", "False");
  w.pass_renewing({"b"}, 41);
  CHECK(w.taints("a") == kBoth);
  w.pass_renewing({"b"}, 258);
  CHECK_FALSE(going(w, "p"));
  w.pass_renewing({"b"}, 2);
  CHECK(going(w, "p"));
}

TEST_CASE("evictions: each pod after its own time, told once, and it stays until its device confirms") {
  World w;
  three(w);
  w.pod_on("usual", "a", kUsual);
  w.pod_on("short", "a", bearing(20));
  w.pod_on("ever", "a", R"([{"operator":"Exists"}])");
  w.pod_on("none", "a", R"([{"key":"other","operator":"Exists"}])");
  w.settle();
  w.pass_renewing({"b"}, 41);
  CHECK(going(w, "none"));
  CHECK_FALSE(going(w, "short"));
  w.pass_renewing({"b"}, 20);
  CHECK(going(w, "short"));
  CHECK(w.condition("pods/d/short", "DisruptionTarget", "status") == "True");
  CHECK(w.condition("pods/d/short", "DisruptionTarget") == "DeletionByTaintManager");
  w.pass_renewing({"b"}, 278);
  CHECK_FALSE(going(w, "usual"));
  w.pass_renewing({"b"}, 3);
  CHECK(going(w, "usual"));
  CHECK_FALSE(going(w, "ever"));
  for (const char* pod : {"none", "short", "usual"}) {
    CAPTURE(pod);
    CHECK(count(w, std::string("Marking for deletion Pod d/") + pod) == 1);
    CHECK(writes(w, std::string("DELETE pods/d/") + pod) == 1);
  }
  w.pass_renewing({"b"}, 3600);
  CHECK(w.api.names("pods").size() == 4);  // still there, Terminating
  CHECK_FALSE(w.said("Cancelling deletion"));
}

TEST_CASE("evictions: cancelled when the device is back, and counted anew when it goes again") {
  World w;
  three(w);
  w.pod_on("p", "a", kUsual);
  w.settle();
  w.pass_renewing({"b"}, 200);
  CHECK(w.taints("a") == kBoth);
  w.renew("a");  // the sign of life is enough
  w.settle();
  CHECK(count(w, "Pod/p TaintManagerEviction: Cancelling deletion of Pod d/p") == 1);
  w.device_says("a", "True");
  w.settle();
  CHECK(w.taints("a").empty());
  w.pass_renewing({"b"}, 41 + 290);
  CHECK_FALSE(going(w, "p"));
  w.pass_renewing({"b"}, 12);
  CHECK(going(w, "p"));
}

TEST_CASE("evictions: an operator's taint, and a pod that comes to bear it") {
  World w;
  three(w);
  w.pod_on("p", "b", kUsual);
  w.pod_on("q", "b", R"([{"key":"site","operator":"Exists","effect":"NoExecute","tolerationSeconds":60}])");
  w.settle();
  w.api.change("nodes//b", [](json::Ref n) {
    json::Ref t = n.ensure_object("spec").ensure_array("taints").push(json::Value::object());
    t.set("key", "site");
    t.set("effect", "NoExecute");
  });
  w.settle();
  CHECK(going(w, "p"));
  w.pass_renewing({"a", "b"}, 30);
  w.api.change("pods/d/q", [](json::Ref p) { p["spec"]["tolerations"].at(0).remove("tolerationSeconds"); });
  w.pass_renewing({"a", "b"}, 60);
  CHECK_FALSE(going(w, "q"));
  CHECK(w.said("Cancelling deletion of Pod d/q"));
  // One that arrives there without bearing it.
  w.pod_on("r", "b", kUsual);
  w.settle();
  CHECK(going(w, "r"));
}

TEST_CASE("evictions: a deletion that fails is tried again and told once") {
  World w;
  three(w);
  w.pod_on("p", "a", bearing(0));
  w.settle();
  int refusals = 4;
  w.api.refuse = [&](const client::Call& call) {
    return call.method == "DELETE" && refusals-- > 0 ? 500 : 0;
  };
  w.pass_renewing({"b"}, 60);
  CHECK(going(w, "p"));
  CHECK(count(w, "Marking for deletion Pod d/p") == 1);
}

TEST_CASE("evictions stop when most devices are unreachable, and go on when they are back") {
  World w;
  for (const char* name : {"a", "b", "c", "d"}) w.node(name);
  w.start();
  for (const char* name : {"a", "b", "c"}) w.pod_on(std::string("p") + name, name, kUsual);
  w.settle();
  w.pass_renewing({"b", "c", "d"}, 100);  // a is unreachable for a minute
  CHECK(w.taints("a") == kBoth);
  w.pass_renewing({"d"}, 50);  // three of five
  CHECK(count(w, "Node/own EvictionsStopped: 3 of 5 devices are unreachable: evictions stop") == 1);
  CHECK(w.said("Cancelling deletion of Pod d/pa"));
  CHECK(w.condition("nodes//b", "Ready", "status") == "Unknown");
  CHECK(w.condition("pods/d/pb", "Ready", "status") == "False");
  w.pass_renewing({"d"}, 3600);
  for (const char* pod : {"pa", "pb", "pc"}) CHECK_FALSE(going(w, pod));
  // No pods go there either way.
  for (const char* name : {"a", "b", "c"})
    CHECK(w.taints(name).find("node.kubernetes.io/unreachable:NoSchedule") != std::string::npos);

  w.renew("b");
  w.device_says("b", "True");
  w.settle();
  CHECK(count(w, "Node/own EvictionsResumed: 2 of 5 devices are unreachable: evictions go on") == 1);
  CHECK(w.taints("b").empty());
  CHECK(w.taints("c") == kBoth);
  w.pass_renewing({"b", "d"}, 290);  // the pods' time counts anew
  CHECK_FALSE(going(w, "pa"));
  w.pass_renewing({"b", "d"}, 20);
  CHECK(going(w, "pa"));
  CHECK(going(w, "pc"));
  CHECK_FALSE(going(w, "pb"));
  CHECK(count(w, "EvictionsStopped") == 1);
}

TEST_CASE("evictions: of two devices the other one's pods move") {
  World w;
  w.node("a");
  w.start();
  w.pod_on("p", "a", kUsual);
  w.settle();
  w.pass(345'000);
  CHECK(going(w, "p"));
  CHECK_FALSE(w.said("EvictionsStopped"));
}

TEST_CASE("a device alone is never unreachable, and sets no timer for itself") {
  World w;
  w.start();
  w.pod_on("p", "own", kUsual);
  w.settle();
  const size_t before = w.api.log.size();
  CHECK(w.timing.alarms() == 0);
  w.pass(24 * 3'600'000);
  CHECK(w.api.log.size() == before);
  CHECK(w.condition("nodes//own", "Ready", "status") == "True");
}

TEST_CASE("a new leader gives every device the whole grace period anew") {
  World w;
  three(w);
  w.pod_on("p", "a", kUsual);
  w.pod_on("q", "b", bearing(0));
  w.pass_renewing({"a", "b"}, 30);
  w.pass_renewing({"b"}, 25);  // a is silent for 35 s
  w.restart();
  w.pass_renewing({"b"}, 39);
  CHECK(w.condition("nodes//a", "Ready", "status") == "True");
  w.pass_renewing({"b"}, 2);
  CHECK(w.condition("nodes//a", "Ready", "status") == "Unknown");
  CHECK_FALSE(going(w, "p"));

  // What an earlier leader found out stays written, but nothing follows from it before it is found out anew.
  w.pass_renewing({"b"}, 290);
  w.restart();
  CHECK(w.taints("a") == kBoth);
  w.pod_on("late", "a", bearing(0));
  w.pass_renewing({"b"}, 39);
  CHECK_FALSE(going(w, "late"));
  w.pass_renewing({"b"}, 2);
  CHECK(going(w, "late"));
  w.pass_renewing({"b"}, 297);
  CHECK_FALSE(going(w, "p"));
  w.pass_renewing({"b"}, 5);
  CHECK(going(w, "p"));
  CHECK_FALSE(going(w, "q"));
}

TEST_CASE("a lease that is there at the start says nothing, one that changes does") {
  World w;
  three(w);
  w.renew("a");
  w.settle();
  w.restart();
  w.pass(39'000);
  CHECK(w.condition("nodes//a", "Ready", "status") == "True");
  w.renew("b");
  w.pass(2000);
  CHECK(w.condition("nodes//a", "Ready", "status") == "Unknown");
  CHECK(w.condition("nodes//b", "Ready", "status") == "True");
}

TEST_CASE("a leader that stood still does not take the others for dead") {
  World w;
  three(w);
  w.pass_renewing({"a", "b"}, 30);
  w.clock.advance_ms(120'000);  // stopped, and let go on
  w.pass(1000);
  CHECK(w.condition("nodes//a", "Ready", "status") == "True");
  w.pass_renewing({"b"}, 40);
  CHECK(w.condition("nodes//a", "Ready", "status") == "Unknown");
  CHECK(w.condition("nodes//b", "Ready", "status") == "True");
}

TEST_CASE("the grace period is configured") {
  World w;
  w.nodes.grace_ms = 300'000;
  three(w);
  w.pass(299'000);
  CHECK(w.taints("a").empty());
  w.pass(2000);
  CHECK(w.taints("a").find("unreachable:NoSchedule") != std::string::npos);
}

TEST_CASE("judgements are gathered: at most one a second") {
  World w;
  for (int i = 0; i < 40; i++) w.node("n" + std::to_string(i));
  w.start();
  for (int i = 0; i < 40; i++) {  // the last word of each, 25 ms after that of the one before
    w.renew("n" + std::to_string(i));
    w.settle();
    w.clock.advance_ms(25);
  }
  w.pass(38'000);
  size_t rings = 0;
  const int64_t end = w.clock.monotonic_ms() + 5000;
  for (; w.timing.ring(end); rings++) {
    while (w.api.turn() || w.timing.turn()) {
    }
  }
  for (int i = 0; i < 40; i++)
    CHECK(w.condition("nodes//n" + std::to_string(i), "Ready", "status") == "Unknown");
  CHECK(rings <= 5);
}

TEST_CASE("evictions: asked for once, while the watch is behind") {
  World w;
  three(w);
  w.pod_on("p", "a", bearing(10));
  w.settle();
  w.pass_renewing({"b"}, 45);
  w.api.lag = true;
  w.pass(6000);
  CHECK(going(w, "p"));
  w.api.lag = false;
  REQUIRE(w.api.turn());  // the condition is seen
  w.api.lag = true;       // the deletion is not
  w.settle();
  CHECK(writes(w, "DELETE pods/d/p") == 1);
}

TEST_CASE("pods of a node that was removed go for good, after a quarantine") {
  World w;
  three(w);
  w.pod_on("p", "a", kUsual);
  w.pod_on("done", "a", kUsual);
  w.pod_on("going", "a", bearing(0));
  w.pod_on("q", "b", kUsual);
  w.api.change("pods/d/done", [](json::Ref p) { p["status"].set("phase", "Succeeded"); });
  w.settle();
  w.pass_renewing({"b"}, 60);
  CHECK(going(w, "going"));
  w.api.remove("nodes//a");
  w.settle();
  CHECK(w.said("Node/a RemovingNode: Node a event: Removing Node a from Controller"));
  w.pass_renewing({"b"}, 39);
  CHECK(w.api.has("pods/d/p"));
  w.pass_renewing({"b"}, 2);
  CHECK(w.api.names("pods") == std::vector<std::string>{"q"});
  CHECK(writes(w, "PATCH pods/d/done/status") == 1);  // not ready, while it was unreachable; no failure
  // A lease of its own does not bring it back.
  w.renew("a");
  w.pass_renewing({"b"}, 60);
  CHECK_FALSE(w.api.has("nodes//a"));
}

TEST_CASE("a node that comes back within the quarantine keeps its pods") {
  World w;
  three(w);
  w.pod_on("p", "a", kUsual);
  w.settle();
  w.api.change("nodes//a", [](json::Ref n) { n["metadata"].ensure_object("labels").set("x", "y"); });
  w.api.remove("nodes//a");  // both are seen before the first is looked at
  w.pass_renewing({"b"}, 20);
  CHECK(w.api.has("pods/d/p"));
  w.node("a");
  w.pass_renewing({"a", "b"}, 120);
  CHECK(w.api.has("pods/d/p"));
  CHECK_FALSE(going(w, "p"));
  CHECK(count(w, "Node/a RegisteredNode") == 2);
}

TEST_CASE("pods of no node: at the start, bound to nowhere, and when the watch is behind") {
  World w;
  w.pod_on("stray", "nowhere", kUsual);
  w.start();
  w.pass(41'000);
  CHECK_FALSE(w.api.has("pods/d/stray"));
  w.pod_on("stray", "nowhere", kUsual);
  w.pass(35'000);
  CHECK(w.api.has("pods/d/stray"));  // a quarantine of its own
  // The node comes, but the controller does not hear of it: the API is asked.
  w.api.lag = true;
  w.node("nowhere");
  w.pass(10'000);
  CHECK(w.api.has("pods/d/stray"));
  w.api.lag = false;
  w.pass(30'000);
  CHECK(w.api.has("pods/d/stray"));
}

TEST_CASE("a removal that fails is tried again") {
  World w;
  w.pod_on("p", "gone", kUsual);
  int refusals = 3;
  w.api.refuse = [&](const client::Call& call) {
    return call.method == "DELETE" && refusals-- > 0 ? 500 : 0;
  };
  w.start();
  w.pass(50'000);
  CHECK_FALSE(w.api.has("pods/d/p"));
}

TEST_CASE("a device that is out of service: what ends there need not be confirmed") {
  World w;
  three(w);
  w.pod_on("p", "a", kUsual);
  w.settle();
  w.pass_renewing({"b"}, 45);
  w.api.change("nodes//a", [](json::Ref n) {
    json::Ref t = n["spec"].ensure_array("taints").push(json::Value::object());
    t.set("key", "node.kubernetes.io/out-of-service");
    t.set("effect", "NoExecute");
  });
  w.settle();
  CHECK_FALSE(w.api.has("pods/d/p"));
}

TEST_CASE("cordoned devices are tainted, as kubectl describe shows them") {
  World w;
  three(w);
  w.api.change("nodes//b", [](json::Ref n) { n.ensure_object("spec").set("unschedulable", true); });
  w.settle();
  CHECK(w.taints("b") == "node.kubernetes.io/unschedulable:NoSchedule");
  w.api.change("nodes//b", [](json::Ref n) { n["spec"].remove("unschedulable"); });
  w.settle();
  CHECK(w.taints("b").empty());
}
