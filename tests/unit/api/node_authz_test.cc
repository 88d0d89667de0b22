// What a device may do. The table holds what upstream's tests of the node authorizer expect
// (plugin/pkg/auth/authorizer/node/node_authorizer_test.go), said as requests.
#include <algorithm>
#include <map>

#include "api/node_authz.h"
#include "fixture.h"

namespace limpet::api::test {
namespace {

std::string bound_pod(const std::string& ns, const std::string& name, const std::string& node,
                      const std::string& spec, const std::string& annotations = "") {
  return R"({"kind":"Pod","apiVersion":"v1","metadata":{"name":")" + name + R"(","namespace":")" + ns + "\"" +
         (annotations.empty() ? "" : ",\"annotations\":{" + annotations + "}") + R"(},"spec":{"nodeName":")" +
         node + "\"" + spec + "}}";
}

// Every place where a pod names a secret or a config map.
constexpr const char* kMentions = R"(,"serviceAccountName":"account",
  "imagePullSecrets":[{"name":"pull"}],
  "initContainers":[{"name":"i","env":[{"name":"E","valueFrom":{"secretKeyRef":{"name":"init-env","key":"k"}}}]}],
  "containers":[{"name":"c","envFrom":[{"secretRef":{"name":"from"}},{"configMapRef":{"name":"map-from"}}],
     "env":[{"name":"E","valueFrom":{"configMapKeyRef":{"name":"map-env","key":"k"}}},{"name":"P","value":"plain"}]}],
  "ephemeralContainers":[{"name":"e","envFrom":[{"secretRef":{"name":"ephemeral"}}]}],
  "volumes":[{"name":"a","secret":{"secretName":"volume"}},{"name":"b","configMap":{"name":"map-volume"}},
     {"name":"p","projected":{"sources":[{"secret":{"name":"projected"}},{"configMap":{"name":"map-projected"}}]}},
     {"name":"d","azureFile":{"secretName":"azure","shareName":"s"}},
     {"name":"f","csi":{"driver":"d","nodePublishSecretRef":{"name":"csi"}}},
     {"name":"g","cephfs":{"monitors":["m"],"secretRef":{"name":"ceph"}}},
     {"name":"h","cinder":{"volumeID":"v","secretRef":{"name":"cinder"}}},
     {"name":"j","flexVolume":{"driver":"d","secretRef":{"name":"flex"}}},
     {"name":"k","iscsi":{"targetPortal":"t","secretRef":{"name":"iscsi"}}},
     {"name":"l","rbd":{"monitors":["m"],"secretRef":{"name":"rbd"}}},
     {"name":"m","scaleIO":{"gateway":"g","secretRef":{"name":"scale"}}},
     {"name":"n","storageos":{"secretRef":{"name":"storageos"}}}])";

RequestInfo info_of(const std::string& method, std::string_view target) {
  http::Request r;
  r.method = method;
  size_t mark = target.find('?');
  r.path = target.substr(0, mark);
  if (mark != std::string_view::npos) r.query = *http::parse_query(target.substr(mark + 1));
  return parse_request_info(r);
}

User device(const std::string& name) {
  return {"system:node:" + name, "", {"system:nodes", "system:authenticated"}, {}, {}};
}

}  // namespace

TEST_CASE("every name that a pod mentions, and none of a mirror pod") {
  using Names = std::vector<std::string>;
  std::map<Mention, Names> found;
  const std::string full = bound_pod("d", "p", "n", kMentions);
  REQUIRE(json::validate(full));
  each_mention(json::Cursor(full), [&](Mention m, const std::string& name) { found[m].push_back(name); });
  for (auto& [m, names] : found) std::sort(names.begin(), names.end());
  CHECK(found[Mention::service_account] == Names{"account"});
  CHECK(found[Mention::config_map] == Names{"map-env", "map-from", "map-projected", "map-volume"});
  CHECK(found[Mention::secret] == Names{"azure", "ceph", "cinder", "csi", "ephemeral", "flex", "from",
                                        "init-env", "iscsi", "projected", "pull", "rbd", "scale", "storageos",
                                        "volume"});
  found.clear();
  const std::string mirror = bound_pod("d", "p", "n", kMentions, R"("kubernetes.io/config.mirror":"x")");
  each_mention(json::Cursor(mirror), [&](Mention m, const std::string& name) { found[m].push_back(name); });
  CHECK(found.empty());
}

