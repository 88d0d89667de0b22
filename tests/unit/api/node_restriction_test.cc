// What a device may not write although it may write the object; the messages are those of upstream's
// NodeRestriction (plugin/pkg/admission/noderestriction/admission_test.go). And which labels are its own.
#include "fixture.h"
#include "schema/node_labels.h"

namespace limpet::api::test {
namespace {

const std::string kNodes = "/api/v1/nodes", kPods = "/api/v1/namespaces/default/pods";
const std::string kLeases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

std::string node(const std::string& name, const std::string& more_meta = "", const std::string& spec = "") {
  return R"({"apiVersion":"v1","kind":"Node","metadata":{"name":")" + name + "\"" + more_meta +
         "},\"spec\":{" + spec + "}}";
}

std::string mirror(const std::string& owners, const std::string& spec = "", const std::string& on = "n") {
  return pod("static-n",
             R"(,"annotations":{"kubernetes.io/config.mirror":"x"},"ownerReferences":[)" + owners + "]",
             R"(,"nodeName":")" + on + "\"" + spec);
}

struct Device {
  Server& s;
  std::string name;
  std::vector<std::string> groups = {"system:nodes"};
  Answer ask(const std::string& method, const std::string& target, const std::string& body = "",
             const std::string& type = "application/merge-patch+json") {
    return s.ask({.method = method,
                  .target = target,
                  .body = body,
                  .type = method == "PATCH" ? type : "application/json",
                  .user = "system:node:" + name,
                  .groups = groups});
  }
};

// The reason in a refusal, without what it was about.
std::string why(const Answer& a) {
  if (a.status != 403) return "status " + std::to_string(a.status) + ": " + a.message();
  const std::string m = a.message();
  const size_t at = m.find(" is forbidden: ");
  return at == std::string::npos ? m : m.substr(at + 15);
}

}  // namespace

TEST_CASE("labels that a device may give itself") {
  const struct {
    const char* key;
    bool may;
  } rows[] = {
      {"site", true},
      {"example.com/site", true},
      {"kubernetes.io/hostname", true},
      {"kubernetes.io/arch", true},
      {"beta.kubernetes.io/os", true},
      {"topology.kubernetes.io/zone", true},
      {"failure-domain.beta.kubernetes.io/region", true},
      {"node.kubernetes.io/instance-type", true},
      {"x.node.kubernetes.io/y", true},
      {"kubelet.kubernetes.io/y", true},
      {"kubernetes.io/role", false},
      {"k8s.io/x", false},
      {"x.k8s.io/y", false},
      {"node-role.kubernetes.io/control-plane", false},
      {"node-restriction.kubernetes.io/x", false},
      {"a.node-restriction.kubernetes.io/x", false},
      {"notkubernetes.io/x", true},
      {"xnode.kubernetes.io/y", false},
      {"kubernetes.io", true},  // no prefix: a plain name
  };
  for (const auto& row : rows) {
    INFO(row.key);
    CHECK(schema::node_may_set_label(row.key) == row.may);
  }
  CHECK(schema::is_role_label("node-role.kubernetes.io/x"));
  CHECK_FALSE(schema::is_role_label("node-restriction.kubernetes.io/x"));
}

