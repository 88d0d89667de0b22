#include "node/pod/actions.h"

#include <doctest/doctest.h>

#include <cstring>

using namespace limpet;
using namespace limpet::node;

namespace {

using Phase = ContainerRecord::Phase;

// A pod written in a few words: init containers "i1,i2", sidecars with a '+', restart policy.
PodSpec pod(const std::string& init, const std::string& containers, const char* policy = "Always",
            const char* more = "") {
  const auto list = [](const std::string& names) {
    std::string out;
    for (size_t at = 0; at < names.size();) {
      size_t comma = names.find(',', at);
      if (comma == std::string::npos) comma = names.size();
      std::string name = names.substr(at, comma - at);
      const bool sidecar = name[0] == '+';
      if (sidecar) name.erase(0, 1);
      out += (out.empty() ? "" : ",") + std::string(R"({"name":")") + name + R"(","image":"busybox:1")" +
             (sidecar ? R"(,"restartPolicy":"Always")" : "") + "}";
      at = comma + 1;
    }
    return "[" + out + "]";
  };
  return read_pod_spec(share(R"({"metadata":{"name":"web","namespace":"default","uid":"u1")" +
                             std::string(strstr(more, "deletion") ? more : "") +
                             R"(},"spec":{"restartPolicy":")" + policy + R"(","initContainers":)" +
                             list(init) + R"(,"containers":)" + list(containers) +
                             std::string(strstr(more, "deletion") ? "" : more) + "}}"));
}

struct Story {
  PodSpec spec;
  PodState state;
  int64_t now = 1000;

  explicit Story(PodSpec p) : spec(std::move(p)) { state.start_ms = now; }
  std::string next() { return compute_actions(spec, state, now).text(); }
  void set_up() {
    for (Step* s : {&state.volumes, &state.sandbox, &state.network}) s->state = Step::State::done;
  }
  ContainerRecord& c(const char* name) { return state.containers[name]; }
  void run(const char* name) {
    c(name).phase = Phase::running;
    c(name).started = true;
  }
  void exit(const char* name, int code) {
    c(name).phase = Phase::exited;
    c(name).exit = Terminated{};
    c(name).exit->exit_code = code;
    c(name).exited_ms = now;
  }
};

}  // namespace

TEST_CASE("a pod is set up step by step") {
  Story s(pod("", "app"));
  CHECK(s.next() == "volumes");
  s.state.volumes.state = Step::State::busy;
  CHECK(s.next() == "");
  s.state.volumes.state = Step::State::done;
  CHECK(s.next() == "sandbox");
  s.state.sandbox.state = Step::State::done;
  CHECK(s.next() == "network");
  s.state.network.state = Step::State::done;
  CHECK(s.next() == "initialized start(app)");
  s.state.initialized = true;
  s.c("app").phase = Phase::starting;
  CHECK(s.next() == "");
  s.run("app");
  CHECK(s.next() == "");
}

TEST_CASE("a step that failed waits, longer each time, and is tried again") {
  Story s(pod("", "app"));
  s.state.volumes.failed_ms = s.now;
  CHECK(s.next() == "volumes");  // the first retry at once
  s.state.volumes.backoff.step(s.now);
  CHECK(s.next() == "wake@11000");
  s.now = 11000;
  CHECK(s.next() == "volumes");
  s.state.volumes.backoff.step(s.now);
  s.state.volumes.failed_ms = s.now;
  CHECK(s.next() == "wake@31000");
}

TEST_CASE("init containers one by one, a sidecar stays, containers last") {
  Story s(pod("one,+side,two", "app,log"));
  s.set_up();
  CHECK(s.next() == "start(one)");
  s.run("one");
  CHECK(s.next() == "");
  s.exit("one", 0);
  CHECK(s.next() == "start(side)");
  s.c("side").phase = Phase::running;
  CHECK(s.next() == "");  // its startup probe has not passed
  s.run("side");
  CHECK(s.next() == "start(two)");
  s.exit("two", 0);
  CHECK(s.next() == "initialized start(app) start(log)");
  s.state.initialized = true;
  s.run("app");
  s.run("log");
  s.exit("side", 0);
  CHECK(s.next() == "start(side)");  // sidecars restart whatever the policy
}

TEST_CASE("an init container that fails") {
  Story again(pod("one", "app", "OnFailure"));
  again.set_up();
  again.exit("one", 1);
  CHECK(again.next() == "start(one)");
  again.c("one").crash.step(again.now);
  CHECK(again.next() == "wait(one,CrashLoopBackOff) wake@11000");

  Story over(pod("one", "app", "Never"));
  over.set_up();
  over.exit("one", 1);
  CHECK(has_ended(over.spec, over.state));
  CHECK(over.next() == "");  // the API has to know first
  over.state.end_reported = true;
  CHECK(over.next() == "clean_up");
}

TEST_CASE("restart policies") {
  struct Row {
    const char* policy;
    int code;
    const char* expect;
  };
  const Row rows[] = {{"Always", 0, "start(app)"},    {"Always", 1, "start(app)"}, {"OnFailure", 0, "ended"},
                      {"OnFailure", 1, "start(app)"}, {"Never", 0, "ended"},       {"Never", 1, "ended"}};
  for (const Row& row : rows) {
    CAPTURE(row.policy);
    CAPTURE(row.code);
    Story s(pod("", "app", row.policy));
    s.set_up();
    s.state.initialized = true;
    s.exit("app", row.code);
    const bool ended = std::string(row.expect) == "ended";
    CHECK(s.next() == (ended ? "" : row.expect));  // nothing is taken apart before the API knows
    if (!ended) continue;
    s.state.end_reported = true;
    CHECK(s.next() == "clean_up");
    s.state.cleanup.failed_ms = s.now;
    s.state.cleanup.backoff.step(s.now);
    CHECK(s.next() == "wake@11000");  // what could not be undone is tried again
  }
}

TEST_CASE("what a person asked to be restarted is, whatever its policy") {
  for (const char* policy : {"Always", "OnFailure", "Never"}) {
    CAPTURE(policy);
    Story s(pod("one,+side", "app", policy));
    s.set_up();
    s.exit("one", 0);
    s.run("side");
    s.state.initialized = true;
    s.exit("app", 0);
    s.c("app").restart_asked = true;
    CHECK(s.next() == "start(app)");
    CHECK_FALSE(has_ended(s.spec, s.state));
    s.c("one").restart_asked = true;  // through, and stays so
    CHECK(s.next() == "start(app)");
  }
}

TEST_CASE("another image restarts a container whatever the policy, unless the pod is over") {
  Story s(pod("", "app", "Never"));
  s.set_up();
  s.state.initialized = true;
  s.run("app");
  s.c("app").image = "busybox:1";
  CHECK(s.next() == "");
  s.c("app").image = "busybox:0";
  CHECK(s.next() == "stop(app,30)");
  s.exit("app", 0);
  CHECK(s.next() == "start(app)");
  s.state.end_reported = true;
  CHECK(s.next() == "clean_up");
}

TEST_CASE("the crash back-off people know: at once, 10 s, 20 s, ... 5 min, forgotten after quiet") {
  Story s(pod("", "app"));
  s.set_up();
  s.state.initialized = true;
  int64_t expect[] = {0, 10, 20, 40, 80, 160, 300, 300};
  for (int64_t delay_s : expect) {
    s.exit("app", 1);
    const int64_t at = s.now + delay_s * 1000;
    if (delay_s > 0) {
      CHECK(s.next() == "wait(app,CrashLoopBackOff) wake@" + std::to_string(at));
      s.now = at - 1;
      CHECK(s.next() == "wait(app,CrashLoopBackOff) wake@" + std::to_string(at));
      s.now = at;
    }
    CHECK(s.next() == "start(app)");
    s.c("app").crash.step(s.now);
    s.now += 5;
  }
  s.now += 600'001;  // ran for more than ten minutes
  s.exit("app", 1);
  CHECK(s.next() == "start(app)");
}

TEST_CASE("the words of the back-off") {
  Story s(pod("", "app"));
  s.set_up();
  s.state.initialized = true;
  s.exit("app", 1);
  s.c("app").crash.step(s.now);
  CHECK(compute_actions(s.spec, s.state, s.now).wait.at(0).message ==
        "back-off 10s restarting failed container=app pod=web_default(u1)");
  for (int i = 0; i < 5; i++) s.c("app").crash.step(s.now);
  CHECK(compute_actions(s.spec, s.state, s.now).wait.at(0).message ==
        "back-off 5m0s restarting failed container=app pod=web_default(u1)");
}

TEST_CASE("a pull that failed shows itself, then that it is waited out") {
  Story s(pod("", "app"));
  s.set_up();
  s.state.initialized = true;
  s.c("app").failed_ms = s.now;
  s.c("app").pull.step(s.now);
  s.c("app").waiting_reason = "ErrImagePull";
  CHECK(s.next() == "wake@3000");
  s.now = 3000;
  CHECK(s.next() == "wait(app,ImagePullBackOff) wake@11000");
  s.c("app").waiting_reason = "ImagePullBackOff";
  CHECK(s.next() == "wake@11000");
  s.now = 11000;
  CHECK(s.next() == "start(app)");
}

TEST_CASE("deletion: containers, then sidecars backwards, then everything goes, then the object") {
  Story s(pod("+a,+b", "app,log", "Always",
              R"(,"deletionTimestamp":"2026-01-01T00:00:00Z","deletionGracePeriodSeconds":7)"));
  s.set_up();
  s.state.initialized = true;
  for (const char* name : {"a", "b", "app", "log"}) s.run(name);
  CHECK(s.next() == "stop(app,7) stop(log,7)");
  s.c("app").phase = s.c("log").phase = Phase::stopping;
  s.c("app").kill_deadline_ms = s.c("log").kill_deadline_ms = s.now + 7000;
  CHECK(s.next() == "");
  s.spec.deletion->grace_s = 1;
  CHECK(s.next() == "stop(app,1) stop(log,1)");  // deleted again, with less patience
  s.exit("app", 0);
  s.exit("log", 137);
  CHECK(s.next() == "stop(b,1)");
  s.exit("b", 0);
  CHECK(s.next() == "stop(a,1)");
  s.exit("a", 0);
  s.state.network.state = Step::State::busy;
  CHECK(s.next() == "");  // an operation under way ends first
  s.state.network.state = Step::State::done;
  CHECK(s.next() == "clean_up");
  s.state.cleanup_busy = true;
  CHECK(s.next() == "");
  s.state.cleaned = true;
  CHECK(s.next() == "confirm_deletion");
}

TEST_CASE("active deadline") {
  Story s(pod("", "app", "Never", R"(,"activeDeadlineSeconds":5)"));
  s.set_up();
  s.state.initialized = true;
  s.run("app");
  CHECK(s.next() == "wake@6000");
  s.now = 6000;
  CHECK(s.next() == "fail(DeadlineExceeded)");
  s.state.failure = PodFailure{"DeadlineExceeded", ""};
  CHECK(s.next() == "stop(app,30)");
}

TEST_CASE("the host network needs no attaching") {
  Story s(pod("", "app", "Always", R"(,"hostNetwork":true)"));
  s.state.volumes.state = s.state.sandbox.state = Step::State::done;
  CHECK(s.next() == "initialized start(app)");
}