TEST_CASE("node authorizer") {
  NodeGraph graph;
  graph.add(bound_pod("d", "mine", "n", R"(,"serviceAccountName":"robot","containers":[],"volumes":[
    {"name":"a","secret":{"secretName":"s"}},{"name":"b","configMap":{"name":"m"}}])"));
  graph.add(bound_pod("d", "theirs", "other", R"(,"serviceAccountName":"spy","containers":[],"volumes":[
    {"name":"a","secret":{"secretName":"s2"}},{"name":"b","configMap":{"name":"m2"}}])"));
  graph.add(bound_pod("d", "free", "",
                      R"(,"containers":[],"volumes":[{"name":"a","secret":{"secretName":"s3"}}])"));
  const std::string none = "no relationship found between node 'n' and this object";
  const std::string one = "can only read namespaced object of this type";
  const std::string core = "/api/v1/", in = "/api/v1/namespaces/d/";
  const std::string leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
  using Is = Decision::Is;
  const struct {
    std::string method, target;
    Is is;
    std::string reason = "";
  } rows[] = {
      // What pods mention: one object each, of this device's pods.
      {"GET", in + "secrets/s", Is::allowed},
      {"GET", in + "secrets?fieldSelector=metadata.name=s", Is::allowed},
      {"GET", in + "secrets?fieldSelector=metadata.name%3D%3Ds", Is::allowed},
      {"GET", in + "secrets?watch=true&fieldSelector=metadata.name=s", Is::allowed},
      {"GET", in + "secrets/s2", Is::unsure, none},
      {"GET", in + "secrets/s3", Is::unsure, none},
      {"GET", core + "namespaces/e/secrets/s", Is::unsure, none},
      {"GET", in + "secrets?watch=true&fieldSelector=metadata.name=s2", Is::unsure, none},
      {"GET", in + "secrets", Is::denied, "No Object name found"},
      {"GET", in + "secrets?watch=1", Is::denied, "No Object name found"},
      {"GET", in + "secrets?fieldSelector=metadata.name!=s2", Is::denied, "No Object name found"},
      {"GET", in + "secrets?fieldSelector=metadata.name=s,nonsense=1", Is::denied, "No Object name found"},
      {"GET", in + "secrets?labelSelector=metadata.name=s", Is::denied, "No Object name found"},
      {"GET", core + "secrets", Is::denied, one},
      {"GET", core + "secrets?fieldSelector=metadata.name=s", Is::denied, one},
      {"GET", in + "secrets/s/status", Is::denied, "cannot read subresource"},
      {"POST", in + "secrets", Is::denied, "can only read resources of this type"},
      {"PUT", in + "secrets/s", Is::denied, "can only read resources of this type"},
      {"DELETE", in + "secrets/s", Is::denied, "can only read resources of this type"},
      {"DELETE", in + "secrets?fieldSelector=metadata.name=s", Is::denied,
       "can only read resources of this type"},
      {"GET", in + "configmaps/m", Is::allowed},
      {"HEAD", in + "configmaps/m", Is::allowed},
      {"GET", in + "configmaps/m2", Is::unsure, none},
      {"GET", in + "configmaps/s", Is::unsure, none},
      {"PATCH", in + "configmaps/m", Is::denied, "can only read resources of this type"},
      // Accounts
      {"GET", in + "serviceaccounts/robot", Is::allowed},
      {"GET", in + "serviceaccounts/spy", Is::unsure, none},
      {"POST", in + "serviceaccounts/robot/token", Is::allowed},
      {"POST", in + "serviceaccounts/spy/token", Is::unsure, none},
      {"POST", in + "serviceaccounts/robot/other", Is::denied,
       "can only create token subresource of serviceaccount"},
      {"POST", in + "serviceaccounts", Is::denied, "can only create tokens for individual service accounts"},
      {"PUT", in + "serviceaccounts/robot", Is::denied,
       "can only create tokens for individual service accounts"},
      // Pods
      {"GET", in + "pods/mine", Is::allowed},
      {"GET", in + "pods/theirs", Is::unsure, none},
      {"GET", in + "pods/free", Is::unsure, none},
      {"GET", core + "pods?fieldSelector=spec.nodeName=n", Is::allowed},
      {"GET", in + "pods?fieldSelector=spec.nodeName=n", Is::allowed},
      {"GET", core + "pods?watch=true&fieldSelector=spec.nodeName=n,status.phase=Running", Is::allowed},
      {"GET", core + "pods?fieldSelector=spec.nodeName=other", Is::denied,
       "can only list/watch pods with spec.nodeName field selector"},
      {"GET", core + "pods?fieldSelector=spec.nodeName!=n", Is::denied,
       "can only list/watch pods with spec.nodeName field selector"},
      {"GET", core + "pods", Is::denied, "can only list/watch pods with spec.nodeName field selector"},
      {"GET", in + "pods?fieldSelector=metadata.name=mine", Is::allowed},
      {"GET", in + "pods?fieldSelector=metadata.name=theirs", Is::unsure, none},
      {"POST", in + "pods", Is::allowed},
      {"DELETE", in + "pods/theirs",
       Is::allowed},  // as far as the address tells: see node_restriction_test.cc
      {"DELETE", in + "pods?fieldSelector=spec.nodeName=n", Is::denied},
      {"PUT", in + "pods/mine", Is::denied},
      {"PATCH", in + "pods/mine", Is::denied},
      {"PUT", in + "pods/mine/status", Is::allowed},
      {"PATCH", in + "pods/mine/status", Is::allowed},
      {"GET", in + "pods/mine/status", Is::denied},
      {"POST", in + "pods/mine/eviction", Is::allowed},
      {"POST", in + "pods/mine/binding", Is::denied},
      {"GET", in + "pods/mine/log", Is::denied},
      {"GET", in + "pods/mine/exec", Is::denied},
      {"POST", in + "pods/mine/attach", Is::denied},
      {"PATCH", in + "pods/mine/ephemeralcontainers", Is::denied},
      // Nodes
      {"GET", core + "nodes/n", Is::allowed},
      {"GET", core + "nodes?fieldSelector=metadata.name=n", Is::allowed},
      {"GET", core + "nodes?watch=true&fieldSelector=metadata.name=n", Is::allowed},
      {"GET", core + "nodes/other", Is::denied, "node 'n' cannot read 'other', only its own Node object"},
      {"GET", core + "nodes", Is::denied, "node 'n' cannot read all nodes, only its own Node object"},
      {"POST", core + "nodes", Is::allowed},
      {"PATCH", core + "nodes/n", Is::allowed},
      {"PATCH", core + "nodes/n/status", Is::allowed},
      {"GET", core + "nodes/n/proxy/logs", Is::denied},
      {"DELETE", core + "nodes/n", Is::denied},
      {"DELETE", core + "nodes", Is::denied},
      // Leases
      {"POST", leases, Is::allowed},
      {"GET", leases + "/n", Is::allowed},
      {"PUT", leases + "/n", Is::allowed},
      {"PATCH", leases + "/n", Is::allowed},
      {"DELETE", leases + "/n", Is::allowed},
      {"PUT", leases + "/other", Is::denied,
       "can only access node lease with the same name as the requesting node"},
      {"GET", leases, Is::denied, "can only get, create, update, patch, or delete a node lease"},
      {"GET", leases + "?watch=1&fieldSelector=metadata.name=n", Is::denied,
       "can only get, create, update, patch, or delete a node lease"},
      {"GET", "/apis/coordination.k8s.io/v1/namespaces/d/leases/n", Is::denied,
       "can only access leases in the \"kube-node-lease\" system namespace"},
      // Events, reviews
      {"POST", in + "events", Is::allowed},
      {"PATCH", in + "events/e", Is::allowed},
      {"GET", in + "events", Is::denied},
      {"DELETE", in + "events/e", Is::denied},
      {"POST", "/apis/authentication.k8s.io/v1/tokenreviews", Is::allowed},
      {"POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", Is::allowed},
      {"POST", "/apis/authorization.k8s.io/v1/namespaces/d/localsubjectaccessreviews", Is::allowed},
      {"POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", Is::allowed},
      // The rest
      {"GET", core + "namespaces", Is::denied},
      {"GET", "/apis/apps/v1/deployments", Is::denied},
      {"POST", "/apis/apps/v1/namespaces/d/deployments", Is::denied},
      {"GET", "/apis/example.com/v1/namespaces/d/secrets/s", Is::denied},
      {"GET", "/version", Is::allowed},
      {"GET", "/readyz", Is::allowed},
      {"GET", "/metrics", Is::denied},
      {"POST", "/limpet/v1/heartbeat", Is::allowed},
      {"GET", "/limpet/v1/heartbeat", Is::denied},
      {"POST", "/limpet/v1/join", Is::denied},
  };
  for (const auto& row : rows) {
    INFO(row.method << " " << row.target);
    const Decision d = authorize(device("n"), info_of(row.method, row.target), graph);
    CHECK(d.is == row.is);
    CHECK(d.reason == row.reason);
  }
}

