// The scheduler's driver against a played API: what it does when others act between its two steps.
#include "scheduler/driver.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <vector>

#include "base/json.h"

using namespace limpet;
using namespace limpet::scheduler;

namespace {

struct Token final : client::Pending {
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);
  ~Token() override { *alive = false; }
};

// Pods and nodes, bindings and status patches.
class Api final : public client::Client {
 public:
  explicit Api(loop::Loop& loop) : loop_(loop) {}
  std::vector<std::string> bound;   // "web>n1", in order
  std::vector<std::string> events;  // reasons
  int status_patches = 0;
  std::vector<int> binding_answers;  // used up one by one before bindings work
  bool hold_bindings = false;
  std::vector<std::function<void()>> held;

  void node(const std::string& name, int cpu, const std::string& more_spec = "") {
    store("nodes", name,
          R"({"metadata":{"name":")" + name + R"("},"spec":{)" + more_spec +
              R"(},"status":{"allocatable":{"cpu":")" + std::to_string(cpu) +
              R"(","memory":"1Gi","pods":"110"}}})");
  }
  void pod(const std::string& name, const std::string& uid, int cpu = 1, int priority = 0,
           const std::string& more = "") {
    store("pods", name,
          R"({"metadata":{"name":")" + name + R"(","namespace":"d","uid":")" + uid +
              R"("},"spec":{"schedulerName":"default-scheduler","priority":)" + std::to_string(priority) +
              more + R"(,"containers":[{"name":"c","resources":{"requests":{"cpu":")" + std::to_string(cpu) +
              R"("}}}]}})");
  }
  void touch(const std::string& name) {
    json::Value v = json::parse(objects_.at("pods/" + name)).value();
    v.ref()["metadata"].ensure_object("labels").set("t", ++version_);
    store("pods", name, v.ref().dump());
  }
  void remove(const std::string& resource, const std::string& name) {
    const std::string last = objects_.at(resource + "/" + name);
    objects_.erase(resource + "/" + name);
    tell(resource, "DELETED", last);
  }
  std::string message(const std::string& name) const {
    return json::Cursor(objects_.at("pods/" + name))["status"]["conditions"].at(0)["message"].str();
  }

  std::unique_ptr<client::Pending> call(client::Call call,
                                        std::function<void(Result<client::Reply>)> done) override {
    auto token = std::make_unique<Token>();
    auto f = [this, alive = token->alive, call, done = std::move(done)] {
      // What the server does, it does also when nobody waits for the answer any more.
      client::Reply reply = answer(call);
      if (*alive) done(std::move(reply));
    };
    if (hold_bindings && call.path.ends_with("/binding")) {
      held.push_back(f);
    } else {
      loop_.defer(f);
    }
    return token;
  }
  std::unique_ptr<client::Pending> stream(client::Call call, Stream stream) override {
    auto token = std::make_unique<Token>();
    watches_.push_back({call.path.substr(call.path.rfind('/') + 1), token->alive, std::move(stream)});
    return token;
  }

 private:
  struct Watch {
    std::string resource;
    std::shared_ptr<bool> alive;
    Stream stream;
  };
  void store(const std::string& resource, const std::string& name, const std::string& text) {
    json::Value v = json::parse(text).value();
    v.ref()["metadata"].set("resourceVersion", std::to_string(++version_));
    const bool known = objects_.contains(resource + "/" + name);
    objects_[resource + "/" + name] = v.ref().dump();
    tell(resource, known ? "MODIFIED" : "ADDED", objects_[resource + "/" + name]);
  }
  void tell(const std::string& resource, const char* type, const std::string& object) {
    for (const Watch& w : watches_) {
      if (!*w.alive || w.resource != resource) continue;
      loop_.defer([alive = w.alive, f = w.stream.on_event,
                   text = std::string(R"({"type":")") + type + R"(","object":)" + object + "}"] {
        if (*alive) f(text);
      });
    }
  }
  client::Reply answer(const client::Call& call) {
    if (call.path.ends_with("/events")) {
      events.push_back(json::Cursor(call.body)["reason"].str());
      return {201, "{}"};
    }
    if (call.path.find("/events/") != std::string::npos) return {200, "{}"};
    if (call.method == "GET") {
      const std::string resource = call.path.substr(call.path.rfind('/') + 1);
      std::string items;
      for (const auto& [key, o] : objects_) {
        if (key.starts_with(resource + "/")) items += (items.empty() ? "" : ",") + o;
      }
      return {200, R"({"metadata":{"resourceVersion":")" + std::to_string(version_) + R"("},"items":[)" +
                       items + "]}"};
    }
    const size_t begin = call.path.find("/pods/") + 6, end = call.path.rfind('/');
    const std::string name = call.path.substr(begin, end - begin);
    const auto it = objects_.find("pods/" + name);
    if (it == objects_.end()) return {404, "{}"};
    json::Value pod = json::parse(it->second).value();
    const json::Value body = json::parse(call.body).value();
    if (body.ref()["metadata"]["uid"].str() != pod.ref()["metadata"]["uid"].str()) return {409, "{}"};
    if (call.path.ends_with("/status")) {
      status_patches++;
      pod.ref().ensure_object("status").set("conditions", body.ref()["status"]["conditions"].clone());
      store("pods", name, pod.ref().dump());
      return {200, "{}"};
    }
    if (!binding_answers.empty()) {
      const int status = binding_answers.front();
      binding_answers.erase(binding_answers.begin());
      return {status, "{}"};
    }
    if (!pod.ref()["spec"]["nodeName"].str().empty()) return {409, "{}"};
    const std::string node(body.ref()["target"]["name"].str());
    pod.ref()["spec"].set("nodeName", node);
    bound.push_back(name + ">" + node);
    store("pods", name, pod.ref().dump());
    return {201, "{}"};
  }

  loop::Loop& loop_;
  std::map<std::string, std::string> objects_;
  std::vector<Watch> watches_;
  int version_ = 1;
};

