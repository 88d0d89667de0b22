// Requests and the answers they get, one server for each table, rows in order.
#include "fixture.h"

namespace limpet::api::test {
namespace {

struct Row {
  std::string method, target, body;
  int status;
  std::vector<std::string> contains;      // parts of the answer
  std::vector<std::string> lacks = {};
  std::string type = "application/json";
  std::string accept = "";
};

void run(Server& s, const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    INFO(row.method << " " << row.target);
    Answer a = s.ask({.method = row.method, .target = row.target, .body = row.body, .type = row.type, .accept = row.accept});
    INFO(a.body);
    CHECK(a.status == row.status);
    if (!a.body.empty() && a.headers.get("Content-Type").starts_with("application/json")) CHECK(json::validate(a.body));
    for (const std::string& part : row.contains) {
      INFO("wanted: " << part);
      CHECK(a.body.find(part) != std::string::npos);
    }
    for (const std::string& part : row.lacks) {
      INFO("unwanted: " << part);
      CHECK(a.body.find(part) == std::string::npos);
    }
  }
}

}  // namespace

TEST_CASE("what every cluster has") {
  Server s;
  run(s, {
             {"GET", "/api/v1/namespaces", "", 200, {R"("name":"default")", R"("name":"kube-system")", R"("name":"kube-public")",
                                                     R"("name":"kube-node-lease")", R"("phase":"Active")"}},
             {"GET", "/api/v1/namespaces/default/serviceaccounts/default", "", 200, {R"("kind":"ServiceAccount")"}},
             {"GET", "/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt", "", 200, {"BEGIN CERTIFICATE"}},
             {"GET", "/version", "", 200, {R"("major":"1")", R"("minor":"35")", R"("gitVersion":"v1.35.0+limpet")"}},
             {"GET", "/livez", "", 200, {"ok"}},
             {"GET", "/readyz?verbose", "", 200, {"[+]namespaces ok", "readyz check passed"}},
             {"GET", "/healthz/ping", "", 200, {"ok"}},
             {"GET", "/healthz/nothing", "", 404, {}},
             {"GET", "/metrics", "", 200, {"apiserver_request_total", "# TYPE"}},
             {"GET", "/nothing", "", 404, {R"("reason":"NotFound")"}},
             {"GET", "/api/v1/nothings", "", 404, {"the server could not find the requested resource"}},
             {"GET", "/apis/nothing/v1/x", "", 404, {}},
             {"GET", "/api/v1/namespaces/default/pods/a/b/c/d", "", 404, {}},
             {"POST", "/api/v1/pods", pod("x"), 405, {"MethodNotAllowed"}},
             {"DELETE", "/api/v1/namespaces", "", 405, {}},
             {"GET", "/openapi/v3", "", 200, {"/openapi/v3/api/v1"}},
             {"GET", "/openapi/v3/api/v1", "", 200, {"fieldValidation", "io.k8s.api.core.v1.Pod"}},
             {"GET", "/openapi/v2", "", 406, {}, {}, "", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"},
         });
}

TEST_CASE("config maps: create, get, update, patch, delete") {
  Server s;
  const std::string base = "/api/v1/namespaces/default/configmaps";
  run(s, {
             {"POST", base, config_map("a"), 201, {R"("name":"a")", R"("resourceVersion":")", R"("uid":")", R"("namespace":"default")",
                                                   R"("creationTimestamp":"2026-01-01T00:00:00Z")"}},
             {"POST", base, config_map("a"), 409, {R"("reason":"AlreadyExists")", R"(configmaps \"a\" already exists)"}},
             {"GET", base + "/a", "", 200, {R"("k":"v")"}},
             {"GET", base + "/b", "", 404, {R"("reason":"NotFound")", R"(configmaps \"b\" not found)", R"("kind":"configmaps")"}},
             {"PUT", base + "/a", config_map("a", R"({"k":"w"})"), 200, {R"("k":"w")"}},
             {"PUT", base + "/a", config_map("other"), 400, {"does not match the name on the URL"}},
             {"PUT", base + "/b", config_map("b"), 404, {}},
             {"PUT", base + "/a", R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","resourceVersion":"1"}})", 409,
              {R"("reason":"Conflict")", "the object has been modified; please apply your changes to the latest version and try again"}},
             {"PUT", base + "/a", R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","uid":"no"}})", 409,
              {"Precondition failed: UID in precondition: no"}},
             {"PATCH", base + "/a", R"({"data":{"m":"1"}})", 200, {R"("m":"1")", R"("k":"w")"}, {}, "application/merge-patch+json"},
             {"PATCH", base + "/a", R"({"data":{"m":null}})", 200, {R"("k":"w")"}, {R"("m":)"}, "application/strategic-merge-patch+json"},
             {"PATCH", base + "/a", R"([{"op":"replace","path":"/data/k","value":"j"}])", 200, {R"("k":"j")"}, {}, "application/json-patch+json"},
             {"PATCH", base + "/a", R"([{"op":"test","path":"/data/k","value":"x"}])", 422, {}, {}, "application/json-patch+json"},
             {"PATCH", base + "/a", R"({"data":3})", 400, {}, {}, "application/merge-patch+json"},
             {"PATCH", base + "/a", R"({})", 415, {"application/merge-patch+json"}, {}, "application/cbor"},
             {"PATCH", base + "/zzz", R"({"data":{"m":"1"}})", 404, {}, {}, "application/merge-patch+json"},
             {"POST", base, "kind: ConfigMap\napiVersion: v1\nmetadata:\n  name: yaml\ndata: {a: b}\n", 201, {R"("a":"b")"}, {}, "application/yaml"},
             {"POST", base, config_map("untyped"), 201, {}, {}, ""},
             {"POST", base, config_map("c"), 415, {"the body of the request was in an unknown format"}, {}, "application/cbor"},
             {"POST", base, "{", 400, {"BadRequest"}},
             {"POST", base, "[]", 400, {}},
             {"POST", base, R"({"apiVersion":"v1","kind":"Secret","metadata":{"name":"q"}})", 400, {}},
             {"POST", base, R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"q","namespace":"other"}})", 400,
              {"the namespace of the provided object does not match the namespace sent on the request"}},
             {"POST", "/api/v1/namespaces/none/configmaps", config_map("c"), 404, {R"(namespaces \"none\" not found)"}},
             {"POST", base + "?dryRun=All", config_map("dry"), 201, {R"("name":"dry")"}, {"resourceVersion"}},
             {"GET", base + "/dry", "", 404, {}},
             {"POST", base + "?dryRun=Some", config_map("dry"), 422, {}},
             {"POST", base + "?fieldValidation=Strict", R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"s"},"dta":{}})", 400,
              {"strict decoding error: unknown field \\\"dta\\\""}},
             {"POST", base + "?fieldValidation=Ignore", R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"s"},"dta":{}})", 201, {}, {"dta"}},
             {"GET", base + "/a", "", 406, {"NotAcceptable", "application/json"}, {}, "", "text/html"},
             {"DELETE", base + "/a", R"({"preconditions":{"uid":"no"}})", 409, {"Precondition failed: UID in precondition: no"}},
             {"DELETE", base + "/a?dryRun=All", "", 200, {}},
             {"DELETE", base + "/a", R"({"propagationPolicy":"Sideways"})", 422, {}},
             {"DELETE", base + "/a", "", 200, {R"("status":"Success")", R"("uid":")"}},
             {"DELETE", base + "/a", "", 404, {}},
         });
}

