#include <doctest/doctest.h>

#include <set>
#include <string>

#include "base/json.h"
#include "schema/openapi.h"
#include "schema/protobuf_wire.h"
#include "schema/types.h"

using namespace limpet;
using namespace limpet::schema;

namespace {

json::Value parsed(const std::string& text) {
  auto value = json::parse(text);
  REQUIRE_MESSAGE(value, value.error().message);
  return std::move(*value);
}

// Every $ref under node leads to a schema of the document.
void check_refs(json::Ref node, json::Ref schemas, const std::string& prefix) {
  for (json::Ref child : node) {
    if (node.is_object() && child.key() == "$ref" && child.is_string()) {
      const std::string_view target = child.str();
      CAPTURE(target);
      REQUIRE(target.starts_with(prefix));
      CHECK(schemas[target.substr(prefix.size())]);
    } else {
      check_refs(child, schemas, prefix);
    }
  }
}

// Field `number` of a message, all of them joined by a bar.
std::string fields(std::string_view message, uint32_t number) {
  std::string out;
  for (wire::Reader r(message); !r.done();) {
    const auto item = r.next();
    REQUIRE(item);
    REQUIRE_EQ(item->kind, wire::bytes);
    if (item->number == number) out.append(out.empty() ? "" : "|").append(item->data);
  }
  return out;
}

// Of the repeated entries {name = 1, value = 2} in field `number`: the value of one name.
std::string entry(std::string_view message, uint32_t number, std::string_view name) {
  for (wire::Reader r(message); !r.done();) {
    const auto item = r.next();
    REQUIRE(item);
    if (item->number == number && fields(item->data, 1) == name) return fields(item->data, 2);
  }
  FAIL("no entry ", std::string(name));
  return {};
}

}  // namespace

TEST_CASE("the index leads to a document of every group that serves something") {
  json::Value index = parsed(openapi_v3_index());
  std::set<std::string> seen;
  for (json::Ref entry : index.ref()["paths"]) {
    const std::string path(entry.key());
    CHECK(entry["serverRelativeURL"].str() == "/openapi/v3/" + path + "?hash=" + std::string(openapi_hash()));
    seen.insert(path);
  }
  for (const Resource& r : resources()) {
    const std::string gv = std::string(r.group()) + "/" + std::string(r.version());
    CHECK(seen.contains(r.group().empty() ? "api/" + std::string(r.version()) : "apis/" + gv));
  }
  CHECK(openapi_hash().size() == 64);
  CHECK(openapi_v3("nope", "v1").empty());
  CHECK(openapi_v3("", "v2").empty());
}

TEST_CASE("every document is whole: valid JSON, unique keys and operations, references that lead somewhere") {
  for (const Resource& r : resources()) {
    CAPTURE(r.plural());
    json::Value doc = parsed(openapi_v3(r.group(), r.version()));
    const json::Ref schemas = doc.ref()["components"]["schemas"];
    check_refs(doc, schemas, "#/components/schemas/");
    std::set<std::string> ids;
    for (json::Ref path : doc.ref()["paths"]) {
      for (json::Ref op : path) {
        if (op.key() == "parameters") continue;
        CHECK(ids.insert(std::string(op["operationId"].str())).second);
        CHECK(op["x-kubernetes-group-version-kind"].is_object());
      }
    }
  }
  json::Value v2 = parsed(openapi_v2());
  check_refs(v2, v2.ref()["definitions"], "#/definitions/");
  CHECK(v2.ref()["swagger"].str() == "2.0");
  CHECK(v2.ref()["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"]);
}

