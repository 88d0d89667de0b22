#include <doctest/doctest.h>

#include <set>
#include <string>

#include "base/json.h"
#include "schema/openapi.h"
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
