#include "schema/patch_merge.h"
#include "schema/validate.h"
#include "table.h"

using namespace limpet;
using namespace limpet::schema;

namespace {

json::Value tree(const std::string& text) {
  auto v = json::parse(text);
  REQUIRE_MESSAGE(v, text);
  return std::move(*v);
}

const Resource& resource(const char* plural) {
  const Resource* r = find_resource("", "v1", plural);
  REQUIRE((r != nullptr));
  return *r;
}

// A pod as defaulting leaves it.
const char* kPod = R"({"metadata":{"name":"p","namespace":"default","uid":"u","resourceVersion":"1"},"spec":{
  "restartPolicy":"Always","dnsPolicy":"ClusterFirst","terminationGracePeriodSeconds":30,"securityContext":{},
  "volumes":[{"name":"v","emptyDir":{}}],"containers":[{"name":"a","image":"i","imagePullPolicy":"IfNotPresent",
  "terminationMessagePolicy":"File"}]}})";

struct Case {
  const char *patch, *errors;  // a merge patch on a valid object; "" for no error
};

std::string create(const char* plural, const char* base, const char* patch) {
  const json::Value object = apply_merge_patch(tree(base), tree(patch));
  const FieldErrors errors = validate_create(resource(plural), object);
  return errors.empty() ? "" : joined(errors);
}

std::string container(const std::string& more) {
  return R"({"spec":{"containers":[{"name":"a","image":"i","imagePullPolicy":"Always","terminationMessagePolicy":"File",)" +
         more + "}]}}";
}

}  // namespace

TEST_CASE("validate: metadata") {
  const char* base = R"({"metadata":{"name":"c","namespace":"default"}})";
  for (const Case& c : std::initializer_list<Case>{
           {"{}", ""},
           {R"({"metadata":{"name":null}})",
            "metadata.name: Required value: name or generateName is required"},
           {R"({"metadata":{"name":"A_"}})",
            "metadata.name: Invalid value: \"A_\": a lowercase RFC 1123 subdomain must consist of lower case "
            "alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character "
            "(e.g. "
            "'example.com', regex used for validation is "
            "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"},
           {R"({"metadata":{"namespace":""}})", "metadata.namespace: Required value"},
           {R"({"metadata":{"labels":{"a":"b c"}}})",
            "metadata.labels: Invalid value: \"b c\": a valid label must be an empty string or consist of "
            "alphanumeric "
            "characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. "
            "'MyValue',  or "
            "'my_value',  or '12345', regex used for validation is "
            "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"},
           {R"({"metadata":{"annotations":{"Up/Case":"x"}}})", ""},
           {R"({"metadata":{"finalizers":["orphan","foregroundDeletion"]}})",
            "metadata.finalizers: Invalid value: [\"orphan\",\"foregroundDeletion\"]: finalizer orphan and "
            "foregroundDeletion cannot be both set"},
           {R"({"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"p"}]}})",
            "metadata.ownerReferences.uid: Invalid value: \"\": must not be empty"},
           {R"({"metadata":{"managedFields":[{"manager":"m","operation":"Eat"}]}})",
            "metadata.managedFields[0].operation: Invalid value: \"Eat\": must be `Apply` or `Update`"}}) {
    CAPTURE(c.patch);
    CHECK(create("configmaps", base, c.patch) == c.errors);
  }
  const std::string big = R"({"metadata":{"annotations":{"a":")" + std::string(256 * 1024, 'x') + "\"}}}";
  CHECK(create("configmaps", base, big.c_str()) ==
        "metadata.annotations: Too long: may not be more than 262144 bytes");
  CHECK(create("namespaces", R"({"metadata":{"name":"a.b"}})", "{}") ==
        "metadata.name: Invalid value: \"a.b\": must not contain dots");
  CHECK(create("namespaces", R"({"metadata":{"name":"a","namespace":"b"}})", "{}") ==
        "metadata.namespace: Forbidden: not allowed on this type");
}

TEST_CASE("validate: metadata on update") {
  const char* old =
      R"({"metadata":{"name":"c","namespace":"default","uid":"u","resourceVersion":"1","generation":2,
    "creationTimestamp":"2026-01-01T00:00:00Z","deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["a/b"]}})";
  for (const Case& c : std::initializer_list<Case>{
           {"{}", ""},
           {R"({"metadata":{"uid":"w"}})", "metadata.uid: Invalid value: \"w\": field is immutable"},
           {R"({"metadata":{"resourceVersion":null}})",
            "metadata.resourceVersion: Invalid value: \"\": must be specified for an update"},
           {R"({"metadata":{"generation":1}})",
            "metadata.generation: Invalid value: 1: must not be decremented"},
           {R"({"metadata":{"finalizers":[]}})", ""},
           {R"({"metadata":{"finalizers":["a/b","c/d"]}})",
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, "
            "found new "
            "finalizers []string{\"c/d\"}"}}) {
    CAPTURE(c.patch);
    const json::Value object = apply_merge_patch(tree(old), tree(c.patch));
    const FieldErrors errors = validate_update(resource("configmaps"), object, tree(old));
    CHECK((errors.empty() ? "" : joined(errors)) == c.errors);
  }
}

