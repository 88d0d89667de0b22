// Every reason for which a pod does not run, as objects of the API, and what is said of it.
#include "cli/why.h"

#include <doctest/doctest.h>

#include "cli/format.h"
#include "cli/why_words.h"

using namespace limpet;
using namespace limpet::cli;

namespace {

constexpr WallTime now{1767225600, 0};  // 2026-01-01T00:00:00Z

// A pod of one container "app" of the image img:1, bound to "edge", with this much more in it.
struct Row {
  const char* name;
  const char* spec;    // members of spec beside containers; containers too where they are given
  const char* status;  // members of status
  const char* events;  // list
  const char* more;    // members beside: "meta" (of metadata), "node" (a Node), "device"
  const char* expected;
};

std::string container(const std::string& state, const std::string& rest = "") {
  return R"("containerStatuses":[{"name":"app","state":{)" + state + "}" + rest + "}]";
}

json::Value parsed(const std::string& text) {
  auto value = json::parse(text);
  REQUIRE_MESSAGE(value, text);
  return std::move(*value);
}

// "wrong/Reason: text | remedy [log app]"
std::string explained(const Row& row) {
  const json::Value more = parsed(std::string("{") + row.more + "}");
  json::Value pod = parsed(R"({"metadata":{"name":"web","namespace":"default"},"spec":{)" +
                           std::string(row.spec) + R"(},"status":{)" + row.status + "}}");
  json::Ref spec = pod.ref()["spec"];
  if (!spec["containers"]) spec.set("containers", parsed(R"([{"name":"app","image":"img:1"}])"));
  if (!spec["nodeName"]) spec.set("nodeName", "edge");
  if (!spec["restartPolicy"]) spec.set("restartPolicy", "Always");
  for (json::Ref m : more.ref()["meta"]) pod.ref()["metadata"].set(m.key(), m.clone());
  const json::Value events = parsed(row.events);
  const Explanation e = explain_pod({pod.ref(), events.ref(), more.ref()["node"], more.ref()["device"], now});
  const char* states[] = {"well", "underway", "wrong"};
  std::string out = std::string(states[static_cast<int>(e.state)]) + "/" + e.reason + ": " + e.text;
  if (!e.remedy.empty()) out += " | " + e.remedy;
  if (!e.log_container.empty()) out += " [log " + e.log_container + "]";
  return out;
}

const std::string ready =
    R"("phase":"Running","conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2025-12-31T21:00:00Z"}],)" +
    container(R"("running":{"startedAt":"2025-12-31T21:00:00Z"})", R"(,"ready":true,"restartCount":0)");
const std::string restarted =
    R"("phase":"Running","conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2025-12-31T23:00:00Z"}],)" +
    container(
        R"("running":{"startedAt":"2025-12-31T23:00:00Z"})",
        R"(,"ready":true,"restartCount":3,"lastState":{"terminated":{"exitCode":137,"reason":"OOMKilled","finishedAt":"2025-12-31T22:59:00Z"}})");
const std::string done = R"("phase":"Succeeded",)" +
                         container(R"("terminated":{"exitCode":0,"finishedAt":"2025-12-31T23:59:00Z"})");
const std::string failed_once =
    R"("phase":"Failed",)" +
    container(R"("terminated":{"exitCode":7,"reason":"Error","message":"no config\n"})");
const std::string pull_backoff =
    R"("phase":"Pending",)" +
    container(
        R"("waiting":{"reason":"ImagePullBackOff","message":"Back-off pulling image \"img:1\": img:1: unexpected status 404 Not Found from https://r/v2/img/manifests/1: not found"})");
const std::string crash =
    R"("phase":"Running",)" +
    container(
        R"("waiting":{"reason":"CrashLoopBackOff","message":"back-off 1m20s restarting failed container=app pod=web"})",
        R"(,"restartCount":5,"lastState":{"terminated":{"exitCode":139,"reason":"Error","finishedAt":"2025-12-31T23:59:30Z"}})");
const std::string oom =
    R"("phase":"Running",)" +
    container(
        R"("waiting":{"reason":"CrashLoopBackOff","message":"x"})",
        R"(,"restartCount":1,"lastState":{"terminated":{"exitCode":137,"reason":"OOMKilled","finishedAt":"2025-12-31T23:59:30Z"}})");