TEST_CASE("pods: defaults, admission, deletion") {
  Server s;
  const std::string base = "/api/v1/namespaces/default/pods";
  run(s, {
             {"POST", base, pod("p"), 201, {R"("phase":"Pending")", R"("qosClass":"BestEffort")", R"("securityContext":{})",
                                            R"("serviceAccountName":"default")", R"("priority":0)", R"("restartPolicy":"Always")",
                                            R"("node.kubernetes.io/not-ready")", R"("tolerationSeconds":300)", R"("generation":1)"}},
             {"POST", base, pod("sa", "", R"(,"serviceAccountName":"nobody")"), 403,
              {"error looking up service account default/nobody", "Forbidden"}},
             {"POST", base, pod("pc", "", R"(,"priorityClassName":"high")"), 403, {"no PriorityClass with name high was found"}},
             {"POST", base, pod("crit", "", R"(,"priorityClassName":"system-node-critical")"), 201, {"2000001000"}},
             {"POST", base, R"({"apiVersion":"v1","kind":"Pod","metadata":{"generateName":"g-"},"spec":{"containers":[{"name":"a","image":"b"}]}})", 201, {R"("name":"g-)"}},
             {"PUT", base + "/p/status", pod("p"), 200, {}},
             {"PATCH", base + "/p/status", R"({"status":{"phase":"Running"},"spec":{"nodeName":"x"}})", 200, {R"("phase":"Running")"}, {R"("nodeName":"x")"}, "application/merge-patch+json"},
             {"PATCH", base + "/p", R"({"status":{"phase":"Failed"}})", 200, {R"("phase":"Running")"}, {}, "application/merge-patch+json"},
             {"POST", base + "/p/binding", R"({"apiVersion":"v1","kind":"Binding","target":{"kind":"Node","name":"n1"}})", 201, {"Success"}},
             {"POST", base + "/p/binding", R"({"apiVersion":"v1","kind":"Binding","target":{"kind":"Node","name":"n2"}})", 409, {"already assigned to node"}},
             {"GET", base + "?fieldSelector=spec.nodeName%3Dn1", "", 200, {R"("name":"p")"}, {R"("name":"crit")"}},
             {"GET", base + "?fieldSelector=spec.nodeName%21%3Dn1", "", 200, {R"("name":"crit")"}, {R"("name":"p")"}},
             {"GET", base + "?fieldSelector=spec.nothing%3Dn1", "", 400, {}},
             {"GET", base + "?labelSelector=a%20in%20(", "", 400, {"unable to parse"}},
             {"DELETE", base + "/p", "", 200, {R"("deletionTimestamp":"2026-01-01T00:00:30Z")", R"("deletionGracePeriodSeconds":30)"}},
             {"DELETE", base + "/p", "", 200, {R"("deletionTimestamp":"2026-01-01T00:00:30Z")"}},
             {"DELETE", base + "/p", R"({"gracePeriodSeconds":5})", 200, {R"("deletionTimestamp":"2026-01-01T00:00:05Z")"}},
             {"DELETE", base + "/p", R"({"gracePeriodSeconds":60})", 200, {R"("deletionTimestamp":"2026-01-01T00:00:05Z")"}},
             {"DELETE", base + "/p", R"({"gracePeriodSeconds":0})", 200, {R"("name":"p")"}},
             {"GET", base + "/p", "", 404, {}},
             {"POST", base + "/crit/eviction", R"({"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"crit"}})", 201, {"Success"}},
             {"GET", base + "/crit", "", 404, {}},
             {"POST", base + "/nothing/eviction", R"({"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"nothing"}})", 404, {}},
             {"GET", base + "/p/log", "", 503, {}},
             {"DELETE", base, "", 200, {R"("kind":"PodList")"}},
             {"GET", base, "", 200, {R"("items":[])"}},
         });
}

