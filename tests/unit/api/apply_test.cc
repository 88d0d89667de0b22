// Server-side apply, protobuf bodies, warnings, and the list of what is not acted on.
#include <fstream>
#include <sstream>

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

TEST_CASE("apply makes nothing without a name in the object; one that is there needs none") {
  Server s;
  const std::string nameless = R"({"apiVersion":"v1","kind":"ConfigMap","data":{"a":"1"}})";
  for (const char* query : {"?fieldManager=one", "?fieldManager=one&force=true"}) {
    CAPTURE(query);
    Answer a = s.patch(kMaps + "/m" + query, kApply, nameless);
    CHECK(a.status == 400);
    CHECK(a.message() == "the name of the object (m based on URL) was undeterminable: name must be provided");
    CHECK(s.get(kMaps + "/m").status == 404);
  }
  REQUIRE(s.patch(kMaps + "/m?fieldManager=one", kApply, config_map("m")).status == 201);
  Answer a = s.patch(kMaps + "/m?fieldManager=one", kApply, nameless);
  INFO(a.body);
  CHECK(a.status == 200);
  CHECK(a.json()["metadata"]["name"].str() == "m");
  CHECK(a.json()["data"]["a"].str() == "1");
  CHECK(s.patch(kMaps + "/m?fieldManager=one", kApply, config_map("other")).status == 400);
}

TEST_CASE("owners can be taken away, as kubectl patch does it") {
  Server s;
  CHECK(s.post(kMaps, config_map("m")).json()["metadata"]["managedFields"].size() == 1);
  // An empty list is what a client sends that does not know the field.
  for (const auto& [list, left] : {std::pair("[]", 1u), std::pair("[{}]", 0u), std::pair("[]", 0u)}) {
    CAPTURE(list);
    Answer a = s.patch(kMaps + "/m", "application/merge-patch+json",
                       strf(R"({"metadata":{"managedFields":%s}})", list));
    INFO(a.body);
    CHECK(a.status == 200);
    CHECK(a.json()["metadata"]["managedFields"].size() == left);
  }
  Answer put = s.put(kMaps + "/m", config_map("m", R"({"k":"w"})"));
  CHECK(put.status == 200);
  CHECK_FALSE(put.json()["metadata"]["managedFields"]);
}

TEST_CASE("owners of an event's fields are recorded from the first apply on") {
  Server s;
  const std::string events = "/api/v1/namespaces/default/events";
  const auto event = [](const char* name, const char* more) {
    return strf(R"({"apiVersion":"v1","kind":"Event","metadata":{"name":"%s"},)"
                R"("involvedObject":{"namespace":"default"}%s})",
                name, more);
  };
  Answer made = s.post(events, event("e", R"(,"message":"m")"));
  INFO(made.body);
  REQUIRE(made.status == 201);
  CHECK_FALSE(made.json()["metadata"]["managedFields"]);
  Answer counted = s.patch(events + "/e", "application/merge-patch+json", R"({"count":2})");
  CHECK(counted.json()["count"].integer() == 2);
  CHECK_FALSE(counted.json()["metadata"]["managedFields"]);

  Answer refused = s.patch(events + "/e?fieldManager=one", kApply, event("e", R"(,"message":"n")"));
  CHECK(refused.status == 409);
  CHECK(refused.message() ==
        R"(Apply failed with 1 conflict: conflict with "before-first-apply" using v1: .message)");
  Answer applied = s.patch(events + "/e?fieldManager=one", kApply, event("e", R"(,"reason":"r")"));
  INFO(applied.body);
  CHECK(applied.status == 200);
  CHECK(applied.json()["metadata"]["managedFields"].size() == 2);
  Answer after = s.patch(events + "/e", "application/merge-patch+json", R"({"count":3})");
  CHECK(after.json()["metadata"]["managedFields"].size() == 3);
  Answer first = s.patch(events + "/f?fieldManager=one", kApply, event("f", ""));
  CHECK(first.status == 201);
  CHECK(first.json()["metadata"]["managedFields"].size() == 1);
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

}  // namespace limpet::api::test