const std::string ended_well =
    R"("phase":"Running",)" +
    container(R"("waiting":{"reason":"CrashLoopBackOff","message":""})",
              R"(,"restartCount":2,"lastState":{"terminated":{"exitCode":0,"reason":"Completed"}})");
const std::string start_error =
    R"("phase":"Pending",)" +
    container(
        R"("waiting":{"reason":"RunContainerError","message":"exec: \"nope\": executable file not found in $PATH"})",
        R"(,"lastState":{"terminated":{"exitCode":128,"reason":"StartError","message":"exec: \"nope\": executable file not found in $PATH"}})");
const std::string unready =
    R"("phase":"Running",)" +
    container(R"("running":{"startedAt":"2025-12-31T23:50:00Z"})", R"(,"ready":false,"started":true)");
const std::string unstarted =
    R"("phase":"Running",)" +
    container(R"("running":{"startedAt":"2025-12-31T23:50:00Z"})", R"(,"ready":false,"started":false)");
const std::string creating =
    R"("phase":"Pending",)" + container(R"("waiting":{"reason":"ContainerCreating"})");
const std::string config_error =
    R"("phase":"Pending",)" +
    container(
        R"("waiting":{"reason":"CreateContainerConfigError","message":"configmap \"settings\" not found"})");
const std::string never_pull =
    R"("phase":"Pending",)" + container(R"("waiting":{"reason":"ErrImageNeverPull","message":"m"})");
const std::string bad_name =
    R"("phase":"Pending",)" +
    container(R"("waiting":{"reason":"InvalidImageName","message":"IMG: upper case"})");
const std::string init_crash =
    R"("phase":"Pending","initContainerStatuses":[{"name":"a","state":{"terminated":{"exitCode":0}}},
      {"name":"b","restartCount":2,"state":{"waiting":{"reason":"CrashLoopBackOff","message":"back-off 20s restarting"}},
       "lastState":{"terminated":{"exitCode":1,"finishedAt":"2025-12-31T23:59:55Z"}}}],)" +
    container(R"("waiting":{"reason":"PodInitializing"})");
const std::string init_runs =
    R"("phase":"Pending","initContainerStatuses":[{"name":"a","state":{"running":{"startedAt":"2025-12-31T23:59:00Z"}}}])";
const std::string stopping = R"("phase":"Running",)" + container(R"("running":{})", R"(,"ready":true)");

constexpr const char* two_inits = R"("initContainers":[{"name":"a"},{"name":"b"}])";
constexpr const char* probed =
    R"("containers":[{"name":"app","image":"img:1","readinessProbe":{},"startupProbe":{}}])";

