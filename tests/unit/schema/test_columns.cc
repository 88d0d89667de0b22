#include "schema/columns.h"
#include "table.h"

using namespace limpet;
using namespace limpet::schema;

namespace {

constexpr WallTime kNow{1767225600, 0};  // 2026-01-01T00:00:00Z

std::string cells(const char* plural, const std::string& object) {
  const Resource* r = find_resource("", "v1", plural);
  REQUIRE((r != nullptr));
  json::Writer w;
  write_cells(*r, json::Cursor(object), kNow, w);
  return w.take();
}

// READY, STATUS and RESTARTS of a pod with this spec and status.
std::string pod(const std::string& spec, const std::string& status, const std::string& meta = "") {
  const std::string row = cells(
      "pods", "{\"metadata\":{\"name\":\"p\"" + meta + "},\"spec\":" + spec + ",\"status\":" + status + "}");
  const json::Value v = json::parse(row).value();
  return std::string(v.ref().at(1).str()) + " " + std::string(v.ref().at(2).str()) + " " +
         std::string(v.ref().at(3).str());
}

const char* kTwo = R"({"containers":[{"name":"a"},{"name":"b"}]})";
const char* kInit = R"({"initContainers":[{"name":"i"},{"name":"j"}],"containers":[{"name":"a"}]})";
const char* kSidecar =
    R"({"initContainers":[{"name":"s","restartPolicy":"Always"}],"containers":[{"name":"a"}]})";

}  // namespace

TEST_CASE("columns: ages") {
  struct Case {
    int64_t seconds;
    const char* text;
  };
  for (const Case& c : std::initializer_list<Case>{
           {-5, "<invalid>"}, {-1, "0s"},      {0, "0s"},          {59, "59s"},      {119, "119s"},
           {120, "2m"},       {192, "3m12s"},  {599, "9m59s"},     {600, "10m"},     {10799, "179m"},
           {10800, "3h"},     {11100, "3h5m"}, {28800, "8h"},      {172799, "47h"},  {172800, "2d"},
           {187200, "2d4h"},  {691200, "8d"},  {63071999, "729d"}, {63072000, "2y"}, {64000000, "2y10d"},
           {252288000, "8y"}}) {
    CAPTURE(c.seconds);
    CHECK(human_duration(c.seconds) == c.text);
  }
  CHECK(age_of("", kNow) == "<unknown>");
  CHECK(age_of("2025-12-31T23:56:48Z", kNow) == "3m12s");
}

TEST_CASE("columns: pod status") {
  auto state = [](const char* name, const std::string& state_json, bool ready, int restarts) {
    return strf(R"({"name":"%s","state":%s,"ready":%s,"restartCount":%d})", name, state_json.c_str(),
                ready ? "true" : "false", restarts);
  };
  const std::string running = R"({"running":{}})",
                    done = R"({"terminated":{"exitCode":0,"reason":"Completed"}})";
  auto containers = [](const std::string& a, const std::string& b) {
    return R"({"phase":"Running","containerStatuses":[)" + a + "," + b + "]}";
  };
  CHECK(pod(kTwo, R"({"phase":"Pending"})") == "0/2 Pending 0");
  CHECK(pod(kTwo, containers(state("a", running, true, 0), state("b", running, true, 0))) == "2/2 Running 0");
  CHECK(pod(kTwo, containers(state("a", running, true, 1),
                             state("b", R"({"waiting":{"reason":"CrashLoopBackOff"}})", false, 3))) ==
        "1/2 CrashLoopBackOff 4");
  CHECK(pod(kTwo, containers(state("a", running, true, 0), state("b", done, false, 0))) == "1/2 NotReady 0");
  CHECK(pod(kTwo, R"({"phase":"Running","reason":"Evicted"})") == "0/2 Evicted 0");
  CHECK(pod(kTwo, containers(state("a", R"({"terminated":{"exitCode":137,"reason":"OOMKilled"}})", false, 0),
                             state("b", running, true, 0))) == "1/2 OOMKilled 0");
  CHECK(pod(kTwo, containers(state("a", R"({"terminated":{"exitCode":3}})", false, 0),
                             state("b", running, true, 0))) == "1/2 ExitCode:3 0");
  CHECK(pod(kTwo, containers(state("a", R"({"terminated":{"exitCode":137,"signal":9}})", false, 0),
                             state("b", running, true, 0))) == "1/2 Signal:9 0");
  CHECK(pod(kTwo, containers(state("a", running, true, 0), state("b", running, true, 0)),
            R"(,"deletionTimestamp":"2026-01-01T00:00:00Z")") == "2/2 Terminating 0");
  CHECK(pod(kTwo, R"({"phase":"Succeeded"})", R"(,"deletionTimestamp":"2026-01-01T00:00:00Z")") ==
        "0/2 Succeeded 0");
  CHECK(pod(kTwo,
            R"({"phase":"Running","containerStatuses":[{"name":"a","restartCount":2,"state":{"running":{}},
    "ready":true,"lastState":{"terminated":{"finishedAt":"2025-12-31T23:55:00Z"}}}]})") ==
        "1/2 Running 2 (5m ago)");
  CHECK(pod(kTwo, R"({"phase":"Pending","conditions":[{"type":"PodScheduled","status":"False",
    "reason":"SchedulingGated"}]})") == "0/2 SchedulingGated 0");
}