TEST_CASE("who is a device") {
  NodeGraph graph;
  graph.add(bound_pod("d", "p", "n", R"(,"volumes":[{"name":"a","secret":{"secretName":"s"}}])"));
  const RequestInfo secret = info_of("GET", "/api/v1/namespaces/d/secrets/s");
  CHECK(authorize(device("n"), secret, graph).allowed());
  // Without the group a name is a name.
  CHECK_FALSE(authorize({"system:node:n", "", {"system:authenticated"}, {}, {}}, secret, graph).allowed());
  const Decision unnamed = authorize({"mallory", "", {"system:nodes"}, {}, {}}, secret, graph);
  CHECK(unnamed.is == Decision::Is::denied);
  CHECK(unnamed.reason == "unknown node for user \"mallory\"");
  CHECK_FALSE(authorize({"system:node:", "", {"system:nodes"}, {}, {}}, secret, graph).allowed());
  // A server's device is a device.
  User server = device("n");
  server.groups.emplace_back("limpet:servers");
  CHECK(authorize(server, secret, graph).allowed());
  CHECK_FALSE(authorize(server, info_of("GET", "/api/v1/secrets"), graph).allowed());
}

TEST_CASE("a join token is good for joining") {
  const NodeGraph none;
  const User token{"system:bootstrap:abcdef", "", {"system:bootstrappers", "system:authenticated"}, {}, {}};
  const struct {
    const char *method, *target;
    bool may;
  } rows[] = {
      {"POST", "/limpet/v1/join", true},
      {"GET", "/limpet/v1/join", false},
      {"POST", "/limpet/v1/join/x", false},
      {"POST", "/limpet/v1/heartbeat", false},
      {"GET", "/readyz", true},  // as everybody
      {"GET", "/version", false},
      {"GET", "/api/v1", false},
      {"GET", "/openapi/v3", false},
      {"GET", "/metrics", false},
      {"GET", "/api/v1/nodes", false},
      {"POST", "/api/v1/nodes", false},
      {"GET", "/api/v1/namespaces/kube-system/secrets/bootstrap-token-abcdef", false},
      {"POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", false},
      {"POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", false},
  };
  for (const auto& row : rows) {
    INFO(row.method << " " << row.target);
    CHECK(authorize(token, info_of(row.method, row.target), none).allowed() == row.may);
  }
  // Not even with the groups of a device, which a token cannot have.
  User odd = token;
  odd.groups.emplace_back("system:nodes");
  odd.name = "system:node:n";
  CHECK_FALSE(authorize(odd, info_of("POST", "/api/v1/nodes"), none).allowed());
}

