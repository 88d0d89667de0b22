// The scale subresource, and what is particular about writes of workloads.
#include "fixture.h"

namespace limpet::api::test {
namespace {

const std::string kAll = "/apis/apps/v1/namespaces/default/deployments";
const std::string kOne = kAll + "/web";

std::string deployment(const std::string& more_pod = "") {
  return R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"replicas":2,)"
         R"("selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},"spec":{)" +
         more_pod + R"("containers":[{"name":"c","image":"i"}]}}}})";
}

int64_t replicas(Server& s) { return s.get(kOne).json()["spec"]["replicas"].integer(); }
int64_t generation(Server& s) { return s.get(kOne).json()["metadata"]["generation"].integer(); }

}  // namespace

TEST_CASE("a scale is read, replaced, patched and applied") {
  Server s;
  REQUIRE(s.post(kAll, deployment()).status == 201);
  const Answer scale = s.get(kOne + "/scale");
  CHECK(scale.status == 200);
  CHECK(scale.json()["kind"].str() == "Scale");
  CHECK(scale.json()["apiVersion"].str() == "autoscaling/v1");
  CHECK(scale.json()["spec"]["replicas"].integer() == 2);
  CHECK(scale.json()["status"]["selector"].str() == "app=web");

  // Without a content type, as kubectl scale --current-replicas does it.
  std::string body = scale.body;
  body.replace(body.find("\"replicas\":2"), 12, "\"replicas\":5");
  CHECK(s.ask({.method = "PUT", .target = kOne + "/scale", .body = body, .type = ""}).status == 200);
  CHECK(replicas(s) == 5);
  CHECK(generation(s) == 2);
  CHECK(s.put(kOne + "/scale", body).status == 409);  // its version is old

  const Answer patched =
      s.patch(kOne + "/scale", "application/merge-patch+json", R"({"spec":{"replicas":1}})");
  CHECK(patched.json()["spec"]["replicas"].integer() == 1);
  CHECK(replicas(s) == 1);
  CHECK(s.patch(kOne + "/scale", "application/json-patch+json",
                R"([{"op":"replace","path":"/spec/replicas","value":0}])")
            .status == 200);
  CHECK(replicas(s) == 0);
  CHECK(
      s.patch(
           kOne + "/scale?fieldManager=hpa&force=true", "application/apply-patch+yaml",
           R"({"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"web"},"spec":{"replicas":4}})")
          .status == 200);
  CHECK(replicas(s) == 4);

  const Answer negative =
      s.patch(kOne + "/scale", "application/merge-patch+json", R"({"spec":{"replicas":-1}})");
  CHECK(negative.status == 422);
  CHECK(
      negative.message() ==
      "Scale.autoscaling \"web\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal "
      "to 0");
  CHECK(s.get(kAll + "/none/scale").status == 404);
  CHECK(s.patch(kAll + "/none/scale", "application/merge-patch+json", "{}").status == 404);
}

TEST_CASE("annotations of a deployment count as a change of what is wanted, a status does not") {
  Server s;
  REQUIRE(s.post(kAll, deployment()).status == 201);
  CHECK(generation(s) == 1);
  s.patch(kOne, "application/merge-patch+json", R"({"metadata":{"annotations":{"a":"b"}}})");
  CHECK(generation(s) == 2);
  s.patch(kOne, "application/merge-patch+json", R"({"metadata":{"labels":{"a":"b"}}})");
  CHECK(generation(s) == 2);
  s.patch(kOne + "/status", "application/merge-patch+json",
          R"({"metadata":{"annotations":{"c":"d"}},"status":{"replicas":1,"observedGeneration":2}})");
  CHECK(generation(s) == 2);
  CHECK(s.get(kOne).json()["metadata"]["annotations"]["c"].str() == "d");
  CHECK(s.get(kOne).json()["status"]["replicas"].integer() == 1);
}

TEST_CASE("a pod template is warned about like a pod") {
  Server s;
  const Answer made = s.post(kAll, deployment(R"("runtimeClassName":"x",)"));
  CHECK(made.status == 201);
  CHECK(std::string(made.headers.get("Warning")).find("spec.template.spec.runtimeClassName is accepted") !=
        std::string::npos);
}

}  // namespace limpet::api::test