TEST_CASE("validate: configuration") {
  const char* base = R"({"metadata":{"name":"c","namespace":"default"}})";
  CHECK(create("configmaps", base, R"({"data":{"a":"1"},"binaryData":{"a":"MQ=="}})") ==
        "data[a]: Invalid value: \"a\": duplicate of key present in binaryData");
  CHECK(create("configmaps", base, R"({"data":{"..a":"1"}})") ==
        "data[..a]: Invalid value: \"..a\": must not start with '..'");
  CHECK(create("secrets", base, R"({"type":"kubernetes.io/tls","data":{"tls.crt":""}})") ==
        "data[tls.key]: Required value");
  CHECK(create("secrets", base, R"({"type":"kubernetes.io/basic-auth"})") ==
        "[data[username]: Required value, data[password]: Required value]");
  CHECK(create("secrets", base,
               R"({"type":"kubernetes.io/dockerconfigjson","data":{".dockerconfigjson":"e30="}})") == "");
  CHECK(create("secrets", base,
               R"({"type":"kubernetes.io/dockerconfigjson","data":{".dockerconfigjson":"e30"}})") == "");
  CHECK(create("secrets", base,
               R"({"type":"kubernetes.io/dockerconfigjson","data":{".dockerconfigjson":"e3s="}})")
            .starts_with("data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": "));
  CHECK(create(
            "nodes", R"({"metadata":{"name":"n"}})",
            R"({"spec":{"taints":[{"key":"a","effect":"NoSchedule"},{"key":"a","effect":"NoSchedule"}]}})") ==
        "spec.taints[1]: Duplicate value: {\"key\":\"a\",\"effect\":\"NoSchedule\"}: taints must be unique "
        "by key and "
        "effect pair");
  const char* frozen =
      R"({"metadata":{"name":"c","namespace":"d","resourceVersion":"1"},"immutable":true,"data":{"a":"1"}})";
  const json::Value changed = apply_merge_patch(tree(frozen), tree(R"({"data":{"a":"2"},"immutable":null})"));
  CHECK(joined(validate_update(resource("configmaps"), changed, tree(frozen))) ==
        "[immutable: Forbidden: field is immutable when `immutable` is set, data: Forbidden: field is "
        "immutable when "
        "`immutable` is set]");
}

TEST_CASE("validate: pod") {
  CHECK(create("pods", kPod, "{}") == "");
  for (
      const Case& c : std::initializer_list<Case>{
          {R"({"spec":{"containers":[]}})", "spec.containers: Required value"},
          {R"({"spec":{"restartPolicy":"Often"}})",
           "spec.restartPolicy: Unsupported value: \"Often\": supported values: \"Always\", \"OnFailure\", "
           "\"Never\""},
          {R"({"spec":{"dnsPolicy":"None"}})",
           "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"},
          {R"({"spec":{"activeDeadlineSeconds":0}})",
           "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"},
          {R"({"spec":{"volumes":[{"name":"v"}]}})",
           "spec.volumes[0]: Required value: must specify a volume type"},
          {R"({"spec":{"volumes":[{"name":"v","emptyDir":{},"hostPath":{"path":"/"}}]}})",
           "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"},
          {R"({"spec":{"volumes":[{"name":"v","hostPath":{"path":"/a/../b"}}]}})",
           "spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"},
          {R"({"spec":{"tolerations":[{"effect":"NoSchedule"}]}})",
           "spec.tolerations[0].operator: Invalid value: \"\": operator must be Exists when `key` is empty, "
           "which "
           "means \"match all values and all keys\""},
          {R"({"spec":{"hostname":"a.b"}})", "spec.hostname: Invalid value: \"a.b\": must not contain dots"},
          {R"({"spec":{"securityContext":{"runAsUser":-1}}})",
           "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"},
          {R"({"spec":{"ephemeralContainers":[]}})", ""},
          {R"({"spec":{"topologySpreadConstraints":[{"maxSkew":0,"topologyKey":"k","whenUnsatisfiable":"DoNotSchedule"}]}})",
           "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero"},
          {R"({"spec":{"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{}}}}})",
           "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: "
           "Required "
           "value: must have at least one node selector term"}}) {
    CAPTURE(c.patch);
    CHECK(create("pods", kPod, c.patch) == c.errors);
  }
}

