// Stories of the agent and its workers: what happens to pods when things go wrong between two steps.
#include "world.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/atomic_file.h"
#include "base/failpoint.h"
#include "base/tree.h"

using namespace limpet;
using namespace limpet::node;
using namespace limpet::node::test;

TEST_CASE("a pod comes up, is reported and goes without a trace") {
  World w;
  w.start_daemon();
  w.api.put_pod(pod());
  REQUIRE(w.runs("web"));
  CHECK(w.until([&] { return w.api.container("web")["ready"].boolean(); }));
  CHECK(w.api.status("web")["podIP"].str() == "10.42.0.11");
  CHECK(w.images.in_use == std::vector<std::string>{"sha256:app:1"});
  const std::string id = w.runtime.running("app");
  REQUIRE(make_directories(w.dir + "/logs/d_web_u1/app", 0755).has_value());
  w.api.delete_pod("web", 30);
  CHECK(w.gone("u1"));
  w.settle();
  CHECK(w.runtime.containers.empty());
  CHECK(w.network.attached.empty());
  CHECK(w.images.in_use.empty());
  CHECK(w.api.get("pods", "web").empty());
  CHECK(w.worker("web") == nullptr);
  CHECK(access((w.dir + "/logs/d_web_u1").c_str(), F_OK) != 0);
  CHECK(list_directory(w.dir + "/run/etc").empty());
  CHECK(w.api.count_event("Killing") == 1);
}

TEST_CASE("images of containers whose turn has not come are in use, also before the API is there") {
  World w;
  w.images.present = {"app:1", "init:1", "side:1", "debug:1", "other:1"};
  const std::string more =
      R"(,"initContainers":[{"name":"i","image":"init:1"},{"name":"s","image":"side:1","restartPolicy":"Always"}],)"
      R"("ephemeralContainers":[{"name":"d","image":"debug:1"}])";
  const std::vector<std::string> all = {"sha256:app:1", "sha256:debug:1", "sha256:init:1", "sha256:side:1"};
  w.start_daemon();
  w.api.put_pod(pod("web", "u1", more));
  CHECK(w.until([&] { return w.images.in_use == all; }));
  w.kill_daemon();
  w.runtime.reboot();
  w.images.in_use.clear();
  w.runtime.hold_sandbox = true;  // nothing of it starts for now
  w.api.down = true;
  w.start_daemon();
  CHECK(w.until([&] { return w.images.in_use == all; }));
}

TEST_CASE("the image of a pod that ran before is known by its own id, whatever its tag says now") {
  World w;
  w.start_daemon();
  w.api.put_pod(pod());
  REQUIRE(w.runs("web"));
  REQUIRE(w.until([&] { return !w.api.container("web")["imageID"].str().empty(); }));
  w.kill_daemon();  // the container lives
  w.images.present = {"other:1"};
  w.images.in_use.clear();
  w.start_daemon();
  w.settle();
  CHECK(w.images.in_use == std::vector<std::string>{"sha256:app:1"});
}

TEST_CASE("what ran when the device stopped starts again without asking the registry") {
  struct Row {
    const char* name;
    bool ran, moved;  // the pod ran before; its tag names another image now
    int pulls;
  };
  const Row rows[] = {
      {"ran", true, false, 0}, {"ran from another image", true, true, 1}, {"never ran", false, false, 1}};
  for (const Row& row : rows) {
    CAPTURE(row.name);
    World w;
    const std::string text = [&] {
      std::string p = pod();
      p.replace(p.find("IfNotPresent"), 12, "Always");
      return p;
    }();
    w.runtime.hold_sandbox = !row.ran;
    w.start_daemon();
    w.api.put_pod(text);
    if (row.ran) {
      REQUIRE(w.runs("web"));
      REQUIRE(w.until([&] { return static_cast<bool>(w.api.container("web")["state"]["running"]); }));
    } else {
      REQUIRE(w.until([&] { return !w.db.stored_pods.empty(); }));
    }
    w.kill_daemon();
    w.runtime.reboot();
    w.runtime.hold_sandbox = false;
    w.images.pulls = 0;
    w.images.present.insert("app:1");
    w.images.digest = row.moved ? "sha256:2" : "sha256:1";
    w.start_daemon();
    REQUIRE(w.runs("web"));
    CHECK(w.images.pulls == row.pulls);
    // Once only: the next restart is one like any other.
    w.settle();
    w.runtime.exit(w.runtime.running("app"), 1);
    w.settle();
    w.advance_s(11);
    REQUIRE(w.runs("web"));
    CHECK(w.images.pulls == row.pulls + 1);
  }
}

