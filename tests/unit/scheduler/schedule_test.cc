#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "scheduler/schedule.h"

#include <doctest/doctest.h>

#include "scheduler/read.h"

using namespace limpet;
using namespace limpet::scheduler;

namespace {

PodInfo pod(const char* json) { return read_pod(json::Cursor(json)); }
NodeInfo node(const char* json) { return read_node(json::Cursor(json)); }

constexpr const char* kPlainNode = R"({"metadata":{"name":"edge-1","labels":{"disk":"ssd","cores":"4"}},
  "status":{"allocatable":{"cpu":"2","memory":"1Gi","pods":"3"}}})";

struct Row {
  const char* name;
  const char* pod;
  const char* node;
  const char* message;          // "" when it fits
  const char* preemption = "";  // the end of the message
};

constexpr const char* kHelpless =
    " preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.";
constexpr const char* kNoVictims =
    " preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.";

}  // namespace

TEST_CASE("one pod against one node: what fits, and the words for what does not") {
  const Row rows[] = {
      {"empty pod", R"({"spec":{}})", kPlainNode, ""},
      {"exactly all cpu", R"({"spec":{"containers":[{"resources":{"requests":{"cpu":"2000m"}}}]}})",
       kPlainNode, ""},
      {"cpu over by a thousandth", R"({"spec":{"containers":[{"resources":{"requests":{"cpu":"2001m"}}}]}})",
       kPlainNode, "0/1 nodes are available: 1 Insufficient cpu.", kHelpless},
      {"a limit alone counts as request",
       R"({"spec":{"containers":[{"resources":{"limits":{"memory":"2Gi"}}}]}})", kPlainNode,
       "0/1 nodes are available: 1 Insufficient memory.", kHelpless},
      {"two resources, two reasons",
       R"({"spec":{"containers":[{"resources":{"requests":{"cpu":"3","memory":"2Gi"}}}]}})", kPlainNode,
       "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory.", kHelpless},
      {"an unknown extended resource",
       R"({"spec":{"containers":[{"resources":{"requests":{"example.com/tpu":"1"}}}]}})", kPlainNode,
       "0/1 nodes are available: 1 Insufficient example.com/tpu.", kHelpless},
      {"node selector", R"({"spec":{"nodeSelector":{"disk":"hdd"}}})", kPlainNode,
       "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.", kHelpless},
      {"node selector holds", R"({"spec":{"nodeSelector":{"disk":"ssd"}}})", kPlainNode, ""},
      {"affinity Gt",
       R"({"spec":{"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":
        {"nodeSelectorTerms":[{"matchExpressions":[{"key":"cores","operator":"Gt","values":["4"]}]}]}}}}})",
       kPlainNode, "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
       kHelpless},
      {"affinity: the second term holds",
       R"({"spec":{"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":
        {"nodeSelectorTerms":[{"matchExpressions":[{"key":"absent","operator":"Exists"}]},
                              {"matchFields":[{"key":"metadata.name","operator":"In","values":["edge-1"]}]}]}}}}})",
       kPlainNode, ""},
      {"affinity without terms matches nothing",
       R"({"spec":{"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{}]}}}}})",
       kPlainNode, "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
       kHelpless},
      {"taint", R"({"spec":{}})",
       R"({"metadata":{"name":"n"},"spec":{"taints":[{"key":"site","value":"roof","effect":"NoSchedule"}]},
          "status":{"allocatable":{"pods":"3"}}})",
       "0/1 nodes are available: 1 node(s) had untolerated taint(s).", kHelpless},
      {"unreachable, which pods bear for a while where they are, but do not go to",
       R"({"spec":{"tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300},
          {"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}]}})",
       R"({"metadata":{"name":"n"},"spec":{"taints":[{"key":"node.kubernetes.io/unreachable","effect":"NoSchedule"},
          {"key":"node.kubernetes.io/unreachable","effect":"NoExecute"}]},"status":{"allocatable":{"pods":"3"}}})",
       "0/1 nodes are available: 1 node(s) had untolerated taint(s).", kHelpless},
      {"NoExecute forbids too", R"({"spec":{}})",
       R"({"metadata":{"name":"n"},"spec":{"taints":[{"key":"site","effect":"NoExecute"}]},
          "status":{"allocatable":{"pods":"3"}}})",
       "0/1 nodes are available: 1 node(s) had untolerated taint(s).", kHelpless},
      {"a soft taint does not forbid", R"({"spec":{}})",
       R"({"metadata":{"name":"n"},"spec":{"taints":[{"key":"site","effect":"PreferNoSchedule"}]},
          "status":{"allocatable":{"pods":"3"}}})",
       ""},
      {"toleration of another effect",
       R"({"spec":{"tolerations":[{"key":"site","operator":"Exists","effect":"NoExecute"}]}})",
       R"({"metadata":{"name":"n"},"spec":{"taints":[{"key":"site","effect":"NoSchedule"}]},
          "status":{"allocatable":{"pods":"3"}}})",
       "0/1 nodes are available: 1 node(s) had untolerated taint(s).", kHelpless},
      {"toleration of everything", R"({"spec":{"tolerations":[{"operator":"Exists"}]}})",
       R"({"metadata":{"name":"n"},"spec":{"unschedulable":true,"taints":[{"key":"site","effect":"NoSchedule"}]},
          "status":{"allocatable":{"pods":"3"}}})",
       ""},
      {"cordoned", R"({"spec":{}})",
       R"({"metadata":{"name":"n"},"spec":{"unschedulable":true},"status":{"allocatable":{"pods":"3"}}})",
       "0/1 nodes are available: 1 node(s) were unschedulable.", kHelpless},
      {"no pods allowed", R"({"spec":{}})",
       R"({"metadata":{"name":"n"},"status":{"allocatable":{"pods":"0"}}})",
       "0/1 nodes are available: 1 Too many pods.", kNoVictims},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    const Decision d = schedule(pod(row.pod), Snapshot{{node(row.node)}});
    CHECK(d.message == std::string(row.message) + row.preemption);
    CHECK(d.node.empty() == (row.message[0] != 0));
  }
}