TEST_CASE("a device and its Node") {
  Server s;
  Device n{s, "n"}, server{s, "boss", {"system:nodes", "limpet:servers"}};
  CHECK(why(n.ask("POST", kNodes, node("other"))) == "node \"n\" is not allowed to modify node \"other\"");
  CHECK(why(n.ask("POST", kNodes,
                  node("n", R"(,"labels":{"node-restriction.kubernetes.io/b":"","k8s.io/a":"","ok":""})"))) ==
        "node \"n\" is not allowed to set the following labels: k8s.io/a, node-restriction.kubernetes.io/b");
  CHECK(why(n.ask(
            "POST", kNodes,
            node("n", R"(,"ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"x","uid":"u"}])"))) ==
        "node \"n\" is not allowed to set ownerReferences");
  CHECK(why(n.ask("POST", kNodes, node("n", R"(,"labels":{"node-role.kubernetes.io/control-plane":""})"))) ==
        "node \"n\" is not allowed to set the following labels: node-role.kubernetes.io/control-plane");
  // Taints are its own when it registers, and an administrator's from then on.
  REQUIRE(n.ask("POST", kNodes,
                node("n", R"(,"labels":{"site":"roof"})", R"("taints":[{"key":"a","effect":"NoSchedule"}])"))
              .status == 201);
  CHECK(why(n.ask("PATCH", kNodes + "/n", R"({"spec":{"taints":null}})")) ==
        "node \"n\" is not allowed to modify taints");
  CHECK(why(n.ask("PATCH", kNodes + "/n", R"({"spec":{"taints":[{"key":"a","effect":"NoExecute"}]}})")) ==
        "node \"n\" is not allowed to modify taints");
  CHECK(n.ask("PATCH", kNodes + "/n", R"({"spec":{"taints":[{"key":"a","effect":"NoSchedule"}]}})").status ==
        200);
  CHECK(why(n.ask("PATCH", kNodes + "/n",
                  R"({"metadata":{"labels":{"node-restriction.kubernetes.io/x":"1"}}})")) ==
        "is not allowed to modify labels: node-restriction.kubernetes.io/x");
  CHECK(n.ask("PATCH", kNodes + "/n",
              R"({"metadata":{"labels":{"site":"cellar","topology.kubernetes.io/zone":"z"}}})")
            .status == 200);
  // A server of this name was there before: the device says no more that it is one, and never that it is.
  REQUIRE(s.patch(kNodes + "/n", "application/merge-patch+json",
                  R"({"metadata":{"labels":{"node-role.kubernetes.io/control-plane":"",)"
                  R"("node-role.kubernetes.io/worker":""}}})")
              .status == 200);
  CHECK(why(n.ask("PATCH", kNodes + "/n",
                  R"({"metadata":{"labels":{"node-role.kubernetes.io/worker":null}}})")) ==
        "is not allowed to modify labels: node-role.kubernetes.io/worker");
  CHECK(n.ask("PATCH", kNodes + "/n",
              R"({"metadata":{"labels":{"node-role.kubernetes.io/control-plane":null}}})")
            .status == 200);
  CHECK(why(n.ask("PATCH", kNodes + "/n",
                  R"({"metadata":{"labels":{"node-role.kubernetes.io/control-plane":""}}})")) ==
        "is not allowed to modify labels: node-role.kubernetes.io/control-plane");
  // What an administrator set it can neither change nor take away, but live with.
  REQUIRE(s.patch(kNodes + "/n", "application/merge-patch+json",
                  R"({"metadata":{"labels":{"node-restriction.kubernetes.io/secure":"yes"}}})")
              .status == 200);
  CHECK(why(n.ask("PATCH", kNodes + "/n",
                  R"({"metadata":{"labels":{"node-restriction.kubernetes.io/secure":null}}})")) ==
        "is not allowed to modify labels: node-restriction.kubernetes.io/secure");
  CHECK(why(n.ask("PATCH", kNodes + "/n/status",
                  R"({"metadata":{"labels":{"node-restriction.kubernetes.io/secure":"no"}}})")) ==
        "is not allowed to modify labels: node-restriction.kubernetes.io/secure");
  CHECK(why(n.ask("PUT", kNodes + "/n", node("n"))) == "node \"n\" is not allowed to modify taints");
  CHECK(n.ask("PATCH", kNodes + "/n/status", R"({"status":{"phase":"Running"}})").status == 200);
  // Nor have itself collected, to come again with other taints.
  CHECK(why(n.ask("PATCH", kNodes + "/n", R"({"metadata":{"ownerReferences":[
            {"apiVersion":"v1","kind":"Node","name":"x","uid":"u"}]}})")) ==
        "node \"n\" is not allowed to modify ownerReferences");
  CHECK(why(n.ask("DELETE", kNodes + "/n")).find("cannot delete resource \"nodes\"") != std::string::npos);
  // By server-side apply, too.
  CHECK(
      why(n.ask(
          "PATCH", kNodes + "/n?fieldManager=x&force=true",
          R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"n"},"spec":{"taints":[{"key":"b","effect":"NoExecute"}]}})",
          "application/apply-patch+yaml")) == "node \"n\" is not allowed to modify taints");
  CHECK(why(n.ask("PATCH", kNodes + "/m?fieldManager=x",
                  R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"m"}})",
                  "application/apply-patch+yaml")) == "node \"n\" is not allowed to modify node \"m\"");
  REQUIRE(s.post(kNodes, node("m")).status == 201);
  CHECK(why(n.ask("PATCH", kNodes + "/m", "{}")) == "node \"n\" is not allowed to modify node \"m\"");
  CHECK(why(n.ask("PATCH", kNodes + "/m/status", R"({"status":{"phase":"Running"}})")) ==
        "node \"n\" is not allowed to modify node \"m\"");
  // A server's device may say what it is, and nothing of others.
  REQUIRE(
      server.ask("POST", kNodes, node("boss", R"(,"labels":{"node-role.kubernetes.io/control-plane":""})"))
          .status == 201);
  CHECK(server.ask("PATCH", kNodes + "/boss", R"({"spec":{"taints":[{"key":"a","effect":"NoSchedule"}]}})")
            .status == 200);
  CHECK(why(server.ask("PATCH", kNodes + "/boss",
                       R"({"metadata":{"labels":{"node-restriction.kubernetes.io/x":"1"}}})")) ==
        "is not allowed to modify labels: node-restriction.kubernetes.io/x");
  CHECK(why(server.ask("PATCH", kNodes + "/n", R"({"spec":{"taints":null}})")) ==
        "node \"boss\" is not allowed to modify node \"n\"");
}

