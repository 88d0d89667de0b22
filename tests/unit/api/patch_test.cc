// What a patch may not take away or change: the name, the version and the kind of an object.
#include "fixture.h"

namespace limpet::api::test {
namespace {

const std::string kMaps = "/api/v1/namespaces/default/configmaps";
const char* const kJson = "application/json-patch+json";
const char* const kMerge = "application/merge-patch+json";
const char* const kStrategic = "application/strategic-merge-patch+json";

}  // namespace

TEST_CASE("patches of name, version and kind get upstream's verdict") {
  Server s;
  REQUIRE(s.post(kMaps, config_map("a")).status == 201);
  const char* no_name = "the name of the object (a based on URL) was undeterminable: name must be provided";
  struct {
    const char *type, *patch;
    int status;
    const char* message;
  } rows[] = {
      {kJson, R"([{"op":"remove","path":"/metadata"}])", 400, no_name},
      {kJson, R"([{"op":"remove","path":"/metadata/name"}])", 400, no_name},
      {kJson, R"([{"op":"replace","path":"/metadata/name","value":""}])", 400, no_name},
      {kJson, R"([{"op":"replace","path":"/metadata/name","value":"b"}])", 400,
       "does not match the name on the URL"},
      {kJson, R"([{"op":"replace","path":"/metadata/namespace","value":"x"}])", 400,
       "does not match the namespace"},
      {kJson, R"([{"op":"remove","path":"/metadata/namespace"}])", 200, ""},
      {kJson, R"([{"op":"remove","path":"/metadata/uid"}])", 200, ""},
      {kJson, R"([{"op":"remove","path":"/apiVersion"}])", 400, "apiVersion is missing"},
      {kJson, R"([{"op":"replace","path":"/apiVersion","value":"v2"}])", 422, "apiVersion is v1"},
      {kJson, R"([{"op":"replace","path":"/apiVersion","value":1}])", 422, "apiVersion is v1"},
      {kJson, R"([{"op":"remove","path":"/kind"}])", 200, ""},
      {kJson, R"([{"op":"replace","path":"/kind","value":"Secret"}])", 422, "kind is ConfigMap"},
      {kJson, R"([{"op":"replace","path":"/kind","value":3}])", 422, "kind is ConfigMap"},
      {kJson, R"([{"op":"replace","path":"","value":[]}])", 400, "no object"},
      {kMerge, R"({"metadata":null})", 400, no_name},
      {kMerge, R"({"metadata":{"name":null}})", 400, no_name},
      {kMerge, R"({"apiVersion":null})", 400, "apiVersion is missing"},
      {kMerge, R"({"kind":null})", 200, ""},
      {kMerge, R"({"kind":"Secret"})", 422, "kind is ConfigMap"},
      {kStrategic, R"({"metadata":null})", 400, no_name},
      {kStrategic, R"({"metadata":{"name":null}})", 400, no_name},
      {kStrategic, R"({"apiVersion":null,"kind":"Secret"})", 200, ""},
  };
  for (const auto& row : rows) {
    CAPTURE(row.type);
    CAPTURE(row.patch);
    Answer a = s.patch(kMaps + "/a", row.type, row.patch);
    CHECK_MESSAGE(a.status == row.status, a.body);
    CHECK_MESSAGE(a.body.find(row.message) != std::string::npos, a.body);
    if (a.status != 200) continue;
    CHECK(a.json()["apiVersion"].str() == "v1");
    CHECK(a.json()["kind"].str() == "ConfigMap");
    CHECK(a.json()["metadata"]["namespace"].str() == "default");
  }
  CHECK(s.get(kMaps + "/a").json()["data"]["k"].str() == "v");
}

TEST_CASE("a body to replace an object by has a name") {
  Server s;
  REQUIRE(s.post(kMaps, config_map("a")).status == 201);
  Answer a = s.put(kMaps + "/a", R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{}})");
  CHECK(a.status == 400);
  CHECK(a.message().find("name must be provided") != std::string::npos);
}

}  // namespace limpet::api::test