TEST_CASE("tables and partial objects") {
  Server s;
  const std::string base = "/api/v1/namespaces/default/configmaps";
  const std::string table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
  run(s, {
             {"POST", base, config_map("a"), 201, {}},
             {"GET", base, "", 200, {R"("kind":"Table")", R"("columnDefinitions":[)", R"("cells":["a")", R"("kind":"PartialObjectMetadata")"}, {R"("k":"v")"}, "", table},
             {"GET", base + "/a?includeObject=Object", "", 200, {R"("kind":"Table")", R"("k":"v")"}, {}, "", table},
             {"GET", base + "/a?includeObject=None", "", 200, {R"("kind":"Table")"}, {R"("object")"}, "", table},
             {"GET", base, "", 200, {R"("kind":"PartialObjectMetadataList")"}, {R"("k":"v")"}, "",
              "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"},
             {"GET", base, "", 200, {R"("kind":"ConfigMapList")"}, {}, "", "application/vnd.kubernetes.protobuf,application/json"},
             {"GET", base, "", 200, {R"("kind":"Table")"}, {}, "", "application/json;q=0.5," + std::string("application/json;as=Table;v=v1;g=meta.k8s.io")},
         });
}

TEST_CASE("reviews") {
  Server s;
  run(s, {
             {"POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", R"({"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"})", 201,
              {R"("username":"admin")", "system:masters", "system:authenticated"}},
             {"POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
              R"({"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","spec":{"resourceAttributes":{"verb":"list","resource":"pods"}}})", 201,
              {R"("allowed":true)"}},
             {"POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews",
              R"({"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","spec":{"user":"x","resourceAttributes":{"verb":"list","resource":"pods"}}})", 201,
              {R"("allowed":false)"}},
             {"POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
              R"({"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectRulesReview","spec":{"namespace":"default"}})", 201, {R"("resourceRules":[)"}},
             {"GET", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "", 405, {}},
         });
}

}  // namespace limpet::api::test