TEST_CASE("a device and pods") {
  Server s;
  Device n{s, "n"};
  REQUIRE(s.post(kNodes, node("n")).status == 201);
  const std::string uid = s.get(kNodes + "/n").json()["metadata"]["uid"].str();
  const std::string owner =
      R"({"apiVersion":"v1","kind":"Node","name":"n","controller":true,"uid":")" + uid + "\"}";
  for (const char* p : {"mine", "gone", "evicted"})
    REQUIRE(s.post(kPods, pod(p, "", R"(,"nodeName":"n")")).status == 201);
  REQUIRE(s.post(kPods, pod("theirs", "", R"(,"nodeName":"other")")).status == 201);
  const std::string running = R"({"status":{"phase":"Running"}})";
  CHECK(n.ask("PATCH", kPods + "/mine/status", running).status == 200);
  CHECK(why(n.ask("PATCH", kPods + "/theirs/status", running)) ==
        "node \"n\" can only update pod status for pods with spec.nodeName set to itself");
  CHECK(why(n.ask("PATCH", kPods + "/mine/status", R"({"metadata":{"labels":{"app":"web"}}})")) ==
        "node \"n\" cannot update labels through pod status");
  CHECK(
      why(n.ask("PATCH", kPods + "/mine/status", R"({"status":{"resourceClaimStatuses":[{"name":"a"}]}})")) ==
      "node \"n\" cannot update resource claim statues");
  CHECK(n.ask("PATCH", kPods + "/none/status", running).status == 404);
  CHECK(why(n.ask("DELETE", kPods + "/theirs?gracePeriodSeconds=0")) ==
        "node \"n\" can only delete pods with spec.nodeName set to itself");
  CHECK(n.ask("DELETE", kPods + "/gone?gracePeriodSeconds=0").status == 200);
  CHECK(s.get(kPods + "/gone").status == 404);
  CHECK(n.ask("DELETE", kPods + "/gone").status == 404);
  const auto evict = [&](const std::string& p) {
    return n.ask("POST", kPods + "/" + p + "/eviction",
                 R"({"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":")" + p + "\"}}");
  };
  CHECK(why(evict("theirs")) == "node n can only evict pods with spec.nodeName set to itself");
  CHECK(evict("evicted").status == 201);
  CHECK(s.get(kPods + "/theirs").status == 200);

  // It makes mirror pods only, and those open no doors.
  const struct {
    std::string body, why;
  } rows[] = {
      {pod("x", "", R"(,"nodeName":"n")"),
       "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"n\" can only create mirror "
       "pods"},
      {mirror(owner, "", "other"), "node \"n\" can only create pods with spec.nodeName set to itself"},
      {mirror(""), "node \"n\" can only create pods with an owner reference set to itself"},
      {mirror(owner + "," + owner),
       "node \"n\" can only create pods with a single owner reference set to itself"},
      {mirror(R"({"apiVersion":"v1","kind":"Node","name":"other","uid":"u","controller":true})"),
       "node \"n\" can only create pods with an owner reference set to itself"},
      {mirror(R"({"apiVersion":"v1","kind":"Node","name":"n","uid":"u"})"),
       "node \"n\" can only create pods with a controller owner reference set to itself"},
      {mirror(
           R"({"apiVersion":"v1","kind":"Node","name":"n","uid":"u","controller":true,"blockOwnerDeletion":true})"),
       "node \"n\" must not set blockOwnerDeletion on an owner reference"},
      {mirror(R"({"apiVersion":"v1","kind":"Node","name":"n","uid":"u","controller":true})"),
       "node n UID mismatch: expected u got " + uid},
      {mirror(owner, R"(,"serviceAccountName":"default")"),
       "node \"n\" can not create pods that reference a service account"},
      {mirror(owner, R"(,"volumes":[{"name":"v","secret":{"secretName":"s"}}])"),
       "node \"n\" can not create pods that reference secrets"},
      {mirror(owner, R"(,"volumes":[{"name":"v","configMap":{"name":"s"}}])"),
       "node \"n\" can not create pods that reference configmaps"},
      {mirror(owner, R"(,"volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"c"}}])"),
       "node \"n\" can not create pods that reference persistentvolumeclaims"},
      {mirror(
           owner,
           R"(,"volumes":[{"name":"v","projected":{"sources":[{"clusterTrustBundle":{"name":"c","path":"p"}}]}}])"),
       "node \"n\" can not create pods that reference clustertrustbundles"},
  };
  for (const auto& row : rows) {
    INFO(row.body);
    CHECK(why(n.ask("POST", kPods, row.body)) == row.why);
  }
  CHECK(n.ask("POST", kPods, mirror(owner)).status == 201);
}

