// What pods have to do with images: pulls, damage, and a new one.
#include "world.h"

#include "base/atomic_file.h"

using namespace limpet;
using namespace limpet::node;
using namespace limpet::node::test;

TEST_CASE("what cannot be started for want of its program has its image checked, once for each attempt") {
  struct Row {
    const char* message;
    bool checked;
  };
  const Row rows[] = {
      {"exec /app: exec format error", true},
      {R"(exec: "/app": stat /app: no such file or directory: unknown)", true},
      {"exec /app: Input/output error", true},
      {"mount overlay on /x: Structure needs cleaning", true},
      {"cgroup: device or resource busy", false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.message);
    World w;
    w.start_daemon();
    w.runtime.start_error = Error{Errc::internal, row.message, 0};
    w.api.put_pod(pod());
    REQUIRE(w.until([&] {
      return w.api.waiting("web") == "RunContainerError" || w.api.waiting("web") == "CrashLoopBackOff";
    }));
    w.settle();
    const size_t before =
        w.images.repaired.size();  // the first retry comes at once, the next after a back-off
    w.advance_s(11);
    w.settle();
    CHECK(w.images.repaired.size() == (row.checked ? before + 1 : 0));
    w.settle();
    CHECK(w.images.repaired.size() == (row.checked ? before + 1 : 0));
    w.images.repair_error = Error{Errc::unavailable, "no route to the registry", 0};
    w.advance_s(21);
    REQUIRE(w.until([&] { return w.api.count_event("DamagedImage") == (row.checked ? 1 : 0); }));
    w.settle();  // the start goes on all the same, and fails
    w.images.repair_error.reset();
    w.images.on_repair = [&] { w.runtime.start_error.reset(); };
    if (!row.checked) w.runtime.start_error.reset();
    w.advance_s(41);
    CHECK(w.runs("web"));
    CHECK((w.api.count_event("CheckedImage") > 0) == row.checked);
  }
}

TEST_CASE("what the runtime or a loader leaves in the log speaks for damage, what programs say does not") {
  struct Row {
    const char* line;
    int exit_code;
    bool checked;
  };
  const Row rows[] = {
      {R"({"msg":"exec container process `/bin/sh`: Exec format error","level":"error"})", 1, true},
      {"exec /bin/sh: exec format error", 1, true},
      {"exec /bin/sh: no such file or directory", 255, true},
      {"app: error while loading shared libraries: libc.so.6: file too short", 127, true},
      {"exec /bin/sh: exec format error", 0, false},
      {"cat: /data/x: No such file or directory", 1, false},
      {"exec /bin/sh went well", 1, false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.line);
    World w;
    w.start_daemon();
    w.api.put_pod(pod());
    REQUIRE(w.runs("web"));
    const std::string id = w.runtime.running("app");
    const std::string log = w.runtime.containers.at(id).config.log_path;
    REQUIRE(make_directories(log.substr(0, log.rfind('/')), 0755).has_value());
    REQUIRE(write_file_atomic(log, std::string("2026-01-01T00:00:00.000000000Z stderr F ") + row.line + "\n",
                              0600)
                .has_value());
    w.runtime.exit(id, row.exit_code);
    REQUIRE(w.until([&] { return w.runtime.started.size() == 2; }));
    CHECK(w.images.repaired.size() == (row.checked ? 1 : 0));
  }
}

TEST_CASE("a program that crashes on its own code has its image checked once") {
  World w;
  w.start_daemon();
  w.api.put_pod(pod());
  REQUIRE(w.runs("web"));
  for (int i = 0; i < 3; i++) {
    const std::string id = w.runtime.running("app");
    w.runtime.containers.at(id).status.signal = SIGSEGV;
    w.runtime.exit(id, 139);
    w.advance_s(400);
    REQUIRE(w.until([&] { return !w.runtime.running("app").empty(); }));
  }
  CHECK(w.images.repaired == std::vector<std::string>{"sha256:app:1"});
}

TEST_CASE("pulls that fail: words, back-off, recovery") {
  World w;
  w.images.present.clear();
  w.images.pull_error = Error{Errc::not_found, "manifest unknown", 0};
  w.start_daemon();
  w.api.put_pod(pod());
  REQUIRE(w.until([&] { return w.api.waiting("web") == "ErrImagePull"; }));
  w.settle();
  w.advance_s(2);
  REQUIRE(w.until([&] { return w.api.waiting("web") == "ImagePullBackOff"; }));
  w.settle();
  CHECK(w.images.pulls == 1);
  w.advance_s(7);
  w.settle();
  CHECK(w.images.pulls == 1);
  w.images.pull_error.reset();
  w.advance_s(2);
  CHECK(w.runs("web"));
  CHECK(w.images.pulls == 2);
}

TEST_CASE("a network that fails is tried again, and the pod says why it waits") {
  World w;
  w.network.fail_attaches = 1;
  w.start_daemon();
  w.api.put_pod(pod());
  REQUIRE(w.until([&] { return w.api.count_event("FailedCreatePodSandBox") == 1; }));
  w.settle();
  CHECK(w.runtime.started.empty());
  w.advance_s(11);
  CHECK(w.runs("web"));
}

TEST_CASE("a new image replaces the container, not the pod") {
  World w;
  w.images.present.insert("app:2");
  w.start_daemon();
  w.api.put_pod(pod());
  REQUIRE(w.runs("web"));
  w.api.change("web", [](json::Ref p) { p["spec"]["containers"].at(0).set("image", "app:2"); });
  REQUIRE(w.until([&] { return w.runtime.started.size() == 2; }));
  CHECK(w.until([&] { return w.api.container("web")["image"].str() == "app:2"; }));
  w.settle();
  CHECK(w.runtime.started.size() == 2);
  CHECK(w.images.in_use == std::vector<std::string>{"sha256:app:2"});
}
