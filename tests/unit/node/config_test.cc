#include "node/pod/container_config.h"

#include <doctest/doctest.h>

#include "node/pod/host_files.h"

using namespace limpet;
using namespace limpet::node;

namespace {

PodSpec pod(const std::string& spec) {
  return read_pod_spec(
      share(R"({"metadata":{"name":"web","namespace":"shop","uid":"u"},"spec":)" + spec + "}"));
}

Result<ContainerConfig> config(
    const PodSpec& p,
    const char* image_config =
        R"({"config":{"Cmd":["serve"],"Env":["PATH=/bin","A=image"],"User":"7","WorkingDir":"/srv"}})") {
  ContainerInputs in;
  in.find = [](std::string_view, std::string_view) { return SharedBytes(); };
  in.image.config_json = image_config;
  in.image.lower_dirs = {"/layers/1"};
  in.volumes = {{"data", "/vol/data"}};
  in.etc_hosts = "/run/hosts";
  in.termination_log = "/run/term";
  in.facts.node_memory_bytes = 1000;
  in.localhost_profiles = {{"audit.json", "{}"}};
  return container_config(p, p.containers.at(0), in);
}

}  // namespace

TEST_CASE("what pod and image say together") {
  const auto c = config(pod(
      R"~({"securityContext":{"runAsUser":1000,"fsGroup":5,"supplementalGroups":[9]},"containers":[{"name":"c","image":"i",
    "args":["--name","$(A)","$(NONE)"],"env":[{"name":"A","value":"pod"}],"tty":true,"stdin":true,
    "securityContext":{"runAsNonRoot":true,"readOnlyRootFilesystem":true,"allowPrivilegeEscalation":false,
      "capabilities":{"add":["NET_ADMIN"],"drop":["ALL"]}},
    "resources":{"limits":{"cpu":"500m","memory":"64Mi"},"requests":{"memory":"500"}},
    "volumeMounts":[{"name":"data","mountPath":"/d","subPath":"x","readOnly":true},{"name":"data","mountPath":"/etc/hosts"}]}]})~"));
  REQUIRE(c.has_value());
  CHECK(c->args == std::vector<std::string>{"--name", "pod", "$(NONE)"});
  CHECK(c->env == std::vector<std::pair<std::string, std::string>>{{"PATH", "/bin"}, {"A", "pod"}});
  CHECK(c->cwd == "/srv");
  CHECK(c->user == "1000");
  CHECK(c->run_as_non_root);
  CHECK(c->read_only_root);
  CHECK_FALSE(c->allow_privilege_escalation);
  CHECK(c->drop_capabilities == std::vector<std::string>{"ALL"});
  CHECK(c->supplemental_groups == std::vector<uint32_t>{9, 5});
  CHECK(c->resources.cpu_millis_limit == 500);
  CHECK(c->resources.cpu_millis_request == 500);
  CHECK(c->resources.memory_request_bytes == 500);
  CHECK(c->oom_score_adj == 500);
  REQUIRE(c->mounts.size() == 3);  // the pod's own /etc/hosts wins over ours
  CHECK(c->mounts[0].sub_path == "x");
  CHECK(c->mounts[1].source == "/vol/data");
  CHECK(c->mounts[2].target == "/dev/termination-log");
}

TEST_CASE("volumes of files that the device writes are read-only, whatever the mount says") {
  struct Row {
    const char* volume;
    const char* mount;
    bool read_only;
  };
  const Row rows[] = {
      {R"("configMap":{"name":"x"})", "", true},
      {R"("secret":{"secretName":"x"})", R"(,"readOnly":false)", true},
      {R"("projected":{"sources":[]})", "", true},
      {R"("downwardAPI":{"items":[]})", R"(,"subPath":"labels")", true},
      {R"("emptyDir":{})", "", false},
      {R"("emptyDir":{})", R"(,"readOnly":true)", true},
      {R"("hostPath":{"path":"/x"})", "", false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.volume);
    const auto c = config(
        pod(std::string(R"({"volumes":[{"name":"other","emptyDir":{}},{"name":"data",)") + row.volume +
            R"(}],"containers":[{"name":"c","image":"i","volumeMounts":[{"name":"data","mountPath":"/d")" +
            row.mount + "}]}]}"));
    REQUIRE(c.has_value());
    CHECK(c->mounts[0].read_only == row.read_only);
  }
}

