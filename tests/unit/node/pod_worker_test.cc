// Stories of one pod's worker; restarts and images have files of their own.
#include "world.h"

#include "base/atomic_file.h"
#include "base/tree.h"

using namespace limpet;
using namespace limpet::node;
using namespace limpet::node::test;

namespace {

constexpr const char* kConfigVolume = R"(,"volumes":[{"name":"v","configMap":{"name":"c"}}])";

std::string file_of(const World& w, const std::string& key) {
  const auto text = read_file(w.dir + "/run/volumes/u1/v/" + key, 100);
  return text ? *text : "";
}

}  // namespace

TEST_CASE("a changed ConfigMap reaches the volume of a running pod, by a watch of that one object") {
  World w;
  w.start_daemon();
  w.api.put_object("configmaps", "c", R"({"k":"one"})");
  w.api.put_object("configmaps", "other", R"({"k":"x"})");
  w.api.put_pod(pod("web", "u1", kConfigVolume));
  REQUIRE(w.runs("web"));
  CHECK(file_of(w, "k") == "one");
  REQUIRE(w.until([&] { return w.api.watches() == 2; }));  // pods, and this object
  w.settle();
  const size_t writes = w.api.writes.size();
  w.api.put_object("configmaps", "c", R"({"k":"two","more":"3"})");
  CHECK(w.until([&] { return file_of(w, "k") == "two" && file_of(w, "more") == "3"; }));
  w.settle();
  CHECK(w.api.writes.size() == writes);  // not a word of it in the status
  CHECK(w.runtime.started.size() == 1);
  CHECK(json::Cursor(*w.db.object("d/configmaps/c"))["data"]["k"].str() == "two");
  w.api.remove("configmaps", "c");  // the volume stays as it is
  w.settle();
  CHECK(file_of(w, "k") == "two");
  w.api.delete_pod("web", 0);
  CHECK(w.gone("u1"));
  CHECK(w.until([&] { return w.api.watches() == 1; }));
  w.settle();
  CHECK(list_directory(w.dir + "/run/volumes").empty());
}

TEST_CASE("labels shown by a downward API volume follow the pod") {
  World w;
  w.start_daemon();
  w.api.put_pod(pod(
      "web", "u1",
      R"(,"volumes":[{"name":"v","downwardAPI":{"items":[{"path":"l","fieldRef":{"fieldPath":"metadata.labels"}}]}}])"));
  REQUIRE(w.runs("web"));
  w.api.change("web", [](json::Ref p) { p["metadata"].ensure_object("labels").set("a", "b"); });
  CHECK(w.until([&] { return file_of(w, "l") == "a=\"b\""; }));
}

TEST_CASE("a missing ConfigMap holds the pod, its arrival sets it off at once") {
  struct Row {
    const char* spec;
    const char* app;
    const char* event;
  };
  const Row rows[] = {
      {kConfigVolume, "", "FailedMount"},
      {"", R"(,"env":[{"name":"E","valueFrom":{"configMapKeyRef":{"name":"c","key":"k"}}}])", "Failed"}};
  for (const Row& row : rows) {
    CAPTURE(row.event);
    World w;
    w.start_daemon();
    w.api.put_pod(pod("web", "u1", row.spec, row.app));
    REQUIRE(w.until([&] { return w.api.count_event(row.event) > 0; }));
    if (*row.app) CHECK(w.until([&] { return w.api.waiting("web") == "CreateContainerConfigError"; }));
    w.settle();
    CHECK(w.runtime.started.empty());
    w.api.put_object("configmaps", "c", R"({"k":"one"})");
    CHECK(w.runs("web"));
    CHECK(w.until([&] { return w.api.container("web")["restartCount"].integer() == 0; }));
  }
}

TEST_CASE("a grace period is kept, cut short by a second deletion, and a deaf container is killed") {
  World w;
  w.runtime.deaf = true;
  w.start_daemon();
  w.api.put_pod(pod());
  REQUIRE(w.runs("web"));
  const std::string id = w.runtime.running("app");
  w.api.delete_pod("web", 3600);
  REQUIRE(w.until([&] { return !w.runtime.containers.at(id).signals.empty(); }));
  w.settle();
  CHECK(w.runtime.containers.at(id).signals == std::vector<int>{SIGTERM});
  w.api.delete_pod("web", 0);
  CHECK(w.gone("u1"));
}

