#include "node/pod/status.h"

#include <doctest/doctest.h>

using namespace limpet;
using namespace limpet::node;

namespace {

using Phase = ContainerRecord::Phase;

PodSpec pod(const char* policy = "Always") {
  return read_pod_spec(share(
      std::string(
          R"({"metadata":{"name":"web","namespace":"d","uid":"u","generation":3},"spec":{"restartPolicy":")") +
      policy +
      R"(","initContainers":[{"name":"init","image":"i:1"}],"containers":[{"name":"app","image":"a:1"}]}})"));
}

PodState running_state() {
  PodState s;
  for (Step* step : {&s.volumes, &s.sandbox, &s.network}) step->state = Step::State::done;
  s.initialized = true;
  s.ips = {"10.42.0.2"};
  s.start_time = {1767225600, 0};
  ContainerRecord& init = s.containers["init"];
  init.phase = Phase::exited;
  init.exit = Terminated{};
  ContainerRecord& app = s.containers["app"];
  app.phase = Phase::running;
  app.id = "c1";
  app.started = app.ready = true;
  return s;
}

json::Value status(const PodSpec& p, const PodState& s, const char* previous = "{}") {
  return pod_status(p, s, {{"192.0.2.1"}}, json::Cursor(previous), {1767225700, 0});
}

std::string condition(json::Ref status, std::string_view type) {
  for (json::Ref c : status["conditions"]) {
    if (c["type"].str() == type) return std::string(c["status"].str()) + "," + std::string(c["reason"].str());
  }
  return "absent";
}

}  // namespace

TEST_CASE("a running pod") {
  const json::Value v = status(pod(), running_state());
  const json::Ref s = v;
  CHECK(s["phase"].str() == "Running");
  CHECK(s["podIP"].str() == "10.42.0.2");
  CHECK(s["podIPs"].at(0)["ip"].str() == "10.42.0.2");
  CHECK(s["hostIP"].str() == "192.0.2.1");
  CHECK(s["qosClass"].str() == "BestEffort");
  CHECK(s["observedGeneration"].integer() == 3);
  CHECK(condition(s, "Ready") == "True,");
  CHECK(condition(s, "Initialized") == "True,");
  CHECK(s["containerStatuses"].at(0)["containerID"].str() == "limpet://c1");
  CHECK(s["containerStatuses"].at(0)["state"]["running"].is_object());
  CHECK(s["initContainerStatuses"].at(0)["state"]["terminated"]["reason"].str() == "Completed");
  CHECK(s["initContainerStatuses"].at(0)["ready"].boolean());
}

TEST_CASE("a pod that nothing was done for yet") {
  const json::Value v = status(pod(), PodState{});
  const json::Ref s = v;
  CHECK(s["phase"].str() == "Pending");
  CHECK(condition(s, "Initialized") == "False,ContainersNotInitialized");
  CHECK(condition(s, "Ready") == "False,ContainersNotReady");
  CHECK(condition(s, "PodReadyToStartContainers") == "False,");
  CHECK(s["containerStatuses"].at(0)["state"]["waiting"]["reason"].str() == "PodInitializing");
}

TEST_CASE("a crash loop shows waiting, the last run and the count") {
  PodState state = running_state();
  ContainerRecord& app = state.containers["app"];
  app.phase = Phase::exited;
  app.exit = Terminated{"c1", 3, 0, "Error", "", {1, 0}, {2, 0}};
  app.restart_count = 4;
  {
    const json::Value v = status(pod(), state);
    CHECK(v.ref()["containerStatuses"].at(0)["state"]["terminated"]["exitCode"].integer() == 3);
    CHECK(v.ref()["phase"].str() == "Running");
  }
  app.waiting_reason = "CrashLoopBackOff";
  const json::Value v = status(pod(), state);
  const json::Ref c = v.ref()["containerStatuses"].at(0);
  CHECK(c["state"]["waiting"]["reason"].str() == "CrashLoopBackOff");
  CHECK(c["lastState"]["terminated"]["exitCode"].integer() == 3);
  CHECK(c["restartCount"].integer() == 4);
  CHECK_FALSE(c["ready"].boolean());
  CHECK(condition(v, "ContainersReady") == "False,ContainersNotReady");
}

TEST_CASE("ends of pods") {
  PodState state = running_state();
  ContainerRecord& app = state.containers["app"];
  app.phase = Phase::exited;
  app.exit = Terminated{};
  {
    const json::Value v = status(pod("OnFailure"), state);
    CHECK(v.ref()["phase"].str() == "Succeeded");
    CHECK(condition(v, "Ready") == "False,PodCompleted");
  }
  app.exit->exit_code = 1;
  CHECK(pod_phase(pod("Never"), state) == "Failed");
  CHECK(pod_phase(pod("OnFailure"), state) == "Running");
  state.failure = PodFailure{"DeadlineExceeded", "late"};
  app.phase = Phase::stopping;
  CHECK(pod_phase(pod(), state) == "Running");  // it is not over before nothing runs
  app.phase = Phase::exited;
  const json::Value v = status(pod(), state);
  CHECK(v.ref()["phase"].str() == "Failed");
  CHECK(v.ref()["reason"].str() == "DeadlineExceeded");
}

TEST_CASE("times and foreign conditions of the status before are kept") {
  const char* previous =
      R"({"conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2025-01-01T00:00:00Z"},
    {"type":"ContainersReady","status":"False","lastTransitionTime":"2025-01-01T00:00:00Z"},
    {"type":"example.com/gate","status":"True"}]})";
  const json::Value v = status(pod(), running_state(), previous);
  for (json::Ref c : v.ref()["conditions"]) {
    if (c["type"].str() == "Ready") CHECK(c["lastTransitionTime"].str() == "2025-01-01T00:00:00Z");
    if (c["type"].str() == "ContainersReady") CHECK(c["lastTransitionTime"].str() == "2026-01-01T00:01:40Z");
  }
  CHECK(condition(v, "example.com/gate") == "True,");
}

TEST_CASE("a readiness gate holds the pod back, not its containers") {
  const PodSpec gated =
      read_pod_spec(share(R"({"metadata":{"name":"p"},"spec":{"readinessGates":[{"conditionType":"g"}],
    "containers":[{"name":"app"}]}})"));
  const json::Value v = status(gated, running_state());
  CHECK(condition(v, "ContainersReady") == "True,");
  CHECK(condition(v, "Ready") == "False,ReadinessGatesNotReady");
  const json::Value open = status(gated, running_state(), R"({"conditions":[{"type":"g","status":"True"}]})");
  CHECK(condition(open, "Ready") == "True,");
}