TEST_CASE("the end of a deleted pod is told before its object goes") {
  World w;
  w.start_daemon();
  w.api.put_pod(pod());
  REQUIRE(w.runs("web"));
  std::string last;
  w.api.instead = [&](const client::Call& call) -> std::optional<client::Reply> {
    if (call.method == "DELETE") last = w.api.get("pods", "web");
    return std::nullopt;
  };
  w.api.delete_pod("web", 30);
  REQUIRE(w.gone("u1"));
  const json::Cursor status = json::Cursor(last)["status"];
  CHECK(status["phase"].str() == "Failed");
  CHECK(status["containerStatuses"].at(0)["state"]["terminated"]["exitCode"].integer() == 143);
}

TEST_CASE("a pull that takes its time says in events how far it is, ever less often") {
  World w;
  w.images.present.clear();
  w.images.hold = true;
  w.start_daemon();
  w.api.put_pod(pod("web"));
  REQUIRE(w.until([&] { return w.images.pulls == 1; }));
  uint64_t done = 0;
  for (int s = 0; s < 600; ++s) {
    w.clock.advance_ms(1000);
    w.images.progress({done += 100'000, 60'000'000, 1, 3});
  }
  w.settle();
  std::vector<std::string> told;
  for (const std::string& m : w.api.event_messages) {
    if (m.starts_with("Pulling image \"app:1\": ")) told.push_back(m.substr(m.find(": ") + 2));
  }
  // After 30, 90, 210 and 450 seconds.
  REQUIRE_EQ(told.size(), 4);
  CHECK_EQ(told.front(), "2.9 of 57.2 MiB (5%), 1 of 3 layers");
  CHECK_EQ(told.back(), "42.9 of 57.2 MiB (75%), 1 of 3 layers");
  for (auto& f : w.images.held) f();
  CHECK(w.runs("web"));
}

TEST_CASE("deleted at any moment of its start, a pod leaves nothing behind") {
  struct Row {
    const char* name;
    std::function<void(World&)> hold, let_go;
    std::function<bool(World&)> reached;
  };
  const Row rows[] = {
      {"pulling",
       [](World& w) {
         w.images.present.clear();
         w.images.hold = true;
       },
       [](World& w) {
         for (auto& f : w.images.held) f();
       },
       [](World& w) { return w.images.pulls == 1; }},
      {"making the sandbox", [](World& w) { w.runtime.hold_sandbox = true; },
       [](World& w) { w.runtime.let_go(); },
       [](World& w) {
         return w.worker("web") && w.worker("web")->state().sandbox.state == Step::State::busy;
       }},
      {"attaching the network", [](World& w) { w.network.hold = true; },
       [](World& w) {
         for (auto& f : w.network.held) f();
       },
       [](World& w) { return !w.network.held.empty(); }},
      {"creating", [](World& w) { w.runtime.hold_create = true; }, [](World& w) { w.runtime.let_go(); },
       [](World& w) { return w.worker("web") && !w.worker("web")->container_id("app").empty(); }},
      {"starting", [](World& w) { w.runtime.hold_start = true; }, [](World& w) { w.runtime.let_go(); },
       [](World& w) { return w.runtime.containers.size() == 1; }},
  };
  for (const bool object_first : {false, true}) {
    for (const Row& row : rows) {
      CAPTURE(row.name);
      CAPTURE(object_first);
      World w;
      row.hold(w);
      w.start_daemon();
      w.api.put_pod(pod());
      REQUIRE(w.until([&] { return row.reached(w); }));
      if (object_first) {
        w.api.remove("pods", "web");  // --force
      } else {
        w.api.delete_pod("web", 30);
      }
      w.settle();
      row.let_go(w);
      CHECK(w.gone("u1"));
      w.settle();
      CHECK(w.runtime.containers.empty());
      CHECK(w.network.attached.empty());
      CHECK(w.api.get("pods", "web").empty());
    }
  }
}

TEST_CASE("the daemon stopped at any moment leaves no callback behind") {
  for (int turns = 0; turns < 40; turns++) {
    World w;
    w.images.present.clear();
    w.api.put_object("configmaps", "c", R"({"k":"1"})");
    w.api.put_pod(pod("web", "u1", R"(,"volumes":[{"name":"v","configMap":{"name":"c"}}])"));
    w.runtime.sandboxes["u9"].pod_uid = "u9";  // a leftover to be removed
    w.events = std::make_unique<client::EventRecorder>(w.loop, w.clock, w.random, w.api, "kubelet", "n");
    w.objects = std::make_unique<Objects>(w.api, w.db);
    w.agent = std::make_unique<Agent>(AgentServices{w.loop, w.clock, w.random, w.api, w.runtime, w.images,
                                                    w.network, w.db, *w.events, *w.objects, w.options});
    w.agent->start([](Result<>) {});
    int left = turns;
    (void)w.loop.run_until([&] { return left-- <= 0; }, 1000);
    w.agent.reset();  // the runtime lives on for a while, as in the daemon
    w.settle();
  }
}

TEST_CASE("a restart of the daemon starts nothing, writes nothing, and keeps the address") {
  World w;
  w.start_daemon();
  w.api.put_pod(pod());
  REQUIRE(w.runs("web"));
  REQUIRE(w.until([&] { return w.api.container("web")["ready"].boolean(); }));
  w.settle();
  const std::string id = w.runtime.running("app");
  const size_t writes = w.api.writes.size();
  for (int i = 0; i < 3; i++) {
    w.kill_daemon();
    w.clock.advance_ms(60'000);
    w.start_daemon();
    w.settle();
  }
  CHECK(w.runtime.running("app") == id);
  CHECK(w.runtime.started == std::vector<std::string>{"app#0"});
  CHECK(w.api.writes.size() == writes);
  CHECK(w.worker("web")->container_id("app") == id);
}

TEST_CASE("exits while the daemon is away are reported, and counted once") {
  World w;
  w.start_daemon();
  w.api.put_pod(pod());
  REQUIRE(w.runs("web"));
  w.kill_daemon();
  w.runtime.exit(w.runtime.running("app"), 3);
  w.start_daemon();
  REQUIRE(w.until([&] { return w.runtime.started.size() == 2; }));
  CHECK(w.runtime.started.back() == "app#1");
  REQUIRE(w.until([&] { return w.api.container("web")["restartCount"].integer() == 1; }));
  CHECK(
      w.until([&] { return w.api.container("web")["lastState"]["terminated"]["exitCode"].integer() == 3; }));
  CHECK(w.runtime.containers.size() == 1);
}

TEST_CASE("a job that ended is not run again, whenever the daemon dies") {
  // The API is away when the container ends: nobody knows of the end but the runtime.
  World w;
  w.start_daemon();
  w.api.put_pod(pod("job", "u1", R"(,"restartPolicy":"OnFailure")"));
  REQUIRE(w.runs("job"));
  w.api.instead = [](const client::Call& call) -> std::optional<client::Reply> {
    if (call.method == "PATCH") return client::Reply{503, "{}"};
    return std::nullopt;
  };
  w.runtime.exit(w.runtime.running("app"), 0);
  w.settle();
  CHECK(w.runtime.containers.size() == 1);  // kept: it is the record of the end
  w.kill_daemon();
  w.api.instead = nullptr;
  w.start_daemon();
  CHECK(w.until([&] { return w.api.phase("job") == "Succeeded"; }));
  CHECK(w.until([&] { return w.runtime.containers.empty() && w.runtime.sandboxes.empty(); }));
  CHECK(w.runtime.started.size() == 1);
  // And once more: a pod that is over stays as it is, its status is not touched.
  const std::string before = w.api.get("pods", "job");
  w.kill_daemon();
  w.start_daemon();
  w.settle();
  CHECK(w.api.get("pods", "job") == before);
  CHECK(w.runtime.started.size() == 1);
}

TEST_CASE("a reboot runs everything again and remembers") {
  World w;
  w.start_daemon();
  w.api.put_pod(pod());
  w.api.put_pod(pod("once", "u2", R"(,"restartPolicy":"Never")"));
  REQUIRE(w.runs("web"));
  REQUIRE(w.runs("once"));
  w.kill_daemon();
  w.runtime.reboot();
  w.network.attached.clear();
  w.start_daemon();
  REQUIRE(w.until([&] { return w.api.container("web")["restartCount"].integer() == 1; }));
  CHECK(w.until(
      [&] { return w.api.container("web")["lastState"]["terminated"]["reason"].str() == "Unknown"; }));
  CHECK(w.until([&] { return w.api.phase("once") == "Failed"; }));
  CHECK(w.network.attached == std::set<std::string>{"u1"});
}

TEST_CASE("a pod deleted while the daemon was away is stopped, and its successor keeps the name") {
  World w;
  w.start_daemon();
  w.api.put_pod(pod("web", "u1"));
  REQUIRE(w.runs("web"));
  const std::string old = w.runtime.running("app");
  w.kill_daemon();
  w.api.remove("pods", "web");
  w.api.put_pod(pod("web", "u2"));
  w.start_daemon();
  CHECK(w.gone("u1"));
  REQUIRE(w.runs("web"));
  w.settle();
  CHECK(w.runtime.running("app") != old);
  REQUIRE(w.worker("web") != nullptr);
  CHECK(w.worker("web")->spec().uid == "u2");
  CHECK(w.network.retained.size() == 2);  // the old one lets go of its address itself
}

TEST_CASE("made again under the same name before anybody looked") {
  World w;
  w.start_daemon();
  w.api.put_pod(pod("web", "u1"));
  REQUIRE(w.runs("web"));
  w.api.remove("pods", "web");
  w.api.put_pod(pod("web", "u2"));
  CHECK(w.gone("u1"));
  REQUIRE(w.until([&] { return w.runtime.sandboxes.contains("u2") && !w.runtime.running("app").empty(); }));
  w.settle();
  REQUIRE(w.worker("web") != nullptr);
  CHECK(w.worker("web")->spec().uid == "u2");
  CHECK(w.api.phase("web") == "Running");
}

TEST_CASE("with no API the device starts from its record; what was deleted meanwhile goes later") {
  World w;
  w.start_daemon();
  w.api.put_object("configmaps", "c", R"({"k":"1"})");
  w.api.put_pod(pod("web", "u1", R"(,"volumes":[{"name":"v","configMap":{"name":"c"}}])"));
  w.api.put_pod(pod("old", "u2"));
  REQUIRE(w.runs("web"));
  REQUIRE(w.runs("old"));
  w.kill_daemon();
  w.runtime.reboot();
  w.api.down = true;
  w.start_daemon();
  REQUIRE(w.until([&] { return w.runtime.started.size() == 4; }));  // two before, two now
  // Who asks the device hears how it is, though the API cannot be told.
  const auto told = [&] {
    const auto object = json::parse(w.worker("web")->object());
    const json::Ref status = object->ref()["status"];
    return object->ref()["metadata"]["name"].str() == "web" && status["phase"].str() == "Running" &&
           status["containerStatuses"].at(0)["restartCount"].integer() == 1 &&
           status["containerStatuses"].at(0)["state"]["running"].is_object();
  };
  CHECK(w.until(told));
  w.api.remove("pods", "old");
  w.api.down = false;
  CHECK(w.gone("u2"));
  w.settle();
  CHECK(w.runtime.started.size() == 4);
  CHECK(w.until([&] { return w.api.container("web")["restartCount"].integer() == 1; }));
}

TEST_CASE("a lost record and a slow API start nothing twice") {
  World w;
  w.start_daemon();
  w.api.put_pod(pod());
  REQUIRE(w.runs("web"));
  w.kill_daemon();
  w.db.stored_pods.clear();
  w.api.down = true;
  w.start_daemon();
  REQUIRE_FALSE(
      w.loop.run_until([&] { return w.runtime.started.size() > 1; }, 1300));  // past the record's turn
  w.api.down = false;
  REQUIRE(w.until([&] { return w.agent->synced(); }));
  w.settle();
  CHECK(w.runtime.started.size() == 1);
  CHECK_FALSE(w.runtime.doubled);
}

TEST_CASE("what runs and belongs to nobody is removed, with its files") {
  World w;
  w.runtime.sandboxes["u7"].pod_uid = "u7";
  w.runtime.sandboxes["u7"].meta = "d/lost";
  ContainerConfig c;
  c.id = "c7";
  c.pod_uid = "u7";
  w.runtime.containers["c7"] = {c, {}, {}};
  w.runtime.containers["c7"].status.state = ContainerState::running;
  for (const char* d : {"/data/pods/u7/v", "/data/pods/u8/v", "/run/etc/u7", "/logs/d_lost_u7/app",
                        "/logs/d_stray_u8/app", "/logs/d_neighbour_u9/app"})
    REQUIRE(make_directories(w.dir + d, 0755).has_value());
  w.start_daemon();
  CHECK(w.until([&] { return w.runtime.containers.empty() && w.runtime.sandboxes.empty(); }));
  CHECK(w.until([&] {
    return list_directory(w.dir + "/data/pods").empty() && list_directory(w.dir + "/run/etc").empty() &&
           list_directory(w.dir + "/logs") == std::vector<std::string>{"d_neighbour_u9"};
  }));
}

TEST_CASE("the logs of a deleted pod go whenever the daemon dies: what says whose they are goes after them") {
  World w;
  const std::string logs = w.dir + "/logs/d_web_u1";
  w.start_daemon();
  w.api.put_pod(pod());
  REQUIRE(w.runs("web"));
  REQUIRE(make_directories(logs + "/app", 0755).has_value());
  failpoint::arm("node.logs.remove=pause");
  w.api.delete_pod("web", 30);
  // The loop hears nothing of what a thread of the pool does meanwhile.
  const auto reached = [] { return failpoint::hits()["node.logs.remove"] > 0; };
  for (int i = 0; i < 300 && !reached(); i++) w.settle();
  REQUIRE(reached());
  w.settle();
  const bool recorded = w.db.stored_pods.contains("u1");
  w.kill_daemon();
  failpoint::arm("");
  REQUIRE(recorded);
  // A thread of this process cannot be killed, and did what that of a killed daemon does not.
  for (int i = 0; i < 300 && access(logs.c_str(), F_OK) == 0; i++) w.settle();
  REQUIRE(access(logs.c_str(), F_OK) != 0);
  REQUIRE(make_directories(logs + "/app", 0755).has_value());
  w.start_daemon();
  CHECK(w.gone("u1"));
  CHECK(access(logs.c_str(), F_OK) != 0);
}