TEST_CASE("a device and tokens for the accounts of its pods") {
  Server s(nullptr, [](Options& o) {
    o.identity.issue_token = [](const TokenSpec& t) -> Result<IssuedToken> {
      return IssuedToken{"token of " + t.name, 1};
    };
  });
  Device n{s, "n"};
  REQUIRE(s.post(kPods, pod("mine", "", R"(,"nodeName":"n")")).status == 201);
  REQUIRE(s.post(kPods, pod("theirs", "", R"(,"nodeName":"other")")).status == 201);
  const auto uid = [&](const std::string& p) {
    return s.get(kPods + "/" + p).json()["metadata"]["uid"].str();
  };
  const auto ask = [&](const std::string& reference, const std::string& account = "default") {
    return n.ask("POST", "/api/v1/namespaces/default/serviceaccounts/" + account + "/token",
                 R"({"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"audiences":[])" +
                     (reference.empty() ? "" : ",\"boundObjectRef\":" + reference) + "}}");
  };
  const auto bound = [](const std::string& name, const std::string& u) {
    return R"({"apiVersion":"v1","kind":"Pod","name":")" + name + "\"" +
           (u.empty() ? "" : ",\"uid\":\"" + u + "\"") + "}";
  };
  CHECK(why(ask("")) == "node requested token not bound to a pod");
  CHECK(why(ask(R"({"apiVersion":"v1","kind":"Node","name":"n","uid":"u"})")) ==
        "node requested token not bound to a pod");
  CHECK(why(ask(bound("mine", ""))) == "node requested token with a pod binding without a uid");
  CHECK(why(ask(bound("mine", "u"))) ==
        "the UID in the bound object reference (u) does not match the UID in record. The object might have "
        "been "
        "deleted and then recreated");
  CHECK(why(ask(bound("theirs", uid("theirs")))) ==
        "node requested token bound to a pod scheduled on a different node");
  CHECK(ask(bound("none", "u")).status == 404);
  CHECK(why(ask(bound("mine", uid("mine")), "robot"))
            .ends_with("no relationship found between node 'n' and this object"));
  Answer token = ask(bound("mine", uid("mine")));
  CHECK(token.status == 201);
  CHECK(token.json()["status"]["token"].str() == "token of default");
}

TEST_CASE("a device and leases") {
  Server s;
  Device n{s, "n"};
  const auto lease = [](const std::string& name) {
    return R"({"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":")" + name +
           R"("},"spec":{"holderIdentity":"n"}})";
  };
  CHECK(why(n.ask("POST", kLeases, lease("other"))) ==
        "can only access node lease with the same name as the requesting node");
  CHECK(n.ask("POST", kLeases, lease("n")).status == 201);
  CHECK(n.ask("PUT", kLeases + "/n", lease("n")).status == 200);
  REQUIRE(s.post(kLeases, lease("other")).status == 201);
  CHECK(why(n.ask("PUT", kLeases + "/other", lease("other")))
            .ends_with("can only access node lease with the same name as the requesting node"));
  CHECK(why(n.ask("POST", "/apis/coordination.k8s.io/v1/namespaces/default/leases", lease("n")))
            .ends_with("can only access leases in the \"kube-node-lease\" system namespace"));
  // A name of no device.
  Device odd{s, ""};
  CHECK(why(odd.ask("POST", kLeases, lease("x"))).ends_with("unknown node for user \"system:node:\""));
}

}  // namespace limpet::api::test
