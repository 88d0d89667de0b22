// The table of fields that are accepted and not acted on, against the schema: whoever adds a field to the one
// decides what becomes of it in the other.
#include "api/compat.h"

#include <doctest/doctest.h>

#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "schema/tables.h"
#include "schema/types.h"

namespace limpet::api::test {
namespace {

// What this version acts on, each with all below it that is not in the table.
constexpr const char* kActedOn[] = {"spec.activeDeadlineSeconds",
                                    "spec.affinity.nodeAffinity",
                                    "spec.containers[].args",
                                    "spec.containers[].command",
                                    "spec.containers[].env",
                                    "spec.containers[].envFrom",
                                    "spec.containers[].image",
                                    "spec.containers[].imagePullPolicy",
                                    "spec.containers[].lifecycle",
                                    "spec.containers[].livenessProbe",
                                    "spec.containers[].name",
                                    "spec.containers[].ports",
                                    "spec.containers[].readinessProbe",
                                    "spec.containers[].resources",
                                    "spec.containers[].securityContext",
                                    "spec.containers[].startupProbe",
                                    "spec.containers[].stdin",
                                    "spec.containers[].stdinOnce",
                                    "spec.containers[].terminationMessagePath",
                                    "spec.containers[].terminationMessagePolicy",
                                    "spec.containers[].tty",
                                    "spec.containers[].volumeMounts",
                                    "spec.containers[].workingDir",
                                    "spec.dnsConfig",
                                    "spec.dnsPolicy",
                                    "spec.hostAliases",
                                    "spec.hostIPC",
                                    "spec.hostNetwork",
                                    "spec.hostPID",
                                    "spec.hostname",
                                    "spec.imagePullSecrets",
                                    "spec.nodeName",
                                    "spec.nodeSelector",
                                    "spec.overhead",
                                    "spec.priority",
                                    "spec.priorityClassName",
                                    "spec.readinessGates",
                                    "spec.restartPolicy",
                                    "spec.schedulerName",
                                    "spec.schedulingGates",
                                    "spec.securityContext",
                                    "spec.serviceAccount",
                                    "spec.serviceAccountName",
                                    "spec.subdomain",
                                    "spec.terminationGracePeriodSeconds",
                                    "spec.tolerations",
                                    "spec.volumes[].configMap",
                                    "spec.volumes[].downwardAPI",
                                    "spec.volumes[].emptyDir",
                                    "spec.volumes[].hostPath",
                                    "spec.volumes[].name",
                                    "spec.volumes[].projected",
                                    "spec.volumes[].secret"};

// Nothing to do: no Service has variables to show yet, and a default that the API itself adds to every pod
// must not warn of itself. os: linux is what there is; automountServiceAccountToken: false is how it is.
constexpr const char* kMoot[] = {"spec.enableServiceLinks", "spec.preemptionPolicy"};

// Every path of the type, lists with "[]"; init and ephemeral containers as containers.
void walk(const schema::Type& type, const std::string& at, std::set<std::string>* out, int depth) {
  for (const schema::Field& f : type.fields()) {
    std::string name(f.name());
    if (at == "spec" && name.ends_with("Containers")) name = "containers";
    std::string path = at + "." + name;
    const bool nested = f.scalar() == schema::Scalar::object && f.type() && !f.type()->open() && depth < 10;
    if (nested && f.shape() == schema::Shape::list) path += "[]";
    if (nested && f.shape() != schema::Shape::map) {
      walk(*f.type(), path, out, depth + 1);
    } else {
      out->insert(path);
    }
  }
}

bool below(const std::string& path, std::string_view prefix) {
  if (!path.starts_with(prefix)) return false;
  const char next = path.size() > prefix.size() ? path[prefix.size()] : '.';
  return next == '.' || next == '[';
}

}  // namespace

TEST_CASE("every field of a pod is acted on or in the table") {
  const schema::Resource* pods = schema::find_kind("", "v1", "Pod");
  REQUIRE(pods);
  std::set<std::string> paths;
  walk(*pods->type()->find("spec")->type(), "spec", &paths, 0);
  REQUIRE(paths.size() > 200);
  std::set<std::string> unused(std::begin(kActedOn), std::end(kActedOn));
  for (const std::string& path : paths) {
    bool known = false;
    for (const char* prefix : kMoot) known = known || below(path, prefix);
    for (const NotActedOn& e : not_acted_on()) {
      std::string listed(e.path);
      if (listed.starts_with("spec.ephemeralContainers[]")) listed.replace(5, 21, "containers[]");
      known = known || below(path, listed);
    }
    for (const char* prefix : kActedOn) {
      if (!below(path, prefix)) continue;
      known = true;
      unused.erase(prefix);
    }
    CHECK_MESSAGE(known, path << " is neither acted on nor in the table");
  }
  for (const std::string& path : unused) CHECK_MESSAGE(false, path << " is no field of a pod");
}

TEST_CASE("fields of the list of what is not acted on") {
  struct Row {
    const char* object;
    NotActedOn entry;
    bool uses;
  };
  const char* lists = R"({"spec":{"a":"","list":[{"x":{}},{"x":{"y":1}}],"no":{},"flag":false}})";
  const char* containers =
      R"({"spec":{"containers":[{"name":"a"}],"initContainers":[{"name":"b","restartPolicy":"Always","p":{"q":1}}]}})";
  const char* volumes =
      R"({"spec":{"volumes":[{"e":{"medium":"Memory","sizeLimit":"1"}},{"e":{"medium":"HugePages-2Mi"}}]}})";
  const Row rows[] = {
      {lists, {"", "", "spec.list[].x", "", ""}, true},
      {lists, {"", "", "spec.no", "", ""}, false},
      {lists, {"", "", "spec.list[].z", "", ""}, false},
      {lists, {"", "", "spec.flag", "false", ""}, true},
      {lists, {"", "", "spec.flag", "true", ""}, false},
      {containers, {"", "", "spec.containers[].p.q", "", ""}, true},
      {containers, {"", "", "spec.containers[].restartPolicy", "Always", "", "", true}, false},
      {volumes, {"", "", "spec.volumes[].e.sizeLimit", "", "", "medium=Memory"}, false},
      {volumes, {"", "", "spec.volumes[].e.sizeLimit", "", "", "medium=Disk"}, true},
      {volumes, {"", "", "spec.volumes[].e.medium", "HugePages*", ""}, true},
      {volumes, {"", "", "spec.volumes[].e.medium", "HugePages", ""}, false},
  };
  for (const Row& row : rows) {
    INFO(row.entry.path);
    auto object = json::parse(row.object);
    REQUIRE(object);
    CHECK(uses(object->ref(), row.entry) == row.uses);
  }
}

TEST_CASE("each entry of the list names a field that exists") {
  for (const NotActedOn& e : not_acted_on()) {
    INFO(e.path);
    const schema::Resource* r = schema::find_kind(e.group, "v1", e.kind);
    REQUIRE(r);
    const schema::Type* type = r->type();
    std::stringstream parts{std::string(e.path)};
    for (std::string part; std::getline(parts, part, '.');) {
      if (part == "ephemeral-storage") break;  // a key of a map
      if (part.ends_with("[]")) part.resize(part.size() - 2);
      REQUIRE(type);
      const schema::Field* f = type->find(part);
      REQUIRE(f);
      type = f->type();
    }
  }
}

TEST_CASE("docs/compatibility.md is what the table says") {
  std::ifstream file(std::string(LIMPET_SOURCE_ROOT) + "/docs/compatibility.md");
  std::stringstream text;
  text << file.rdbuf();
  const std::string document = text.str(), list = compatibility_document();
  REQUIRE(document.size() >= list.size());
  CHECK(document.substr(0, list.size()) == list);
  // Sections of their own may follow it, written by hand.
  const std::string rest = document.substr(list.size());
  CHECK((rest.empty() || rest.starts_with("\n## ")));
}

}  // namespace limpet::api::test