TEST_CASE("what cannot be configured is said") {
  struct Row {
    const char* container;
    const char* message;
  };
  const Row rows[] = {
      {R"({"name":"c","volumeMounts":[{"name":"nope","mountPath":"/d"}]})",
       "volume \"nope\" of the container is not ready"},
      {R"({"name":"c","securityContext":{"seccompProfile":{"type":"Localhost","localhostProfile":"x.json"}}})",
       "cannot load seccomp profile \"x.json\": not found below the seccomp directory"},
      {R"({"name":"c","securityContext":{"seccompProfile":{"type":"Localhost","localhostProfile":"audit.json"}}})",
       ""},
  };
  for (const Row& row : rows) {
    CAPTURE(row.container);
    const auto c = config(pod(R"({"containers":[)" + std::string(row.container) + "]}"));
    CHECK((c ? "" : c.error().message) == row.message);
  }
  const auto none = config(pod(R"({"containers":[{"name":"c","image":"i"}]})"), "{}");
  REQUIRE_FALSE(none.has_value());
  CHECK(none.error().message == "no command: neither the container nor the image \"i\" names one");
}

TEST_CASE("limits of the pod's cgroup") {
  CHECK(
      pod_limits(
          pod(R"({"containers":[{"resources":{"limits":{"memory":"1Mi"}}},{"resources":{"limits":{"memory":"2Mi"}}}]})"))
          .memory_limit_bytes == 3 << 20);
  CHECK(pod_limits(pod(R"({"containers":[{"resources":{"limits":{"memory":"1Mi"}}},{}]})"))
            .memory_limit_bytes == 0);
  CHECK(pod_limits(pod(R"({"initContainers":[{"resources":{"limits":{"memory":"9Mi"}}}],
    "containers":[{"resources":{"limits":{"memory":"1Mi"}}}]})"))
            .memory_limit_bytes == 9 << 20);
}

TEST_CASE("resolv.conf by policy") {
  const DnsOptions with{"10.43.0.10", "cluster.local",
                        "nameserver 9.9.9.9\nsearch lan\noptions edns0\n# nameserver 1.1.1.1\n"};
  struct Row {
    const char* name;
    const char* spec;
    const char* expect;
  };
  const Row rows[] = {
      {"cluster first", "{}",
       "search shop.svc.cluster.local svc.cluster.local cluster.local lan\nnameserver 10.43.0.10\noptions "
       "ndots:5\n"},
      {"default", R"({"dnsPolicy":"Default"})", "search lan\nnameserver 9.9.9.9\noptions edns0\n"},
      {"host network", R"({"hostNetwork":true})", "search lan\nnameserver 9.9.9.9\noptions edns0\n"},
      {"host network with cluster names", R"({"hostNetwork":true,"dnsPolicy":"ClusterFirstWithHostNet"})",
       "search shop.svc.cluster.local svc.cluster.local cluster.local lan\nnameserver 10.43.0.10\noptions "
       "ndots:5\n"},
      {"none", R"({"dnsPolicy":"None","dnsConfig":{"nameservers":["1.2.3.4"],"searches":["a.b"],
        "options":[{"name":"ndots","value":"2"},{"name":"edns0"}]}})",
       "search a.b\nnameserver 1.2.3.4\noptions ndots:2 edns0\n"},
      {"merged",
       R"({"dnsConfig":{"options":[{"name":"ndots","value":"2"}],"nameservers":["10.43.0.10","1.2.3.4"]}})",
       "search shop.svc.cluster.local svc.cluster.local cluster.local lan\nnameserver 10.43.0.10\nnameserver "
       "1.2.3.4\noptions ndots:2\n"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    CHECK(resolv_conf(json::Cursor(*pod(row.spec).bytes), with) == row.expect);
  }
  DnsOptions without = with;
  without.cluster_dns.clear();
  CHECK(resolv_conf(json::Cursor(*pod("{}").bytes), without) ==
        "search lan\nnameserver 9.9.9.9\noptions edns0\n");
}

TEST_CASE("hosts and host names") {
  const PodSpec p =
      pod(R"({"hostname":"h","subdomain":"sub","hostAliases":[{"ip":"1.2.3.4","hostnames":["a","b"]}]})");
  const json::Cursor c(*p.bytes);
  const std::string text = etc_hosts(c, pod_hostname(c), {"10.42.0.2"}, "ignored", "cluster.local");
  CHECK(text.find("10.42.0.2\th.sub.shop.svc.cluster.local\th\n") != std::string::npos);
  CHECK(text.find("1.2.3.4\ta\tb\n") != std::string::npos);
  CHECK(text.find("ignored") == std::string::npos);
  const PodSpec host = pod(R"({"hostNetwork":true})");
  CHECK(etc_hosts(json::Cursor(*host.bytes), "x", {}, "127.0.0.1 me\n", "d").find("127.0.0.1 me\n") !=
        std::string::npos);
  CHECK(pod_hostname(json::Cursor(R"({"metadata":{"name":")" + std::string(62, 'a') + R"(-b"}})")) ==
        std::string(62, 'a'));
}