#define EVENT(reason, message, time)                                                \
  R"([{"reason":")" reason R"(","message":")" message R"(","lastTimestamp":")" time \
  R"(","involvedObject":{"fieldPath":"spec.containers{app}"}}])"

const Row rows[] = {
    {"well", "", ready.c_str(), "[]", "", "well/Running: It runs well: its container is ready since 3h."},
    {"well after restarts", "", restarted.c_str(), "[]", "",
     "well/Running: It runs well: its container is ready since 60m; container app was restarted 3 times, the "
     "last "
     "time 61m ago since it was killed since the device ran out of memory."},
    {"ended", "", done.c_str(), "[]", "",
     "well/Succeeded: It ran to its end and all its containers ended with exit status 0, 60s ago."},
    {"failed for good", R"("restartPolicy":"Never")", failed_once.c_str(), "[]", "",
     "wrong/Error: It has failed for good: container app failed with exit status 7, saying \"no config\", "
     "and its "
     "restart policy is Never. | The program itself fails: its last lines may say why. [log app]"},
    {"evicted", "", R"("phase":"Failed","reason":"Evicted","message":"low on memory.")", "[]", "",
     "wrong/Evicted: It was stopped since the device ran short: low on memory. | Free what is short, then "
     "delete the "
     "pod or let its controller do so."},
    {"deadline", "", R"("phase":"Failed","reason":"DeadlineExceeded")", "[]", "",
     "wrong/DeadlineExceeded: It was stopped since it ran longer than its activeDeadlineSeconds. | Raise "
     "activeDeadlineSeconds, if it needs longer."},
    {"no memory", R"("nodeName":"")",
     R"("phase":"Pending","conditions":[{"type":"PodScheduled","status":"False","message":"0/1 nodes are available: 1 Insufficient memory. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."}])",
     "[]", "",
     "wrong/Unschedulable: It has no device to run on: no device has as much memory left as it requests. | "
     "Lower its "
     "memory request, or stop another pod."},
    {"scheduling told by an event", R"("nodeName":"")", R"("phase":"Pending")",
     EVENT("FailedScheduling", "0/1 nodes are available: 1 node(s) were unschedulable.",
           "2025-12-31T23:59:00Z"),
     "",
     "wrong/Unschedulable: It has no device to run on: the device takes no new pods (it is cordoned). | Let "
     "it take "
     "pods again: kubectl uncordon NAME."},
    {"another scheduler", R"("nodeName":"","schedulerName":"mine")", R"("phase":"Pending")", "[]", "",
     "wrong/NoScheduler: It asks for the scheduler mine, which limpet does not have. | Leave schedulerName "
     "out."},
    {"gate", R"("nodeName":"","schedulingGates":[{"name":"example.com/wait"}])", R"("phase":"Pending")", "[]",
     "",
     "wrong/SchedulingGated: It waits: the scheduling gate example.com/wait has not been taken away yet. | "
     "The program "
     "that set the gate takes it away when it is done."},
    {"not looked at yet", R"("nodeName":"")", R"("phase":"Pending")", "[]", "",
     "underway/Pending: It was made a moment ago and no device was chosen for it yet."},
    {"node not ready", "", creating.c_str(), "[]",
     R"("node":{"status":{"conditions":[{"type":"Ready","status":"False","message":"the pod network cannot be set up: no nft."}]}})",
     "wrong/NodeNotReady: Its device edge is not ready: the pod network cannot be set up: no nft. | See what "
     "the pod "
     "network lacks: limpet doctor."},
    {"node not heard of", "", creating.c_str(), "[]",
     R"("node":{"status":{"conditions":[{"type":"Ready","status":"Unknown"}]}})",
     "wrong/NodeUnknown: Its device edge has not been heard of for a while. | See that the device has power "
     "and "
     "network, and that limpetd runs there."},
    {"volume, told by the device", "", creating.c_str(), "[]",
     R"("device":{"steps":[{"name":"volumes","done":false,"message":"MountVolume.SetUp failed for volume \"v\" : secret \"s\" not found","retryInSeconds":9}]})",
     "wrong/FailedMount: Its volumes cannot be set up: MountVolume.SetUp failed for volume \"v\" : secret "
     "\"s\" not "
     "found; the next try is in 9s. | Create the Secret (or the key in it), or correct its name in the pod."},
    {"network, told by the device", "", creating.c_str(), "[]",
     R"("device":{"steps":[{"name":"volumes","done":true},{"name":"network","message":"no address is free","retryInSeconds":0}]})",
     "wrong/FailedCreatePodSandBox: Its network cannot be set up: no address is free; the next try is now. | "
     "Correct "
     "what the message names; limpet doctor looks at the device itself."},
    {"volume, told by an event", "", creating.c_str(),
     EVENT("FailedMount", "configmap \\\"c\\\" not found", "2025-12-31T23:59:00Z"), "",
     "wrong/FailedMount: Its volumes cannot be set up: configmap \"c\" not found. | Create the ConfigMap (or "
     "the key in "
     "it), or correct its name in the pod."},
    {"an old event is no news", "", creating.c_str(), EVENT("FailedMount", "m", "2025-12-31T22:00:00Z"), "",
     "underway/ContainerCreating: Container app is about to be started."},
    {"pulling", "", creating.c_str(), EVENT("Pulling", "Pulling image", "2025-12-31T23:59:20Z"), "",
     "underway/Pulling: Container app waits for its image img:1, which is being pulled since 40s. | How far "
     "it is: "
     "limpet image pull img:1."},
    {"pull fails", "", pull_backoff.c_str(), "[]",
     R"("device":{"containers":[{"name":"app","phase":"waiting","retryInSeconds":75}]})",
     "wrong/ImagePullBackOff: Container app has no image: pulling img:1 failed: img:1: unexpected status 404 "
     "Not Found "
     "from https://r/v2/img/manifests/1: not found; the next try is in 75s. | Check the image's name and "
     "tag."},
    {"never pulled", "", never_pull.c_str(), "[]", "",
     "wrong/ErrImageNeverPull: Container app needs the image img:1, which is not on the device, and its pull "
     "policy is "
     "Never. | Bring the image: limpet image import FILE, or limpet image pull img:1."},
    {"no image name", "", bad_name.c_str(), "[]", "",
     "wrong/InvalidImageName: Container app names an image that cannot be: IMG: upper case. | Correct the "
     "image's name "
     "in the pod."},
    {"config error", "", config_error.c_str(), "[]", "",
     "wrong/CreateContainerConfigError: Container app cannot be configured: configmap \"settings\" not "
     "found. | Create "
     "the ConfigMap (or the key in it), or correct its name in the pod."},
    {"crash by a signal, the time from the status", "", crash.c_str(), "[]", "",
     "wrong/CrashLoopBackOff: Container app crashed (SIGSEGV) 30s ago, after 5 restarts; it is started again "
     "in 50s. | "
     "The program itself fails: its last lines may say where. [log app]"},
    {"out of memory", R"("containers":[{"name":"app","resources":{"limits":{"memory":"16Mi"}}}])",
     oom.c_str(), "[]", R"("device":{"containers":[{"name":"app","retryInSeconds":3}]})",
     "wrong/CrashLoopBackOff: Container app was killed since it used more than its memory limit of 16Mi 30s "
     "ago, after "
     "1 restart; it is started again in 3s. | Raise its memory limit, or find out why it needs that much. "
     "[log app]"},
    {"ends well but should not end", "", ended_well.c_str(), "[]", "",
     "wrong/CrashLoopBackOff: Container app ended with exit status 0, after 2 restarts. | A container that "
     "is always "
     "restarted is not to end: correct its command or the restartPolicy. [log app]"},
    {"cannot be started", "", start_error.c_str(), "[]", "",
     "wrong/RunContainerError: Container app could not be started: exec: \"nope\": executable file not found "
     "in $PATH. "
     "| Correct the command in the pod: the image has no such program."},
    {"killed by its liveness probe", "", crash.c_str(),
     R"([{"reason":"Killing","message":"Container app failed liveness probe, will be restarted","lastTimestamp":"2025-12-31T23:59:29Z","involvedObject":{"fieldPath":"spec.containers{app}"}},
         {"reason":"Unhealthy","message":"Liveness probe failed: HTTP probe failed with statuscode: 500","lastTimestamp":"2025-12-31T23:59:28Z","involvedObject":{"fieldPath":"spec.containers{app}"}}])",
     "",
     "wrong/CrashLoopBackOff: Container app crashed (SIGSEGV) 30s ago, after 5 restarts; it is started again "
     "in 50s. It "
     "was ended since its liveness probe failed (HTTP probe failed with statuscode: 500, 32s ago). | Find "
     "out why the "
     "probe gets no good answer, or give it more time. [log app]"},
    {"readiness", probed, unready.c_str(),
     EVENT("Unhealthy", "Readiness probe failed: dial tcp: connection refused", "2025-12-31T23:59:50Z"), "",
     "wrong/ReadinessProbe: Container app runs since 10m, but its readiness probe fails (dial tcp: "
     "connection refused, "
     "10s ago), so that it gets no requests. | Find out why the probe gets no good answer, or correct the "
     "probe. [log "
     "app]"},
    {"startup", probed, unstarted.c_str(), "[]", "",
     "underway/Starting: Container app runs since 10m and its startup probe has not passed yet. [log app]"},
    {"an init container crashes", two_inits, init_crash.c_str(), "[]", "",
     "wrong/CrashLoopBackOff: Init container b failed with exit status 1 5s ago, after 2 restarts; it is "
     "started again "
     "in 15s. The pod's containers start after it (2 of 2 init containers). | The program itself fails: its "
     "last lines "
     "may say why. [log b]"},
    {"an init container runs", two_inits, init_runs.c_str(), "[]", "",
     "underway/PodInitializing: It is being prepared: init container a runs since 60s. The pod's containers "
     "start after "
     "it (1 of 2 init containers). [log a]"},
    {"grace", "", stopping.c_str(), "[]", R"("meta":{"deletionTimestamp":"2026-01-01T00:00:20Z"})",
     "underway/Terminating: It is deleted and was asked to end; container app has until 2026-01-01T00:00:20Z "
     "(in 20s) "
     "before it is killed."},
    {"does not die", "", stopping.c_str(), "[]", R"("meta":{"deletionTimestamp":"2025-12-31T23:00:00Z"})",
     "wrong/Terminating: It is deleted and was killed 60m ago, but container app has not ended: the kernel "
     "still holds "
     "it, most often for a disk or device that does not answer. | Look at the kernel's messages (dmesg); a "
     "reboot of "
     "the device ends it."},
    {"finalizer", "", done.c_str(), "[]",
     R"("meta":{"deletionTimestamp":"2025-12-31T23:00:00Z","finalizers":["example.com/a","b"]})",
     "wrong/Finalizers: It is deleted and nothing of it runs any more, but it is held by the finalizer "
     "example.com/a, b "
     "until whoever put it there takes it away. | See that the program that owns the finalizer runs, or "
     "remove it: "
     "kubectl edit pod web."},
    {"being removed", "", done.c_str(), "[]", R"("meta":{"deletionTimestamp":"2025-12-31T23:00:00Z"})",
     "underway/Terminating: It is deleted; what it used on the device is being removed."},
    {"readiness gate", "",
     R"("phase":"Running","conditions":[{"type":"Ready","status":"False","reason":"ReadinessGatesNotReady","message":"corresponding condition of pod readiness gate \"g\" does not exist."}],"containerStatuses":[{"name":"app","ready":true,"state":{"running":{}}}])",
     "[]", "",
     "wrong/ReadinessGatesNotReady: Its containers run, but a readiness gate holds it: corresponding "
     "condition of pod "
     "readiness gate \"g\" does not exist. | The program that owns the gate sets it."},
};

}  // namespace