TEST_CASE("a probe that the device cannot run says nothing of the container") {
  World w;
  w.start_daemon();
  w.runtime.exec_error = Error{Errc::exhausted, "write /run/x: No space left on device", 0};
  w.api.put_pod(pod("web", "u1", "",
                    R"(,"livenessProbe":{"exec":{"command":["x"]},"periodSeconds":5,"failureThreshold":1})"));
  REQUIRE(w.runs("web"));
  const std::string id = w.runtime.running("app");
  for (int i = 0; i < 5; i++) {
    const int before = w.runtime.execs;
    w.advance_s(6);
    REQUIRE(w.until([&] { return w.runtime.execs > before; }));
    w.settle();
  }
  CHECK(w.runtime.containers.at(id).signals.empty());
  CHECK(w.api.count_event("Unhealthy") > 0);
  CHECK(w.api.count_event("Killing") == 0);
  // One that runs and fails is what it was.
  w.runtime.exec_error.reset();
  w.runtime.exec_code = 1;
  w.advance_s(6);
  CHECK(w.until([&] { return !w.runtime.containers.at(id).signals.empty(); }));
}

TEST_CASE("a removal that goes wrong is tried again before the object goes") {
  World w;
  w.start_daemon();
  w.api.put_pod(pod());
  REQUIRE(w.runs("web"));
  w.runtime.fail_removes = 2;
  w.api.delete_pod("web", 0);
  REQUIRE(w.until([&] { return w.runtime.fail_removes == 1; }));
  w.settle();
  CHECK_FALSE(w.api.get("pods", "web").empty());
  for (int i = 0; i < 2; i++) {
    w.advance_s(30);
    w.settle();
  }
  CHECK(w.gone("u1"));
  CHECK(w.runtime.containers.empty());
}

TEST_CASE("an exit that comes before the start is reported") {
  World w;
  w.runtime.hold_start = true;
  w.start_daemon();
  w.api.put_pod(pod("job", "u1", R"(,"restartPolicy":"Never")",
                    R"(,"lifecycle":{"postStart":{"exec":{"command":["x"]}}})"));
  REQUIRE(w.until([&] { return w.runtime.containers.size() == 1; }));
  w.runtime.exit(w.runtime.containers.begin()->first, 0);
  w.settle();
  w.runtime.let_go();
  CHECK(w.until([&] { return w.api.phase("job") == "Succeeded"; }));
  CHECK(w.runtime.execs == 0);  // no hook in what is over
}

TEST_CASE("a post-start hook that hangs holds up neither deletion nor restart") {
  for (const bool deleted : {true, false}) {
    CAPTURE(deleted);
    World w;
    w.runtime.hanging_exec = true;
    w.start_daemon();
    w.api.put_pod(pod("web", "u1", "", R"(,"lifecycle":{"postStart":{"exec":{"command":["x"]}}})"));
    REQUIRE(w.until([&] { return w.runtime.execs == 1; }));
    CHECK(w.api.phase("web") != "Running");
    if (deleted) {
      w.api.delete_pod("web", 1);
      CHECK(w.gone("u1"));
    } else {
      w.runtime.exit(w.runtime.running("app"), 1);
      CHECK(w.until([&] { return w.runtime.execs == 2; }));
    }
  }
}

TEST_CASE("the signal that asks to stop is the pod's, else the image's") {
  struct Row {
    const char* name;
    int number;
  };
  const Row rows[] = {{"SIGUSR1", SIGUSR1},
                      {"SIGQUIT", SIGQUIT},
                      {"SIGIOT", SIGABRT},
                      {"SIGRTMIN", SIGRTMIN},
                      {"SIGRTMIN+3", SIGRTMIN + 3},
                      {"SIGRTMAX", SIGRTMAX},
                      {"SIGRTMAX-14", SIGRTMAX - 14},
                      {"SIGSYS", SIGSYS}};
  for (const Row& row : rows) {
    CAPTURE(row.name);
    World w;
    w.runtime.deaf = true;
    w.start_daemon();
    w.api.put_pod(pod("web", "u1", "", R"(,"lifecycle":{"stopSignal":")" + std::string(row.name) + R"("})"));
    REQUIRE(w.runs("web"));
    CHECK(w.until([&] { return w.api.container("web")["stopSignal"].str() == row.name; }));
    const std::string id = w.runtime.running("app");
    w.api.delete_pod("web", 30);
    REQUIRE(w.until([&] { return !w.runtime.containers.at(id).signals.empty(); }));
    CHECK(w.runtime.containers.at(id).signals.front() == row.number);
  }
}