struct Rig {
  loop::Loop loop;
  ManualClock clock;
  SeededRandom random{5};
  Api api{loop};
  client::EventRecorder events{loop, clock, random, api, "default-scheduler", ""};
  std::unique_ptr<Driver> driver = std::make_unique<Driver>(loop, clock, random, api, events);

  bool until(const std::function<bool()>& f) { return loop.run_until(f, 20'000); }
  void settle() {
    for (int i = 0; i < 30; i++) {
      loop::Timer wake(loop, "test");
      bool over = false;
      wake.start(1, [&] { over = true; });
      (void)loop.run_until([&] { return over; }, 1000);
    }
  }
};

}  // namespace

TEST_CASE("pods are bound once, the important ones first, and many in several passes") {
  Rig r;
  r.api.node("n1", 1000);
  for (int i = 0; i < 120; i++)
    r.api.pod("p" + std::to_string(i), "u" + std::to_string(i), 1, i == 77 ? 10 : 0);
  r.driver->start();
  REQUIRE(r.until([&] { return r.api.bound.size() == 110; }));  // what the node takes
  r.settle();
  CHECK(r.api.bound.size() == 110);
  CHECK(r.api.bound[0] == "p77>n1");
  std::vector<std::string> names = r.api.bound;
  std::sort(names.begin(), names.end());
  CHECK(std::adjacent_find(names.begin(), names.end()) == names.end());
}

TEST_CASE("what does not fit says why once, and goes where room appears") {
  struct Row {
    const char* name;
    std::function<void(Rig&)> makes_room;
    const char* to;
  };
  const Row rows[] = {
      {"another node", [](Rig& r) { r.api.node("n2", 4); }, "n2"},
      {"the node grows", [](Rig& r) { r.api.node("n1", 8); }, "n1"},
      {"a pod goes", [](Rig& r) { r.api.remove("pods", "first"); }, "n1"},
      {"the pod asks for less", [](Rig& r) { r.api.pod("big", "u2", 1); }, "n1"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    Rig r;
    r.api.node("n1", 4);
    r.api.pod("first", "u1", 2);
    r.driver->start();
    REQUIRE(r.until([&] { return r.api.bound.size() == 1; }));
    r.api.pod("big", "u2", 4);
    REQUIRE(r.until([&] { return r.api.status_patches == 1; }));
    CHECK(r.api.message("big") ==
          "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption "
          "victims found for incoming pod.");
    r.api.touch("big");
    r.settle();
    CHECK(r.api.status_patches == 1);
    CHECK(std::count(r.api.events.begin(), r.api.events.end(), "FailedScheduling") == 1);
    row.makes_room(r);
    REQUIRE(r.until([&] { return r.api.bound.size() == 2; }));
    CHECK(r.api.bound[1] == std::string("big>") + row.to);
  }
}

TEST_CASE("a cordoned node that is freed") {
  Rig r;
  r.api.node("n1", 4, R"("unschedulable":true)");
  r.api.pod("web", "u1");
  r.driver->start();
  REQUIRE(r.until([&] { return r.api.status_patches == 1; }));
  r.api.node("n1", 4);
  CHECK(r.until([&] { return r.api.bound.size() == 1; }));
}

TEST_CASE("a binding that is refused is tried again, and its room is free meanwhile") {
  for (const int status : {409, 404, 503}) {
    CAPTURE(status);
    Rig r;
    r.api.node("n1", 1);
    r.api.binding_answers = {status};
    r.api.pod("web", "u1");
    r.driver->start();
    CHECK(r.until([&] { return r.api.bound.size() == 1; }));
  }
}

TEST_CASE("deleted while its binding is under way: the room is given back") {
  for (const bool again : {false, true}) {
    CAPTURE(again);
    Rig r;
    r.api.node("n1", 1);
    r.api.hold_bindings = true;
    r.api.pod("web", "u1");
    r.driver->start();
    REQUIRE(r.until([&] { return r.api.held.size() == 1; }));
    r.api.remove("pods", "web");
    r.api.pod(again ? "web" : "other", "u2");  // needs the same room
    r.settle();
    r.api.hold_bindings = false;
    for (auto& f : std::exchange(r.api.held, {})) f();
    CHECK(r.until([&] { return r.api.bound.size() == 1; }));
    r.settle();
    CHECK(r.api.bound == std::vector<std::string>{again ? "web>n1" : "other>n1"});
  }
}

TEST_CASE("news of a pod from before its binding do not bind it again") {
  Rig r;
  r.api.node("n1", 2);
  r.api.hold_bindings = true;
  r.api.pod("web", "u1");
  r.driver->start();
  REQUIRE(r.until([&] { return r.api.held.size() == 1; }));
  r.api.touch("web");
  for (auto& f : std::exchange(r.api.held, {})) f();  // answered before the watch told of the touch
  r.settle();
  CHECK(r.api.held.empty());
  CHECK(r.api.bound.size() == 1);
}

TEST_CASE("destroyed with a binding under way") {
  Rig r;
  r.api.node("n1", 1);
  r.api.hold_bindings = true;
  r.api.pod("web", "u1");
  r.driver->start();
  REQUIRE(r.until([&] { return r.api.held.size() == 1; }));
  r.driver.reset();
  for (auto& f : std::exchange(r.api.held, {})) f();
  r.settle();
}