TEST_CASE("validate: container") {
  const std::string at = "spec.containers[0].";
  for (
      const auto& [more, error] : std::initializer_list<std::pair<const char*, std::string>>{
          {R"("name":"A")",
           at + "name: Invalid value: \"A\": a lowercase RFC 1123 label must consist of lower case "
                "alphanumeric characters or '-', and must start and end with an alphanumeric "
                "character (e.g. 'my-name',  or '123-abc', regex used for validation is "
                "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"},
          {R"("image":"")", at + "image: Required value"},
          {R"("ports":[{"containerPort":70000,"protocol":"TCP"}])",
           at + "ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"},
          {R"("ports":[{"containerPort":1,"protocol":"tcp"}])",
           at +
               "ports[0].protocol: Unsupported value: \"tcp\": supported values: \"SCTP\", \"TCP\", \"UDP\""},
          {R"("ports":[{"name":"a","containerPort":1,"protocol":"TCP"},{"name":"a","containerPort":2,"protocol":"TCP"}])",
           at + "ports[1].name: Duplicate value: \"a\""},
          {R"("env":[{"name":"A=B"}])",
           at + "env[0].name: Invalid value: \"A=B\": a valid environment variable name "
                "must consist only of printable ASCII characters other than '='"},
          {R"("env":[{"name":"A","valueFrom":{}}])",
           at + "env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, "
                "`configMapKeyRef` or `secretKeyRef`"},
          {R"("volumeMounts":[{"name":"x","mountPath":"/x"}])",
           at + "volumeMounts[0].name: Not found: \"x\""},
          {R"("volumeMounts":[{"name":"v","mountPath":"/x"},{"name":"v","mountPath":"/x"}])",
           at + "volumeMounts[1].mountPath: Invalid value: \"/x\": must be unique"},
          {R"("volumeMounts":[{"name":"v","mountPath":"/x","subPath":"../a"}])",
           at + "volumeMounts.subPath: Invalid value: \"../a\": must not contain '..'"},
          {R"("resources":{"limits":{"cpu":"1"},"requests":{"cpu":"2"}})",
           at + "resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1"},
          {R"("resources":{"limits":{"cpu":"-1"}})",
           at + "resources.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0"},
          {R"("livenessProbe":{})", at + "livenessProbe: Required value: must specify a handler type"},
          {R"("livenessProbe":{"exec":{"command":["x"]},"successThreshold":2})",
           at + "livenessProbe.successThreshold: Invalid value: 2: must be 1"},
          {R"("lifecycle":{"preStop":{"sleep":{"seconds":40}}})",
           at + "lifecycle.preStop.sleep: Invalid value: 40: must be non-negative and less than "
                "terminationGracePeriodSeconds (30)"},
          {R"("imagePullPolicy":"Now")", at +
                                             "imagePullPolicy: Unsupported value: \"Now\": supported values: "
                                             "\"Always\", \"IfNotPresent\", \"Never\""}}) {
    CAPTURE(more);
    json::Value pod = apply_merge_patch(tree(kPod), tree(container(R"("tty":false)")));
    const json::Value change = tree(std::string("{") + more + "}");
    for (json::Ref m : change.ref()) pod.ref()["spec"]["containers"].at(0).set(m.key(), m.clone());
    CHECK(joined(validate_create(resource("pods"), pod)) == error);
  }
}

TEST_CASE("validate: pod update") {
  const std::string forbidden =
      "spec: Forbidden: pod updates may not change fields other than "
      "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec."
      "tolerations` (only "
      "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if "
      "it was "
      "previously negative)\nchanged: ";
  auto update = [](const std::string& patch) {
    const json::Value object = apply_merge_patch(tree(kPod), tree(patch));
    const FieldErrors errors = validate_update(resource("pods"), object, tree(kPod));
    return errors.empty() ? std::string() : joined(errors);
  };
  CHECK(update("{}") == "");
  CHECK(update(R"({"metadata":{"labels":{"a":"b"}}})") == "");
  CHECK(
      update(
          R"({"spec":{"containers":[{"name":"a","image":"new","imagePullPolicy":"IfNotPresent","terminationMessagePolicy":"File"}]}})") ==
      "");
  CHECK(update(R"({"spec":{"activeDeadlineSeconds":5}})") == "");
  CHECK(update(R"({"spec":{"tolerations":[{"key":"a","operator":"Exists"}]}})") == "");
  CHECK(update(R"({"spec":{"nodeName":"n"}})") == forbidden + "spec.nodeName");
  CHECK(
      update(
          R"({"spec":{"containers":[{"name":"b","image":"i","imagePullPolicy":"IfNotPresent","terminationMessagePolicy":"File"}]}})") ==
      forbidden + "spec.containers");
  CHECK(
      update(
          R"({"spec":{"initContainers":[{"name":"b","image":"i","imagePullPolicy":"Always","terminationMessagePolicy":"File"}]}})") ==
      "spec.initContainers: Forbidden: pod updates may not add or remove containers");
}

TEST_CASE("ephemeral containers come in by their own way only") {
  const auto pod = json::parse(R"({"metadata":{"name":"p","namespace":"d"},"spec":{"restartPolicy":"Always",
    "dnsPolicy":"ClusterFirst","terminationGracePeriodSeconds":30,"containers":[{"name":"c","image":"i",
    "imagePullPolicy":"Always","terminationMessagePolicy":"File"}],"ephemeralContainers":[{"name":"e","image":"i",
    "imagePullPolicy":"Always","terminationMessagePolicy":"File"}]}})");
  REQUIRE(pod.has_value());
  CHECK(joined(validate_create(resource("pods"), *pod)) ==
        "spec.ephemeralContainers: Forbidden: cannot be set on create");
  CHECK(validate_ephemeral_containers(*pod).empty());
  pod->ref()["spec"]["ephemeralContainers"].at(0).set("name", "c");
  CHECK_FALSE(validate_ephemeral_containers(*pod).empty());
}