TEST_CASE("a pre-stop hook that hangs is given the grace period, then the container is killed") {
  World w;
  w.runtime.hanging_exec = true;
  w.start_daemon();
  w.api.put_pod(pod("web", "u1", "", R"(,"lifecycle":{"preStop":{"exec":{"command":["x"]}}})"));
  REQUIRE(w.runs("web"));
  w.api.delete_pod("web", 1);
  CHECK(w.gone("u1"));
  CHECK(w.runtime.execs == 1);
}

TEST_CASE("a token of the service account is projected, bound to the pod, and renewed before it expires") {
  World w;
  int asked = 0;
  bool refuse = true;
  std::string body;
  w.api.instead = [&](const client::Call& call) -> std::optional<client::Reply> {
    if (call.path != "/api/v1/namespaces/d/serviceaccounts/crab/token") return std::nullopt;
    body = call.body;
    asked++;
    if (refuse) return client::Reply{403, R"({"kind":"Status","message":"not yours"})"};
    return client::Reply{
        201, R"({"spec":{"expirationSeconds":1000},"status":{"token":"t)" + std::to_string(asked) + R"("}})"};
  };
  w.start_daemon();
  w.api.put_pod(
      pod("web", "u1",
          R"(,"serviceAccountName":"crab","volumes":[{"name":"v","projected":{"sources":[)"
          R"({"serviceAccountToken":{"path":"deep/token","audience":"tide","expirationSeconds":1000}}]}}])"));
  REQUIRE(w.until([&] { return w.api.count_event("FailedMount") == 1; }));
  refuse = false;
  w.advance_s(11);
  REQUIRE(w.runs("web"));
  CHECK(
      body ==
      R"({"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"expirationSeconds":1000,)"
      R"("audiences":["tide"],"boundObjectRef":{"apiVersion":"v1","kind":"Pod","name":"web","uid":"u1"}}})");
  const auto token = [&] {
    const auto text = read_file(w.dir + "/run/volumes/u1/v/deep/token", 100);
    return text ? *text : text.error().message;
  };
  CHECK(token() == "t2");
  w.advance_s(799);
  w.settle();
  CHECK(asked == 2);
  refuse = true;  // the old one is good for a while
  w.advance_s(1);
  REQUIRE(w.until([&] { return asked == 3; }));
  w.settle();
  CHECK(token() == "t2");
  CHECK_FALSE(w.runtime.running("app").empty());
  refuse = false;
  w.advance_s(60);
  REQUIRE(w.until([&] { return token() == "t4"; }));
}

TEST_CASE("an active deadline counts on over a restart of the daemon") {
  World w;
  w.start_daemon();
  w.api.put_pod(pod("job", "u1", R"(,"activeDeadlineSeconds":100,"restartPolicy":"Never")"));
  REQUIRE(w.runs("job"));
  w.advance_s(60);
  w.clock.set_wall({w.clock.wall().seconds, 0});
  w.kill_daemon();
  w.start_daemon();
  w.settle();
  CHECK(w.api.phase("job") == "Running");
  w.advance_s(41);
  CHECK(w.until([&] { return w.api.phase("job") == "Failed"; }));
  CHECK(w.api.status("job")["reason"].str() == "DeadlineExceeded");
  // Containers were stopped before the phase said that all is over.
  CHECK(w.runtime.running("app").empty());
}

