// Containers that start again: after crashes, on request, and what is no restart.
#include "world.h"

#include "base/tree.h"

using namespace limpet;
using namespace limpet::node;
using namespace limpet::node::test;

TEST_CASE("crash loops: back-off, counts, and nothing that piles up") {
  World w;
  w.start_daemon();
  w.api.put_pod(pod());
  REQUIRE(w.runs("web"));
  for (int run = 1; run <= 6; run++) {
    w.runtime.exit(w.runtime.running("app"), 1);
    w.settle();
    if (run > 1) {
      CHECK(w.until([&] { return w.api.waiting("web") == "CrashLoopBackOff"; }));
      w.advance_s(301);
    }
    REQUIRE(w.until([&] { return w.api.container("web")["restartCount"].integer() == run; }));
    REQUIRE(w.until([&] { return !w.runtime.running("app").empty(); }));
  }
  w.settle();
  CHECK(w.runtime.containers.size() == 1);
  CHECK(list_directory(w.dir + "/run/etc/u1/termination").size() == 1);
  CHECK(w.api.count_event("BackOff") == 1);  // one event whose count goes up
  // Ten quiet minutes, and the next crash is a first one again.
  w.advance_s(601);
  w.runtime.exit(w.runtime.running("app"), 1);
  CHECK(w.until([&] { return w.runtime.started.size() == 8; }));
}

TEST_CASE(
    "a restart on request: ended with its grace, started at once, whatever the policy; no crash of it") {
  World w;
  w.start_daemon();
  w.api.put_pod(pod("web", "u1", R"(,"restartPolicy":"Never")"));
  REQUIRE(w.runs("web"));
  for (int run = 1; run <= 3; run++) {
    const std::string before = w.runtime.running("app");
    REQUIRE(w.worker("web")->restart());
    REQUIRE(w.until([&] { return w.api.container("web")["restartCount"].integer() == run; }));
    REQUIRE(w.until([&] { return !w.runtime.running("app").empty() && w.runtime.running("app") != before; }));
    CHECK(w.api.phase("web") == "Running");
  }
  CHECK(w.runtime.containers.size() == 1);
  // Its own end is one as before.
  w.runtime.exit(w.runtime.running("app"), 3);
  REQUIRE(w.until([&] { return w.api.phase("web") == "Failed"; }));
  const auto refused = w.worker("web")->restart();
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::conflict);
}

TEST_CASE("a restart asked for twice is one restart, with the new run still on its way") {
  World w;
  w.start_daemon();
  w.api.put_pod(pod("web", "u1", R"(,"restartPolicy":"Never")"));
  REQUIRE(w.runs("web"));
  w.images.present.clear();
  w.images.hold = true;
  const int pulls = w.images.pulls;
  REQUIRE(w.worker("web")->restart());
  REQUIRE(w.until([&] { return w.images.pulls == pulls + 1; }));
  SUBCASE("the same daemon") {
    for (int i = 2; i < 4; i++) {
      REQUIRE(w.worker("web")->restart());
      REQUIRE(w.until([&] { return w.images.pulls == pulls + i; }));
    }
  }
  SUBCASE("the daemon ends in between") {
    w.kill_daemon();
    w.start_daemon();
    REQUIRE(w.until([&] { return w.images.pulls == pulls + 2; }));
  }
  w.settle();
  CHECK(w.api.phase("web") == "Running");
  w.images.hold = false;
  for (const auto& f : std::exchange(w.images.held, {})) f();
  REQUIRE(w.until([&] { return !w.runtime.running("app").empty(); }));
  REQUIRE(w.until([&] { return w.api.container("web")["restartCount"].integer() == 1; }));
  CHECK(w.db.restarts_asked("u1").empty());
  // The request is used up.
  w.runtime.exit(w.runtime.running("app"), 0);
  CHECK(w.until([&] { return w.api.phase("web") == "Succeeded"; }));
}