TEST_CASE("columns: init containers") {
  auto init = [](const std::string& list) {
    return R"({"phase":"Pending","initContainerStatuses":[)" + list + "]}";
  };
  CHECK(
      pod(kInit,
          init(
              R"({"name":"i","state":{"running":{}}},{"name":"j","state":{"waiting":{"reason":"PodInitializing"}}})")) ==
      "0/1 Init:0/2 0");
  CHECK(
      pod(kInit,
          init(
              R"({"name":"i","state":{"terminated":{"exitCode":0}}},{"name":"j","state":{"waiting":{"reason":"PodInitializing"}}})")) ==
      "0/1 Init:1/2 0");
  CHECK(pod(kInit,
            init(R"({"name":"i","restartCount":2,"state":{"waiting":{"reason":"CrashLoopBackOff"}}})")) ==
        "0/1 Init:CrashLoopBackOff 2");
  CHECK(pod(kInit, init(R"({"name":"i","state":{"terminated":{"exitCode":1,"reason":"Error"}}})")) ==
        "0/1 Init:Error 0");
  CHECK(pod(kInit, init(R"({"name":"i","state":{"terminated":{"exitCode":1}}})")) == "0/1 Init:ExitCode:1 0");
  CHECK(pod(kSidecar, R"({"phase":"Running","initContainerStatuses":[{"name":"s","started":true,"ready":true,
    "restartCount":1,"state":{"running":{}}}],"containerStatuses":[{"name":"a","ready":true,"restartCount":1,
    "state":{"running":{}}}]})") == "2/2 Running 2");
}

TEST_CASE("columns: other kinds") {
  CHECK(cells("pods", R"({"metadata":{"name":"p","creationTimestamp":"2025-12-31T23:59:00Z"},
    "spec":{"nodeName":"n1","containers":[{"name":"a"}],"readinessGates":[{"conditionType":"x"}]},
    "status":{"phase":"Running","podIPs":[{"ip":"10.42.0.5"}]}})") ==
        R"(["p","0/1","Running","0","60s","10.42.0.5","n1","<none>","0/1"])");
  CHECK(
      cells("nodes", R"({"metadata":{"name":"n","creationTimestamp":"2025-12-31T00:00:00Z","labels":{
    "node-role.kubernetes.io/control-plane":"","node-role.kubernetes.io/a":""}},"spec":{"unschedulable":true},
    "status":{"conditions":[{"type":"Ready","status":"True"}],"addresses":[{"type":"InternalIP","address":"1.2.3.4"}],
    "nodeInfo":{"kubeletVersion":"v1.35.0","osImage":"Debian"}}})") ==
      R"(["n","Ready,SchedulingDisabled","a,control-plane","24h","v1.35.0","1.2.3.4","<none>","Debian","<unknown>","<unknown>"])");
  CHECK(cells("nodes", R"({"metadata":{"name":"n"}})").starts_with(R"(["n","Unknown","<none>","<unknown>")"));
  CHECK(cells("namespaces", R"({"metadata":{"name":"n"},"status":{"phase":"Active"}})") ==
        R"(["n","Active","<unknown>"])");
  CHECK(cells("configmaps", R"({"metadata":{"name":"n"},"data":{"a":"","b":""},"binaryData":{"c":""}})") ==
        R"(["n",3,"<unknown>"])");
  CHECK(cells("secrets", R"({"metadata":{"name":"n"},"type":"Opaque","data":{"a":""}})") ==
        R"(["n","Opaque",1,"<unknown>"])");
  CHECK(
      cells("events", R"({"metadata":{"name":"e"},"type":"Warning","reason":"Failed","message":" no image\n",
    "involvedObject":{"kind":"Pod","name":"p","fieldPath":"spec.containers{a}"},"count":3,
    "firstTimestamp":"2025-12-31T23:00:00Z","lastTimestamp":"2025-12-31T23:59:30Z",
    "source":{"component":"kubelet","host":"n1"}})") ==
      R"(["30s","Warning","Failed","pod/p","spec.containers{a}","kubelet, n1","no image","60m",3,"e"])");
}