TEST_CASE("init containers: done ones stay done over a restart of the daemon, run again after a reboot") {
  World w;
  w.start_daemon();
  w.api.put_pod(pod("web", "u1",
                    R"(,"initContainers":[{"name":"one","image":"app:1"},{"name":"two","image":"app:1"}])"));
  for (const char* name : {"one", "two"}) {
    REQUIRE(w.until([&] { return !w.runtime.running(name).empty(); }));
    if (std::string(name) == "two") {  // in the middle of it all
      w.kill_daemon();
      w.start_daemon();
      w.settle();
    }
    w.runtime.exit(w.runtime.running(name), 0);
  }
  REQUIRE(w.runs("web"));
  w.settle();
  w.kill_daemon();
  w.start_daemon();
  w.settle();
  CHECK(w.runtime.started == std::vector<std::string>{"one#0", "two#0", "app#0"});
  w.kill_daemon();
  w.runtime.reboot();
  w.start_daemon();
  REQUIRE(w.until([&] { return !w.runtime.running("one").empty(); }));
  CHECK(w.runtime.running("app").empty());
  CHECK(w.runtime.started.back() == "one#1");
}

TEST_CASE("status: refusals are waited out, conditions of others are not undone") {
  World w;
  w.start_daemon();
  int refusals = 3;
  w.api.instead = [&](const client::Call& call) -> std::optional<client::Reply> {
    if (call.method == "PATCH" && call.path.ends_with("/status") && refusals-- > 0)
      return client::Reply{409, "{}"};
    return std::nullopt;
  };
  w.api.put_pod(pod("web", "u1", R"(,"readinessGates":[{"conditionType":"g"}])"));
  REQUIRE(w.runs("web"));
  CHECK(refusals <= 0);
  w.api.change("web", [](json::Ref p) {
    json::Ref c = p.ensure_object("status").ensure_array("conditions").push(json::Value::object());
    c.set("type", "g");
    c.set("status", "True");
  });
  const auto ready = [&] {
    bool yes = false, gate = false;
    w.api.status("web")["conditions"].each([&](std::string_view, json::Cursor c) {
      if (c["type"].str() == "Ready") yes = c["status"].str() == "True";
      if (c["type"].str() == "g") gate = c["status"].str() == "True";
      return true;
    });
    return yes && gate;
  };
  CHECK(w.until(ready));
}

TEST_CASE(
    "status: what was written while the device was not heard of is set right; contact ends a back-off") {
  World w;
  w.api.put_pod(pod());
  w.start_daemon();
  REQUIRE(w.runs("web"));
  const auto ready = [&] {
    std::string out;
    w.api.status("web")["conditions"].each([&](std::string_view, json::Cursor c) {
      if (c["type"].str_equals("Ready")) out = c["status"].str();
      return true;
    });
    return out;
  };
  REQUIRE(w.until([&] { return ready() == "True"; }));
  w.settle();
  // As the controller of nodes does, some time later.
  w.advance_s(2);
  w.api.change("web", [](json::Ref pod) {
    for (json::Ref c : pod["status"]["conditions"]) {
      if (c["type"].str() == "Ready") c.set("status", "False");
    }
  });
  CHECK(w.until([&] { return ready() == "True"; }));
  w.settle();
  CHECK_FALSE(w.worker("web")->owes_report());

  w.api.down = true;
  w.options.host_ips = {"192.0.2.2"};
  w.agent->report_again();
  w.settle();
  CHECK(w.worker("web")->owes_report());
  w.api.down = false;
  w.agent->report_again();
  w.settle();
  CHECK(w.api.status("web")["hostIP"].str() == "192.0.2.2");
  CHECK_FALSE(w.worker("web")->owes_report());
}

TEST_CASE("sidecars outlive the containers and stop last") {
  World w;
  w.start_daemon();
  w.api.put_pod(pod(
      "job", "u1",
      R"(,"restartPolicy":"Never","initContainers":[{"name":"side","image":"app:1","restartPolicy":"Always"}])"));
  REQUIRE(w.runs("job"));
  w.runtime.exit(w.runtime.running("side"), 1);  // comes back whatever the policy
  REQUIRE(w.until([&] { return w.runtime.started.size() == 3 && !w.runtime.running("side").empty(); }));
  w.runtime.deaf = true;
  w.runtime.exit(w.runtime.running("app"), 0);
  w.settle();
  CHECK(w.api.phase("job") == "Running");  // the sidecar still stops
  CHECK(w.until([&] { return w.api.phase("job") == "Succeeded"; }));
  CHECK(w.runtime.running("side").empty());
}
