#include "node/pod/env.h"

#include <doctest/doctest.h>

using namespace limpet;
using namespace limpet::node;

namespace {

constexpr const char* kPod = R"({"metadata":{"name":"web","namespace":"shop","uid":"u-1","labels":{"app":"w"},
  "annotations":{"a/b":"c"}},"spec":{"serviceAccountName":"sa","containers":[{"name":"app"},
  {"name":"big","resources":{"limits":{"cpu":"1500m","memory":"64Mi"}}}]}})";

const DownwardFacts kFacts{"edge-1", {"10.42.0.2", "fd00::2"}, {"192.0.2.1"}, 4000, 1 << 30};

SharedBytes find(std::string_view kind, std::string_view name) {
  if (kind == "configmaps" && name == "cm") return share(R"({"data":{"color":"red","shape":"round"}})");
  if (kind == "secrets" && name == "s") return share(R"({"data":{"password":"aHVudGVyMg=="}})");
  if (kind == "secrets" && name == "broken") return share(R"({"data":{"k":"%%%"}})");
  return nullptr;
}

std::string show(const Env& env) {
  std::string out;
  for (const auto& [k, v] : env) out += (out.empty() ? "" : " ") + k + "=" + v;
  return out;
}

}  // namespace

TEST_CASE("references in text") {
  const Env env = {{"A", "1"}, {"B", "two"}};
  struct Row {
    const char* text;
    const char* expect;
  };
  const Row rows[] = {{"$(A)", "1"},    {"x$(A)y$(B)", "x1ytwo"}, {"$$(A)", "$(A)"}, {"$(C)", "$(C)"},
                      {"$A", "$A"},     {"$(A", "$(A"},           {"$", "$"},        {"$$", "$"},
                      {"$$$(A)", "$1"}, {"$()", "$()"},           {"", ""},          {"a$(A)$", "a1$"}};
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK(expand(row.text, env) == row.expect);
  }
}

TEST_CASE("environments from all sources, and the words for what is missing") {
  struct Row {
    const char* container;
    const char* expect;  // or the error behind '!'
  };
  const Row rows[] = {
      {R"~({"env":[{"name":"A","value":"1"},{"name":"B","value":"$(A)2"},{"name":"A","value":"3"}]})~",
       "A=3 B=12"},
      {R"~({"env":[{"name":"B","value":"$(A)"},{"name":"A","value":"1"}]})~", "B=$(A) A=1"},
      {R"~({"envFrom":[{"configMapRef":{"name":"cm"}}],"env":[{"name":"X","value":"$(color)"}]})~",
       "color=red shape=round X=red"},
      {R"({"envFrom":[{"prefix":"C_","configMapRef":{"name":"cm"}},{"secretRef":{"name":"s"}}]})",
       "C_color=red C_shape=round password=hunter2"},
      {R"({"envFrom":[{"configMapRef":{"name":"none"}}]})", "!configmap \"none\" not found"},
      {R"({"envFrom":[{"secretRef":{"name":"none","optional":true}}]})", ""},
      {R"({"env":[{"name":"P","valueFrom":{"secretKeyRef":{"name":"s","key":"password"}}}]})", "P=hunter2"},
      {R"({"env":[{"name":"P","valueFrom":{"secretKeyRef":{"name":"gone","key":"password"}}}]})",
       "!secret \"gone\" not found"},
      {R"({"env":[{"name":"P","valueFrom":{"secretKeyRef":{"name":"broken","key":"k"}}}]})",
       "!illegal base64 data at input byte 3"},
      {R"({"env":[{"name":"P","valueFrom":{"configMapKeyRef":{"name":"cm","key":"size"}}}]})",
       "!couldn't find key size in ConfigMap shop/cm"},
      {R"({"env":[{"name":"P","valueFrom":{"configMapKeyRef":{"name":"cm","key":"size","optional":true}}}]})",
       ""},
      {R"({"env":[{"name":"N","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}},
                  {"name":"L","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels['app']"}}},
                  {"name":"Z","valueFrom":{"fieldRef":{"fieldPath":"metadata.annotations['a/b']"}}},
                  {"name":"I","valueFrom":{"fieldRef":{"fieldPath":"status.podIPs"}}},
                  {"name":"H","valueFrom":{"fieldRef":{"fieldPath":"status.hostIP"}}},
                  {"name":"S","valueFrom":{"fieldRef":{"fieldPath":"spec.serviceAccountName"}}}]})",
       "N=web L=w Z=c I=10.42.0.2,fd00::2 H=192.0.2.1 S=sa"},
      {R"({"env":[{"name":"N","valueFrom":{"fieldRef":{"fieldPath":"spec.secret"}}}]})",
       "!unsupported fieldPath: spec.secret"},
      {R"({"env":[{"name":"C","valueFrom":{"resourceFieldRef":{"containerName":"big","resource":"limits.cpu"}}},
                  {"name":"M","valueFrom":{"resourceFieldRef":{"containerName":"big","resource":"limits.memory","divisor":"1Mi"}}},
                  {"name":"D","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu","divisor":"1m"}}}]})",
       "C=2 M=64 D=4000"},
      {R"({"env":[{"name":"C","valueFrom":{"resourceFieldRef":{"resource":"nonsense"}}}]})",
       "!unsupported container resource: nonsense"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.container);
    const auto env = container_env(json::Cursor(kPod), json::Cursor(row.container), kFacts, find);
    CHECK((env ? show(*env) : "!" + env.error().message) == row.expect);
  }
}