TEST_CASE("a daemon that ends in the grace period of a restart leaves it to the next") {
  World w;
  w.start_daemon();
  w.api.put_pod(pod("web", "u1", R"(,"restartPolicy":"OnFailure")"));
  REQUIRE(w.runs("web"));
  const std::string before = w.runtime.running("app");
  w.runtime.deaf = true;
  REQUIRE(w.worker("web")->restart());
  const auto deadline = [&] { return w.worker("web")->state().containers.at("app").kill_deadline_ms; };
  const int64_t first = deadline();
  w.clock.advance_ms(400);
  REQUIRE(w.worker("web")->restart());
  CHECK(deadline() == first);  // asking again gives no more time
  w.kill_daemon();
  SUBCASE("the container ends meanwhile") { w.runtime.exit(before, 0); }
  SUBCASE("it goes on, and is asked to end again") {}
  SUBCASE("the power goes") { w.runtime.reboot(); }
  w.start_daemon();
  REQUIRE(w.until([&] { return !w.runtime.running("app").empty() && w.runtime.running("app") != before; }));
  CHECK(w.until([&] { return w.api.container("web")["restartCount"].integer() == 1; }));
  CHECK(w.api.phase("web") == "Running");
}

TEST_CASE("a restart on request does not wait for a back-off") {
  World w;
  w.start_daemon();
  w.api.put_pod(pod());
  REQUIRE(w.runs("web"));
  for (int i = 0; i < 2; i++) {
    w.runtime.exit(w.runtime.running("app"), 1);
    w.settle();
  }
  REQUIRE(w.until([&] { return w.api.waiting("web") == "CrashLoopBackOff"; }));
  REQUIRE(w.runtime.running("app").empty());
  REQUIRE(w.worker("web")->restart());
  CHECK(w.until([&] { return !w.runtime.running("app").empty(); }));
}

TEST_CASE("refused configurations are no restarts") {
  World w;
  w.start_daemon();
  w.runtime.create_error = Error{Errc::invalid_argument, "container has runAsNonRoot", 0};
  w.api.put_pod(pod());
  REQUIRE(w.until([&] { return w.api.waiting("web") == "CreateContainerConfigError"; }));
  for (int i = 0; i < 4; i++) {
    w.advance_s(11);
    w.settle();
  }
  w.runtime.create_error.reset();
  w.advance_s(11);
  REQUIRE(w.runs("web"));
  CHECK(w.runtime.started == std::vector<std::string>{"app#0"});
}

TEST_CASE("killed in the middle of a restart: the newest run counts, the older one goes") {
  World w;
  w.start_daemon();
  w.api.put_pod(pod());
  REQUIRE(w.runs("web"));
  w.kill_daemon();
  const FakeRuntime::Container first = w.runtime.containers.begin()->second;
  w.runtime.exit(w.runtime.running("app"), 7);
  // The next run was made under an id that sorts before and after the first one.
  for (const char* id : {"0", "zz"}) {
    CAPTURE(id);
    auto next = first;
    next.config.id = id;
    next.config.meta = R"({"container":"app","attempt":1,"image":"app:1","imageID":"i","repoDigest":"r"})";
    next.status.state = ContainerState::running;
    next.status.started_at = w.clock.wall();
    World other;
    other.api.put_pod(w.api.get("pods", "web"));
    other.runtime.containers = w.runtime.containers;
    other.runtime.containers[id] = next;
    other.runtime.sandboxes = w.runtime.sandboxes;
    other.start_daemon();
    other.settle();
    CHECK(other.worker("web")->container_id("app") == id);
    CHECK(other.runtime.containers.size() == 1);
    CHECK(other.runtime.started.empty());
    CHECK(other.until([&] { return other.api.container("web")["restartCount"].integer() == 1; }));
    CHECK(other.api.container("web")["lastState"]["terminated"]["exitCode"].integer() == 7);
  }
}