TEST_CASE("what kubectl looks for") {
  json::Value doc = parsed(openapi_v3("", "v1"));
  const json::Ref patch = doc.ref()["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
  CHECK(patch["x-kubernetes-group-version-kind"].dump() == R"({"group":"","kind":"Pod","version":"v1"})");
  CHECK(patch["requestBody"]["content"]["application/strategic-merge-patch+json"]);
  bool field_validation = false;
  for (json::Ref p : patch["parameters"])
    field_validation |= p["name"].str() == "fieldValidation" && p["in"].str() == "query";
  CHECK(field_validation);
  CHECK(doc.ref()["paths"]["/api/v1/pods"]["get"]["operationId"].str() == "listCoreV1PodForAllNamespaces");
  CHECK(doc.ref()["paths"]["/api/v1/namespaces/{namespace}/pods/{name}/eviction"]["post"]
                 ["x-kubernetes-group-version-kind"]["group"]
                     .str() == "policy");
  CHECK(doc.ref()["paths"]["/api/v1/namespaces/{namespace}/pods/{name}/exec"]["get"]["x-kubernetes-action"]
            .str() == "connect");

  const json::Ref schemas = doc.ref()["components"]["schemas"];
  CHECK(schemas["io.k8s.api.core.v1.Pod"]["x-kubernetes-group-version-kind"].dump() ==
        R"([{"group":"","kind":"Pod","version":"v1"}])");
  const json::Ref containers = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
  CHECK(containers["type"].str() == "array");
  CHECK(containers["items"]["$ref"].str() == "#/components/schemas/io.k8s.api.core.v1.Container");
  CHECK(containers["x-kubernetes-patch-merge-key"].str() == "name");
  CHECK(containers["x-kubernetes-patch-strategy"].str() == "merge");
  CHECK(containers["x-kubernetes-list-type"].str() == "map");
  CHECK(containers["x-kubernetes-list-map-keys"].dump() == R"(["name"])");
  CHECK(schemas["io.k8s.api.core.v1.PodSpec"]["required"].dump() == R"(["containers"])");
  CHECK(schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["volumes"]["x-kubernetes-patch-strategy"].str() ==
        "merge,retainKeys");
  CHECK(schemas["io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector"]["x-kubernetes-map-type"].str() ==
        "atomic");
  CHECK(schemas["io.k8s.api.core.v1.ContainerPort"]["properties"]["protocol"]["default"].str() == "TCP");
}

TEST_CASE("the v2 document in protobuf") {
  const std::string whole = openapi_v2_protobuf();
  CHECK_EQ(fields(whole, 1), "2.0");
  CHECK_EQ(fields(fields(whole, 2), 1), "Kubernetes");
  CHECK_LT(whole.size(), openapi_v2().size());

  const std::string definitions = fields(whole, 9);
  const std::string pod = entry(definitions, 1, "io.k8s.api.core.v1.Pod");
  CHECK_EQ(fields(fields(pod, 22), 1), "object");
  CHECK_EQ(fields(entry(pod, 31, "x-kubernetes-group-version-kind"), 2),
           R"([{"group":"","kind":"Pod","version":"v1"}])");
  const std::string spec = entry(definitions, 1, "io.k8s.api.core.v1.PodSpec");
  CHECK_EQ(fields(spec, 19), "containers");
  const std::string containers = entry(fields(spec, 25), 1, "containers");
  CHECK_FALSE(fields(containers, 4).empty());
  CHECK_EQ(fields(fields(containers, 22), 1), "array");
  CHECK_EQ(fields(fields(fields(containers, 23), 1), 1), "#/definitions/io.k8s.api.core.v1.Container");
  CHECK_EQ(fields(entry(containers, 31, "x-kubernetes-patch-merge-key"), 2), "\"name\"");
  const std::string selector = entry(fields(spec, 25), 1, "nodeSelector");
  CHECK_EQ(fields(fields(fields(fields(selector, 21), 1), 22), 1), "string");
  const std::string port = entry(definitions, 1, "io.k8s.api.core.v1.ContainerPort");
  const std::string protocol = entry(fields(port, 25), 1, "protocol");
  CHECK_EQ(fields(fields(protocol, 5), 2), "\"TCP\"");
  CHECK_FALSE(fields(protocol, 20).empty());

  const std::string path = entry(fields(whole, 8), 2, "/api/v1/namespaces/{name}");
  const std::string patch = fields(path, 8);
  CHECK_EQ(fields(entry(patch, 13, "x-kubernetes-group-version-kind"), 2),
           R"({"group":"","kind":"Namespace","version":"v1"})");
  std::string names;
  for (wire::Reader r(patch); !r.done();) {
    const auto item = r.next();
    REQUIRE(item);
    if (item->number == 8) names += fields(fields(fields(fields(item->data, 1), 2), 3), 4) + " ";
  }
  CHECK_EQ(names, "dryRun fieldValidation ");
}
