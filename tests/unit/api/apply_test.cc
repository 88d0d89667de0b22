// Server-side apply, protobuf bodies, warnings, and the list of what is not acted on.
#include <fstream>
#include <sstream>

#include "api/compat.h"
#include "fixture.h"
#include "schema/protobuf.h"

namespace limpet::api::test {
namespace {

const std::string kMaps = "/api/v1/namespaces/default/configmaps";
const std::string kApply = "application/apply-patch+yaml";

}  // namespace

TEST_CASE("apply creates, changes, and minds the owners of fields") {
  Server s;
  Answer a = s.patch(kMaps + "/m?fieldManager=one", kApply, config_map("m", R"({"a":"1","b":"1"})"));
  INFO(a.body);
  CHECK(a.status == 201);
  CHECK(a.body.find(R"("manager":"one","operation":"Apply")") != std::string::npos);
  CHECK(
      s.patch(kMaps + "/m?fieldManager=one", kApply, config_map("m", R"({"a":"2"})")).json()["data"].size() ==
      1);
  Answer c = s.patch(kMaps + "/m?fieldManager=two", kApply, config_map("m", R"({"a":"3"})"));
  CHECK(c.status == 409);
  CHECK(c.message() == "Apply failed with 1 conflict: conflict with \"one\": .data.a");
  CHECK(c.json()["details"]["causes"].at(0)["reason"].str() == "FieldManagerConflict");
  CHECK(s.patch(kMaps + "/m?fieldManager=two&force=true", kApply,
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {a: x}\n")
            .status == 200);
  CHECK(s.patch(kMaps + "/m", kApply, config_map("m")).status == 422);
  CHECK(s.patch(kMaps + "/m?fieldManager=two", kApply, R"({"kind":"ConfigMap"})").status == 400);
  CHECK(s.patch(kMaps + "/d?fieldManager=two&dryRun=All", kApply, config_map("d")).status == 201);
  CHECK(s.get(kMaps + "/d").status == 404);
}

TEST_CASE("what admission adds survives an apply and a replacement by its creator") {
  Server s;
  const std::string pods = "/api/v1/namespaces/default/pods";
  CHECK(s.patch(pods + "/p?fieldManager=one", kApply, pod("p")).status == 201);
  Answer again = s.patch(pods + "/p?fieldManager=one", kApply, pod("p"));
  INFO(again.body);
  CHECK(again.status == 200);
  CHECK(again.json()["spec"]["serviceAccountName"].str() == "default");
  CHECK(again.json()["metadata"]["generation"].integer() == 1);
  Answer put = s.put(pods + "/p", pod("p", R"(,"labels":{"x":"y"})"));
  INFO(put.body);
  CHECK(put.status == 200);
  CHECK(put.json()["spec"]["tolerations"].size() == 2);
  CHECK(put.json()["metadata"]["generation"].integer() == 1);
}

TEST_CASE("protobuf bodies") {
  Server s;
  const schema::Type* type = schema::find_type("io.k8s.api.core.v1.ConfigMap");
  REQUIRE(type);
  std::string text = config_map("pb", R"({"k":"v"})");
  auto raw = schema::encode_protobuf_object(json::Cursor(text), *type);
  REQUIRE(raw);
  Answer a = s.ask({.method = "POST",
                    .target = kMaps,
                    .body = *raw,
                    .type = "application/vnd.kubernetes.protobuf",
                    .accept = "application/vnd.kubernetes.protobuf,application/json"});
  INFO(a.body);
  CHECK(a.status == 201);
  CHECK(a.json()["data"]["k"].str() == "v");
  CHECK(
      s.ask(
           {.method = "POST", .target = kMaps, .body = "junk", .type = "application/vnd.kubernetes.protobuf"})
          .status == 400);
}

TEST_CASE("warnings") {
  Server s;
  Answer a = s.post(kMaps, R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"w"},"dta":{}})");
  CHECK(a.status == 201);
  CHECK(a.headers.get("Warning") == "299 - \"unknown field \\\"dta\\\"\"");
  Answer p = s.post("/api/v1/namespaces/default/pods", pod("w", "", R"(,"runtimeClassName":"kata")"));
  CHECK(p.status == 201);
  CHECK(p.headers.get("Warning").find("spec.runtimeClassName is accepted, but not acted on yet") !=
        std::string_view::npos);
}

TEST_CASE("fields of the list of what is not acted on") {
  auto object = json::parse(R"({"spec":{"a":"","list":[{"x":{}},{"x":{"y":1}}],"no":{},"flag":false}})");
  REQUIRE(object);
  CHECK(uses(object->ref(), "spec.list[].x", ""));
  CHECK_FALSE(uses(object->ref(), "spec.no", ""));
  CHECK_FALSE(uses(object->ref(), "spec.list[].z", ""));
  CHECK(uses(object->ref(), "spec.flag", "false"));
  CHECK_FALSE(uses(object->ref(), "spec.flag", "true"));
  // Each entry names a field that exists.
  for (const NotActedOn& e : not_acted_on()) {
    INFO(e.path);
    const schema::Resource* r = schema::find_kind(e.group, "v1", e.kind);
    REQUIRE(r);
    const schema::Type* type = r->type();
    std::string path(e.path);
    std::stringstream parts(path);
    for (std::string part; std::getline(parts, part, '.');) {
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
  CHECK(text.str() == compatibility_document());
}

}  // namespace limpet::api::test