TEST_CASE("a graph that follows changes is the graph of what is there") {
  SeededRandom random(11);
  std::map<std::string, std::string> pods;  // by name, as stored
  NodeGraph graph;
  const auto some_pod = [&](const std::string& name) {
    const uint64_t node = random.below(4);
    std::string spec = R"(,"serviceAccountName":"a)" + std::to_string(random.below(3)) + R"(","volumes":[)";
    for (uint64_t i = 0, n = random.below(4); i < n; ++i) {
      spec += std::string(i ? "," : "") + R"({"name":"v","secret":{"secretName":"s)" +
              std::to_string(random.below(5)) + R"("}},{"name":"w","configMap":{"name":"m)" +
              std::to_string(random.below(5)) + R"("}})";
    }
    const std::string mirror = random.below(8) == 0 ? R"("kubernetes.io/config.mirror":"x")" : "";
    return bound_pod("ns" + name.substr(1, 1), name, node ? "n" + std::to_string(node) : "", spec + "]",
                     mirror);
  };
  for (int i = 0; i < 5000; ++i) {
    const std::string name = "p" + std::to_string(random.below(20));
    std::string& now = pods[name];
    const std::string next = random.below(3) ? some_pod(name) : "";
    graph.change(now, next);
    now = next;
    if (i % 100) continue;
    NodeGraph fresh;
    for (const auto& [n, bytes] : pods) fresh.add(bytes);
    REQUIRE(graph == fresh);
  }
  for (auto& [name, bytes] : pods) graph.change(bytes, "");
  CHECK(graph == NodeGraph());
  CHECK(graph.nodes() == 0);
}