TEST_CASE("why a pod does not run") {
  for (const Row& row : rows) {
    CAPTURE(row.name);
    CHECK_EQ(explained(row), row.expected);
  }
}

TEST_CASE("of several containers the worst is told, and how many there are") {
  const std::string status =
      R"("phase":"Running","containerStatuses":[{"name":"a","state":{"waiting":{"reason":"ContainerCreating"}}},
          {"name":"b","state":{"terminated":{"exitCode":127}}},{"name":"c","ready":true,"state":{"running":{}}}])";
  const Row row{"",
                R"("containers":[{"name":"a"},{"name":"b"},{"name":"c"}])",
                status.c_str(),
                "[]",
                "",
                "wrong/Error: Container b failed with exit status 127 (there is no such command). 2 of its 3 "
                "containers "
                "do not run as they should. | Correct the command in the pod. [log b]"};
  CHECK_EQ(explained(row), row.expected);
}

TEST_CASE("what registries answer has a remedy") {
  const std::pair<const char*, const char*> answers[] = {
      {"failed to authorize: failed to fetch oauth token: unexpected status: 401 Unauthorized",
       "user and password"},
      {"403 Forbidden", "wants a password"},
      {"429 Too Many Requests", "limits how often"},
      {"write /var/lib/limpet/image/x: No space left on device", "Free disk space"},
      {"x509: the certificate is not trusted", "registries.caFile"},
      {"registry.example: Temporary failure in name resolution", "DNS"},
      {"connect 10.0.0.1:5000: Connection refused", "registry runs"},
      {"connect: Network is unreachable", "network of the device"},
      {"404 Not Found", "name and tag"},
      {"something else", "limpet image pull img:1"},
  };
  for (const auto& [answer, part] : answers) {
    CAPTURE(answer);
    CHECK(pull_remedy(answer, "img:1").find(part) != std::string::npos);
  }
}

TEST_CASE("of a failed pull the registry's answer is left") {
  CHECK_EQ(registry_answer("failed to pull and unpack image \"r/a:1\": failed to resolve reference "
                           "\"r/a:1\": r/a:1: not found"),
           "r/a:1: not found");
  CHECK_EQ(registry_answer("failed to resolve reference \"unfinished"),
           "failed to resolve reference \"unfinished");
  CHECK_EQ(registry_answer("plain"), "plain");
}

TEST_CASE("messages of others stay short, on one line and harmless") {
  CHECK_EQ(quoted_part("a\n  b\x1b[31m...\n"), "a b?[31m");
  const std::string cut = quoted_part(std::string(299, 'x') + "\xc3\xa9 and more");
  CHECK_EQ(cut, std::string(299, 'x') + "...");
  CHECK_EQ(ago("2026-01-01T00:00:01Z", now), "");
  CHECK_EQ(from_now(-5), "now");
}