TEST_CASE("no node at all") {
  CHECK(schedule(pod("{}"), {}).message == "no nodes available to schedule pods");
}

TEST_CASE("bound pods take their share and give it back") {
  NodeInfo n = node(kPlainNode);
  const PodInfo half = pod(R"({"spec":{"containers":[{"resources":{"requests":{"cpu":"1500m"}},
    "ports":[{"hostPort":80,"containerPort":80}]}]}})");
  n.add(half);
  CHECK(
      schedule(half, Snapshot{{n}}).message ==
      std::string("0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.") +
          kNoVictims);
  PodInfo other = half;
  other.host_ports[0].protocol = "UDP";
  CHECK(schedule(other, Snapshot{{n}}).message ==
        std::string("0/1 nodes are available: 1 Insufficient cpu.") + kNoVictims);
  n.remove(half);
  CHECK(schedule(half, Snapshot{{n}}).node == "edge-1");
}

TEST_CASE("reasons of several nodes are counted") {
  const char* cordoned =
      R"({"metadata":{"name":"n"},"spec":{"unschedulable":true},"status":{"allocatable":{"pods":"3"}}})";
  const char* full = R"({"metadata":{"name":"m"},"status":{"allocatable":{"pods":"0"}}})";
  const Decision d = schedule(pod("{}"), Snapshot{{node(cordoned), node(full), node(cordoned)}});
  CHECK(d.message ==
        "0/3 nodes are available: 1 Too many pods, 2 node(s) were unschedulable. preemption: 0/3 nodes are "
        "available: 1 No preemption victims found for incoming pod, 2 Preemption is not helpful for "
        "scheduling.");
}

TEST_CASE("what making room would come to, in the words of Kubernetes") {
  struct Row {
    const char *name, *more;
    std::vector<int64_t> bound;  // priorities of the pods of the node, of 600m each
    const char* end;
  };
  const Row rows[] = {
      {"nobody of lower priority", "", {0, 10, 20}, "1 No preemption victims found for incoming pod."},
      {"nobody is asked to leave", R"(,"preemptionPolicy":"Never")", {0, 0, 0}, nullptr},
      {"room would not do", "", {10, -1, 10}, "1 Insufficient cpu."},
      {"room would do",
       "",
       {-1, -2, 10},
       "1 node(s) have pods of lower priority, which are not evicted for others."},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    NodeInfo n = node(kPlainNode);
    PodInfo bound = pod(R"({"spec":{"containers":[{"resources":{"requests":{"cpu":"600m"}}}]}})");
    for (const int64_t priority : row.bound) {
      bound.priority = priority;
      n.add(bound);
    }
    const PodInfo p =
        pod((R"({"spec":{"priority":0,"containers":[{"resources":{"requests":{"cpu":"1300m"}}}])" +
             std::string(row.more) + "}}")
                .c_str());
    CHECK(schedule(p, Snapshot{{n}}).message ==
          (row.end
               ? std::string("0/1 nodes are available: 1 Insufficient cpu, 1 Too many pods. preemption: "
                             "0/1 nodes are available: ") +
                     row.end
               : "0/1 nodes are available: 1 Insufficient cpu, 1 Too many pods. preemption: not eligible due "
                 "to preemptionPolicy=Never."));
    for (const int64_t priority : row.bound) {
      bound.priority = priority;
      n.remove(bound);
    }
    CHECK(n.shares.empty());
    CHECK(schedule(p, Snapshot{{n}}).node == "edge-1");
  }
}

TEST_CASE("the emptier node wins, equal ones by name") {
  NodeInfo a = node(kPlainNode), b = node(kPlainNode);
  a.name = "a";
  b.name = "b";
  const PodInfo p = pod(R"({"spec":{"containers":[{"resources":{"requests":{"cpu":"100m"}}}]}})");
  CHECK(schedule(p, Snapshot{{a, b}}).node == "a");
  a.add(p);
  CHECK(schedule(p, Snapshot{{a, b}}).node == "b");
}

TEST_CASE("requests of a pod with init containers and sidecars") {
  const Amounts r = pod_requests(json::Cursor(R"({"spec":{
    "initContainers":[{"resources":{"requests":{"cpu":"1"}}},
                      {"restartPolicy":"Always","resources":{"requests":{"cpu":"200m"}}},
                      {"resources":{"requests":{"cpu":"2"}}}],
    "containers":[{"resources":{"requests":{"cpu":"300m","memory":"1Mi"}}},{"resources":{"requests":{"cpu":"300m"}}}],
    "overhead":{"cpu":"10m"}}})"));
  CHECK(r.at("cpu") == 2210);  // the last init container with the sidecar beside it, and the overhead
  CHECK(r.at("memory") == 1 << 20);
}
