#include <doctest/doctest.h>

#include <string>

#include "schema/codec.h"

using namespace limpet;
using namespace limpet::schema;

namespace {

json::Value defaulted(std::string_view kind, std::string_view text, bool create = false) {
  const Type* type = find_type("io.k8s.api.core.v1." + std::string(kind));
  REQUIRE(type);
  auto decoded = decode_json(text, *type);
  REQUIRE(decoded);
  apply_defaults(decoded->object, *type);
  if (create) apply_create_defaults(decoded->object, *type);
  return std::move(decoded->object);
}

std::string pod_with(std::string_view container) {
  return R"({"spec":{"containers":[{"name":"c",)" + std::string(container) + "}]}}";
}

}  // namespace

TEST_CASE("pull policy follows the tag") {
  const struct {
    const char *image, *want;
  } rows[] = {
      {"busybox", "Always"},
      {"busybox:latest", "Always"},
      {"busybox:1", "IfNotPresent"},
      {"host:5000/busybox", "Always"},
      {"host:5000/busybox:1.2", "IfNotPresent"},
      {"busybox@sha256:0123", "IfNotPresent"},
      {"busybox:1@sha256:0123", "IfNotPresent"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.image);
    json::Value pod = defaulted("Pod", pod_with(R"("image":")" + std::string(row.image) + "\""));
    CHECK(pod.ref()["spec"]["containers"].at(0)["imagePullPolicy"].str() == row.want);
  }
}

TEST_CASE("requests follow limits, only where there are none") {
  json::Value pod = defaulted(
      "Pod", pod_with(R"("resources":{"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"200m"}})"));
  const json::Ref requests = pod.ref()["spec"]["containers"].at(0)["resources"]["requests"];
  CHECK(requests["cpu"].str() == "200m");
  CHECK(requests["memory"].str() == "1Gi");
}

TEST_CASE("pod-level requests come from the containers, then from the limits") {
  json::Value pod = defaulted(
      "Pod",
      R"({"spec":{"resources":{"limits":{"cpu":"2","memory":"1Gi"}},"containers":[)"
      R"({"name":"a","resources":{"requests":{"cpu":"100m"}}},{"name":"b","resources":{"requests":{"cpu":"200m"}}}],)"
      R"("initContainers":[{"name":"s","restartPolicy":"Always","resources":{"requests":{"cpu":"1"}}}]}})");
  CHECK(pod.ref()["spec"]["resources"]["requests"]["cpu"].str() == "1300m");
  CHECK(pod.ref()["spec"]["resources"]["requests"]["memory"].str() == "1Gi");
}

TEST_CASE("host network gives container ports host ports") {
  json::Value pod = defaulted(
      "Pod", R"({"spec":{"hostNetwork":true,"containers":[{"name":"c","ports":[{"containerPort":80}]}]}})");
  CHECK(pod.ref()["spec"]["containers"].at(0)["ports"].at(0)["hostPort"].integer() == 80);
}

TEST_CASE("both names of the service account agree") {
  json::Value pod = defaulted("Pod", R"({"spec":{"serviceAccount":"x"}})");
  CHECK(pod.ref()["spec"]["serviceAccountName"].str() == "x");
  pod = defaulted("Pod", R"({"spec":{"serviceAccount":"x","serviceAccountName":"y"}})");
  CHECK(pod.ref()["spec"]["serviceAccount"].str() == "y");
}

TEST_CASE("quality of service") {
  const struct {
    const char *container, *want;
  } rows[] = {
      {R"("image":"i")", "BestEffort"},
      {R"("resources":{"limits":{"example.com/x":"1"}})", "BestEffort"},
      {R"("resources":{"requests":{"cpu":"1m"}})", "Burstable"},
      {R"("resources":{"limits":{"cpu":"1"}})", "Burstable"},
      {R"("resources":{"limits":{"cpu":"1","memory":"1Gi"}})", "Guaranteed"},
      {R"("resources":{"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"1000m","memory":"1024Mi"}})",
       "Guaranteed"},
      {R"("resources":{"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"1"}})", "Guaranteed"},
      {R"("resources":{"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"500m"}})", "Burstable"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.container);
    json::Value pod = defaulted("Pod", pod_with(row.container), true);
    CHECK(pod.ref()["status"]["qosClass"].str() == row.want);
    CHECK(pod.ref()["status"]["phase"].str() == "Pending");
  }
}

TEST_CASE("namespaces carry their name as a label, and at creation the finalizer") {
  json::Value ns = defaulted("Namespace", R"({"metadata":{"name":"n"}})");
  CHECK(ns.ref()["metadata"]["labels"]["kubernetes.io/metadata.name"].str() == "n");
  CHECK(ns.ref()["status"]["phase"].str() == "Active");
  CHECK_FALSE(ns.ref()["spec"]["finalizers"]);
  ns = defaulted(
      "Namespace",
      R"({"metadata":{"name":"n"},"spec":{"finalizers":["a/b"]},"status":{"phase":"Terminating"}})", true);
  CHECK(ns.ref()["spec"]["finalizers"].dump() == R"(["a/b","kubernetes"])");
  CHECK(ns.ref()["status"]["phase"].str() == "Active");
}

TEST_CASE("other kinds") {
  CHECK(defaulted("Secret", "{}").ref()["type"].str() == "Opaque");
  CHECK(defaulted("Node", R"({"status":{"capacity":{"cpu":"2"}}})")
            .ref()["status"]["allocatable"]["cpu"]
            .str() == "2");
}