TEST_CASE("a device reads what its pods mention as soon as they are bound, and no longer than they are") {
  Server s;
  const auto as_device = [&](const std::string& target, const std::string& node = "n") {
    return s.ask({.target = target, .user = "system:node:" + node, .groups = {"system:nodes"}});
  };
  REQUIRE(s.post("/api/v1/namespaces/default/secrets",
                 R"({"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"}})")
              .status == 201);
  const std::string secret = "/api/v1/namespaces/default/secrets/s";
  const std::string mention = R"(,"volumes":[{"name":"v","secret":{"secretName":"s"}}])";
  Answer refused = as_device(secret);
  CHECK(refused.status == 403);
  CHECK(refused.message() ==
        "secrets \"s\" is forbidden: User \"system:node:n\" cannot get resource \"secrets\" in API group "
        "\"\" in the "
        "namespace \"default\": no relationship found between node 'n' and this object");
  REQUIRE(s.post("/api/v1/namespaces/default/pods", pod("p", "", mention)).status == 201);
  CHECK(as_device(secret).status == 403);
  CHECK(as_device("/api/v1/namespaces/default/pods/p").status == 403);
  const std::string to_n =
      R"({"apiVersion":"v1","kind":"Binding","metadata":{"name":"p"},"target":{"kind":"Node","name":"n"}})";
  // The read is under way before anybody was told of the binding.
  Server::Open binding =
      s.open({.method = "POST", .target = "/api/v1/namespaces/default/pods/p/binding", .body = to_n});
  REQUIRE(s.until([&] { return binding.answer->over; }));
  REQUIRE(binding.answer->status == 201);
  CHECK(as_device(secret).status == 200);
  CHECK(as_device("/api/v1/namespaces/default/pods/p").status == 200);
  CHECK(as_device("/api/v1/namespaces/default/configmaps/kube-root-ca.crt").status == 403);
  CHECK(as_device(secret, "other").status == 403);
  Server::Open watch =
      s.open({.target = "/api/v1/namespaces/default/secrets?watch=1&fieldSelector=metadata.name%3Ds",
              .user = "system:node:n",
              .groups = {"system:nodes"}});
  REQUIRE(s.until([&] { return watch.lines().size() == 1; }));
  CHECK(watch.lines()[0].starts_with("{\"type\":\"ADDED\""));
  watch.exchange->cancel();
  REQUIRE(s.remove("/api/v1/namespaces/default/pods/p?gracePeriodSeconds=0").status == 200);
  REQUIRE(s.until([&] { return as_device(secret).status == 403; }));
  // A server that was started again knows it, too.
  REQUIRE(s.post("/api/v1/namespaces/default/pods", pod("q", "", mention + R"(,"nodeName":"n")")).status ==
          201);
  s.restart([] {});
  CHECK(as_device(secret).status == 200);
}

TEST_CASE("reviews know what devices may") {
  Server s;
  REQUIRE(s.post("/api/v1/namespaces/default/pods",
                 pod("p", "", R"(,"nodeName":"n","volumes":[{"name":"v","secret":{"secretName":"s"}}])"))
              .status == 201);
  REQUIRE(s.until([&] {
    return s.ask({.target = "/api/v1/namespaces/default/secrets/s",
                  .user = "system:node:n",
                  .groups = {"system:nodes"}})
               .status == 404;
  }));
  const auto may = [&](const std::string& attributes) {
    Answer a = s.post(
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        R"({"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","spec":{"user":"system:node:n",
                         "groups":["system:nodes"],"resourceAttributes":{"version":"v1",)" +
            attributes + "}}}");
    REQUIRE(a.status == 201);
    return a.json()["status"]["allowed"].boolean();
  };
  CHECK(may(R"("verb":"get","resource":"secrets","namespace":"default","name":"s")"));
  CHECK_FALSE(may(R"("verb":"get","resource":"secrets","namespace":"default","name":"t")"));
  CHECK_FALSE(may(R"("verb":"list","resource":"pods")"));
  CHECK(may(R"("verb":"list","resource":"pods","fieldSelector":{"requirements":[
              {"key":"spec.nodeName","operator":"In","values":["n"]}]})"));
  CHECK_FALSE(may(R"("verb":"list","resource":"pods","fieldSelector":{"requirements":[
              {"key":"spec.nodeName","operator":"NotIn","values":["n"]}]})"));
  CHECK(may(R"("verb":"watch","resource":"pods","fieldSelector":{"rawSelector":"spec.nodeName=n"})"));
  Answer rules = s.ask({.method = "POST",
                        .target = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
                        .body = R"({"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectRulesReview",
                                   "spec":{"namespace":"default"}})",
                        .user = "system:node:n",
                        .groups = {"system:nodes"}});
  CHECK(rules.json()["status"]["incomplete"].boolean());
}

}  // namespace limpet::api::test
