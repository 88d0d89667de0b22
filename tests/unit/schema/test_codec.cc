#include <doctest/doctest.h>

#include <string>

#include "schema/codec.h"

using namespace limpet;
using namespace limpet::schema;

namespace {

const Type& core(std::string_view name) {
  const Type* type = find_type("io.k8s.api.core.v1." + std::string(name));
  REQUIRE(type);
  return *type;
}

// Decodes and gives the canonical bytes, or "error: ...".
std::string round(std::string_view text, const Type& type, std::vector<std::string>* problems = nullptr) {
  auto decoded = decode_json(text, type);
  if (!decoded) return "error: " + decoded.error().message;
  if (problems) *problems = decoded->problems;
  return encode_canonical(decoded->object, type);
}

std::string defaulted(std::string_view text, const Type& type) {
  auto decoded = decode_json(text, type);
  REQUIRE(decoded);
  apply_defaults(decoded->object, type);
  const std::string once = encode_canonical(decoded->object, type);
  apply_defaults(decoded->object, type);
  CHECK(encode_canonical(decoded->object, type) == once);
  return once;
}

}  // namespace

TEST_CASE("canonical bytes: head first, schema order, sorted maps") {
  CHECK(round(R"({"spec":{"nodeName":"n","containers":[{"image":"i","name":"c"}]},)"
              R"("metadata":{"labels":{"b":"2","a":"1"},"name":"p"},"kind":"Pod","apiVersion":"v1"})",
              core("Pod")) ==
        R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","labels":{"a":"1","b":"2"}},)"
        R"("spec":{"containers":[{"name":"c","image":"i"}],"nodeName":"n"}})");
}

TEST_CASE("unknown and duplicate fields are reported and dropped") {
  std::vector<std::string> problems;
  CHECK(
      round(
          R"({"kind":"Pod","Kind":1,"spec":{"foo":{"x":1},"containers":[{"name":"a"},{"name":"b","imag":"x"}],)"
          R"("nodeName":"a","nodeName":"b"}})",
          core("Pod"),
          &problems) == R"({"kind":"Pod","spec":{"containers":[{"name":"a"},{"name":"b"}],"nodeName":"b"}})");
  CHECK(problems == std::vector<std::string>{R"(duplicate field "spec.nodeName")", R"(unknown field "Kind")",
                                             R"(unknown field "spec.foo")",
                                             R"(unknown field "spec.containers[1].imag")"});
  CHECK(strict_decoding_error({"a", "b"}) == "strict decoding error: a, b");
}

TEST_CASE("values that mean unset are gone, pointers and required fields keep their zero") {
  const struct {
    const char *text, *want;
  } rows[] = {
      {R"({"spec":{"hostNetwork":false,"nodeName":"","containers":null}})", R"({"spec":{}})"},
      {R"({"spec":{"containers":[],"volumes":[]}})", R"({"spec":{"containers":[]}})"},
      {R"({"spec":{"terminationGracePeriodSeconds":0,"enableServiceLinks":false}})",
       R"({"spec":{"terminationGracePeriodSeconds":0,"enableServiceLinks":false}})"},
      {R"({"metadata":{"creationTimestamp":null,"labels":{}}})", R"({"metadata":{}})"},
      {R"({"metadata":{"labels":{"a":null,"b":"x"}}})", R"({"metadata":{"labels":{"a":"","b":"x"}}})"},
      {R"({"spec":{"securityContext":{},"volumes":[{"name":"v","emptyDir":{}}]}})",
       R"({"spec":{"volumes":[{"name":"v","emptyDir":{}}],"securityContext":{}}})"},
      {R"({"status":{"containerStatuses":[{"ready":false,"restartCount":0,"image":""}]}})",
       R"({"status":{"containerStatuses":[{"ready":false,"restartCount":0,"image":""}]}})"},
      {R"({"spec":{"containers":[{"name":"a","args":[null,"x"]}]}})",
       R"({"spec":{"containers":[{"name":"a","args":["","x"]}]}})"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.text);
    CHECK(round(row.text, core("Pod")) == row.want);
  }
}

TEST_CASE("quantities, times and bytes are normalised") {
  CHECK(
      round(R"({"spec":{"containers":[{"name":"a","resources":{"limits":{"cpu":0.5,"memory":"1024Mi"}}}]}})",
            core("Pod")) ==
      R"({"spec":{"containers":[{"name":"a","resources":{"limits":{"cpu":"500m","memory":"1Gi"}}}]}})");
  CHECK(round(R"({"metadata":{"creationTimestamp":"2026-01-01T02:00:00.5+02:00"}})", core("Pod")) ==
        R"({"metadata":{"creationTimestamp":"2026-01-01T00:00:00Z"}})");
  CHECK(round("{\"data\":{\"a\":\"aGVs\\nbG8=\\n\"}}", core("Secret")) == R"({"data":{"a":"aGVsbG8="}})");
}

