#include "node/pod/spec.h"

#include <doctest/doctest.h>

using namespace limpet;
using namespace limpet::node;

TEST_CASE("QoS classes") {
  struct Row {
    const char* containers;
    const char* expect;
  };
  const Row rows[] = {
      {R"([{}])", "BestEffort"},
      {R"([{"resources":{"requests":{"example.com/x":"1"}}}])", "BestEffort"},
      {R"([{"resources":{"requests":{"cpu":"1"}}}])", "Burstable"},
      {R"([{"resources":{"limits":{"cpu":"1","memory":"1Gi"}}}])", "Guaranteed"},
      {R"([{"resources":{"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"1000m","memory":"1024Mi"}}}])",
       "Guaranteed"},
      {R"([{"resources":{"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"500m"}}}])", "Burstable"},
      {R"([{"resources":{"limits":{"cpu":"1","memory":"1Gi"}}},{}])", "Burstable"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.containers);
    CHECK(qos_class(json::Cursor(R"({"spec":{"containers":)" + std::string(row.containers) + "}}")) ==
          row.expect);
  }
}

TEST_CASE("a pod is read from its bytes") {
  const PodSpec p =
      read_pod_spec(share(R"({"metadata":{"name":"web","namespace":"shop","uid":"u","deletionTimestamp":"x",
    "deletionGracePeriodSeconds":4},"spec":{"restartPolicy":"OnFailure","activeDeadlineSeconds":9,
    "initContainers":[{"name":"a"},{"name":"b","restartPolicy":"Always"}],
    "containers":[{"name":"c","image":"x:1","readinessProbe":{"httpGet":{"port":"web","httpHeaders":[{"name":"H","value":"v"}]},
      "periodSeconds":3},"lifecycle":{"preStop":{"exec":{"command":["sh","-c","x"]}}}}],
    "ephemeralContainers":[{"name":"d"}]}})"));
  CHECK(p.full_name() == "shop/web");
  CHECK(p.deletion->grace_s == 4);
  CHECK(p.restart_policy == RestartPolicy::on_failure);
  REQUIRE(p.containers.size() == 4);
  CHECK(p.containers[0].kind == ContainerKind::init);
  CHECK(p.containers[1].kind == ContainerKind::sidecar);
  CHECK(p.containers[3].kind == ContainerKind::ephemeral);
  const ContainerSpec& c = p.containers[2];
  CHECK(c.readiness.handler.kind == Handler::Kind::http);
  CHECK(c.readiness.handler.port == "web");
  CHECK(c.readiness.handler.headers.at(0).value == "v");
  CHECK(c.readiness.period_s == 3);
  CHECK_FALSE(c.liveness.exists());
  CHECK(c.pre_stop.command.size() == 3);
  CHECK(container_json(p, p.containers[1])["name"].str_equals("b"));
  CHECK(container_json(p, p.containers[3])["name"].str_equals("d"));
}
