// Objects of very many values: refused by name before they fill a small device.
#include "fixture.h"
#include "schema/codec.h"

namespace limpet::api::test {
namespace {

const std::string kMaps = "/api/v1/namespaces/default/configmaps";

std::string data(size_t keys, const char* prefix, bool yaml = false) {
  std::string out;
  for (size_t i = 0; i < keys; i++)
    out += (i ? "," : "") + strf(yaml ? "%s%zu: v" : "\"%s%zu\":\"v\"", prefix, i);
  return "{" + out + "}";
}

bool too_many(const Answer& a) {
  INFO(a.body.substr(0, 300));
  CHECK(a.status == 413);
  CHECK(a.reason() == "RequestEntityTooLarge");
  return a.message().find("more than") != std::string::npos &&
         a.message().find("values") != std::string::npos;
}

}  // namespace

TEST_CASE("a body of more values than an object may have is refused, whatever it is written in") {
  Server s;
  const size_t most = schema::kMaxValues;
  CHECK(too_many(s.post(kMaps, config_map("a", data(most, "k")))));
  CHECK(too_many(s.ask(
      {.method = "POST",
       .target = kMaps,
       .body = "kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\ndata: " + data(most, "k", true) + "\n",
       .type = "application/yaml"})));
  REQUIRE(s.post(kMaps, config_map("a")).status == 201);
  for (const char* type : {"application/merge-patch+json", "application/strategic-merge-patch+json"})
    CHECK(too_many(s.patch(kMaps + "/a", type, R"({"data":)" + data(most, "k") + "}")));
  CHECK(too_many(s.patch(kMaps + "/a?fieldManager=m", "application/apply-patch+yaml",
                         config_map("a", data(most, "k")))));
}

TEST_CASE("an object does not grow beyond that by patches, and goes on as it was") {
  Server s;
  // Each key is there twice: in data, and among the fields of its manager.
  const size_t keys = schema::kMaxValues / 2 - 100;
  REQUIRE(s.post(kMaps, config_map("a", data(keys, "k"))).status == 201);
  Answer whole = s.get(kMaps + "/a");
  CHECK(s.put(kMaps + "/a", whole.body).status == 200);  // what was read may be sent back
  const std::string version = whole.json()["metadata"]["resourceVersion"].str();
  CHECK(too_many(
      s.patch(kMaps + "/a", "application/merge-patch+json", R"({"data":)" + data(1000, "more") + "}")));
  CHECK(too_many(s.patch(kMaps + "/a", "application/json-patch+json",
                         R"([{"op":"copy","from":"/data","path":"/metadata/annotations"}])")));
  Answer after = s.get(kMaps + "/a");
  CHECK(after.json()["metadata"]["resourceVersion"].str() == version);
  CHECK(after.json()["data"].size() == keys);
}

TEST_CASE("a JSON patch may have the ten thousand operations that upstream allows, and no more") {
  Server s;
  REQUIRE(s.post(kMaps, config_map("a")).status == 201);
  const auto patch = [&](size_t operations) {
    std::string body = "[";
    for (size_t i = 0; i < operations; i++)
      body += (i ? "," : "") + std::string(R"({"op":"add","path":"/data/k","value":"v"})");
    return s.patch(kMaps + "/a", "application/json-patch+json", body + "]");
  };
  CHECK(patch(10000).status == 200);
  CHECK(patch(10001).message().find("maximum operations in a JSON patch is 10000, got 10001") !=
        std::string::npos);
}

}  // namespace limpet::api::test