TEST_CASE("wrong types are refused with struct, path and type") {
  const struct {
    const char *text, *want;
  } rows[] = {
      {R"([])", "json: cannot unmarshal array into Go value of type v1.Pod"},
      {R"({"spec":[]})", "json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec"},
      {R"({"spec":{"containers":{}}})",
       "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container"},
      {R"({"spec":{"containers":[{"name":"a","env":[{"name":"b","value":1}]}]}})",
       "json: cannot unmarshal number into Go struct field EnvVar.spec.containers.env.value of type string"},
      {R"({"spec":{"activeDeadlineSeconds":"1"}})",
       "json: cannot unmarshal string into Go struct field PodSpec.spec.activeDeadlineSeconds of type int64"},
      {R"({"spec":{"priority":3000000000}})",
       "json: cannot unmarshal number 3000000000 into Go struct field PodSpec.spec.priority of type int32"},
      {R"({"spec":{"activeDeadlineSeconds":9223372036854775808}})",
       "json: cannot unmarshal number 9223372036854775808 into Go struct field "
       "PodSpec.spec.activeDeadlineSeconds of type int64"},
      {R"({"spec":{"priority":1.5}})",
       "json: cannot unmarshal number 1.5 into Go struct field PodSpec.spec.priority of type int32"},
      {R"({"spec":{"hostPID":"yes"}})",
       "json: cannot unmarshal string into Go struct field PodSpec.spec.hostPID of type bool"},
      {R"({"metadata":{"labels":{"a":1}}})",
       "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels.a of type string"},
      {R"({"metadata":{"labels":[]}})",
       "json: cannot unmarshal array into Go struct field ObjectMeta.metadata.labels of type "
       "map[string]string"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.text);
    CHECK(round(row.text, core("Pod")) == std::string("error: ") + row.want);
  }
  CHECK(round(R"({"data":{"a":"!"}})", core("Secret")).starts_with("error: data.a: illegal base64"));
  CHECK(round(R"({"metadata":{"creationTimestamp":"soon"}})", core("Pod"))
            .starts_with("error: metadata.creationTimestamp: "));
  CHECK(round(R"({"spec":{"overhead":{"cpu":"x"}}})", core("Pod")).starts_with("error: spec.overhead.cpu: "));
  CHECK(round(R"({"spec":{"activeDeadlineSeconds":9223372036854775807}})", core("Pod")) ==
        R"({"spec":{"activeDeadlineSeconds":9223372036854775807}})");
}

TEST_CASE("a plain pod gets what upstream gives it") {
  CHECK(
      defaulted(
          R"({"spec":{"containers":[{"name":"c","image":"busybox:1","ports":[{"containerPort":80}],)"
          R"("livenessProbe":{"httpGet":{"port":80}}}],"volumes":[{"name":"v"},{"name":"s","secret":{}}]}})",
          core("Pod")) ==
      R"({"spec":{"volumes":[{"name":"v","emptyDir":{}},{"name":"s","secret":{"defaultMode":420}}],)"
      R"("containers":[{"name":"c","image":"busybox:1","ports":[{"containerPort":80,"protocol":"TCP"}],)"
      R"("resources":{},"livenessProbe":{"httpGet":{"path":"/","port":80,"scheme":"HTTP"},"timeoutSeconds":1,)"
      R"("periodSeconds":10,"successThreshold":1,"failureThreshold":3},)"
      R"("terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File",)"
      R"("imagePullPolicy":"IfNotPresent"}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,)"
      R"("dnsPolicy":"ClusterFirst","securityContext":{},"schedulerName":"default-scheduler",)"
      R"("enableServiceLinks":true}})");
}

TEST_CASE("a body of nothing but empty objects is refused before it becomes a huge tree") {
  for (const char* item : {"{}", "null"}) {
    std::string text = R"({"spec":{"containers":[)";
    for (int i = 0; i < 25000; i++) text += (i ? "," : "") + std::string(item);
    text += "]}}";
    auto decoded = decode_json(text, core("Pod"));
    REQUIRE_FALSE(decoded);
    CHECK(decoded.error().code == Errc::too_large);
  }
}
