#include <map>

#include "schema/apply.h"
#include "table.h"

using namespace limpet;
using namespace limpet::schema;

namespace {

constexpr WallTime kNow{1767225600, 0};

json::Value tree(const std::string& text) {
  auto v = json::parse(text);
  REQUIRE_MESSAGE(v, text);
  return std::move(*v);
}

// manager, operation and fields of each entry, in a form that does not depend on order.
std::map<std::string, std::string> owners(json::Ref list, const char* fields) {
  std::map<std::string, std::string> out;
  for (json::Ref e : list) {
    out[std::string(e["manager"].str()) + " " + std::string(e["operation"].str())] = e[fields].dump();
  }
  return out;
}

json::Value without_owners(json::Ref object) {
  json::Value copy = object.clone();
  copy.ref()["metadata"].remove("managedFields");
  return copy;
}

}  // namespace

TEST_CASE("apply: objects, owners and conflicts as upstream") {
  json::Value live;
  std::string scenario;
  for (const auto& row : read_table("apply.tsv")) {
    CAPTURE(row[0]);
    CAPTURE(row[1]);
    CAPTURE(row[2]);
    CAPTURE(row[3]);
    if (row[0] != scenario) live = json::Value();
    scenario = row[0];
    json::Value sent = tree(row[3]);
    const bool pod = sent.ref()["kind"].str() == "Pod";
    const Type& type = *find_type(pod ? "io.k8s.api.core.v1.Pod" : "io.k8s.api.core.v1.ConfigMap");
    const FieldManager manager{row[2], "v1", ""};
    if (row[1] == "update") {
      track_update(type, live, sent, manager, kNow);
      live = std::move(sent);
    } else {
      auto result = apply(type, live, std::move(sent), manager, row[1] == "force", kNow);
      if (row[4].starts_with("!")) {
        REQUIRE(!result);
        CHECK(result.error().error.message == tree(row[4].substr(1)).ref().str());
        continue;
      }
      REQUIRE_MESSAGE(result, result.error().error.message);
      live = std::move(*result);
    }
    json::Value expected = tree(row[4]);
    expected.ref()["metadata"].remove("creationTimestamp");
    CHECK_MESSAGE(without_owners(live).ref().equals(expected), without_owners(live).ref().dump()
                                                                   << "\nexpected " << row[4]);
    const json::Value entries = tree(row[5]);
    const auto want = owners(entries, "fieldsV1"),
               have = owners(live.ref()["metadata"]["managedFields"], "fieldsV1");
    REQUIRE(want.size() == have.size());
    for (const auto& [name, fields] : want) {
      CAPTURE(name);
      REQUIRE(have.contains(name));
      // The table was made with free-form objects, where spec can be absent; in typed ones it never is.
      json::Value typed = tree(fields);
      typed.ref()["f:spec"].remove(".");
      CHECK_MESSAGE(tree(have.at(name)).ref().equals(typed), have.at(name) << "\nexpected " << fields);
    }
  }
}

// Upstream's rule: who owned what before is not guessed.
TEST_CASE("updates of an object without owners stay unrecorded until something is applied to it") {
  const Type& type = *find_type("io.k8s.api.core.v1.ConfigMap");
  const FieldManager update{"u", "v1", ""}, apply_manager{"a", "v1", ""};
  const auto map = [](const char* data, const char* meta = "") {
    return tree(
        strf(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"%s},"data":{%s}})", meta, data));
  };
  json::Value live = map(R"("x":"1")");
  track_update(type, {}, live, update, kNow);
  REQUIRE(live.ref()["metadata"]["managedFields"].size() == 1);
  json::Value reset = map(R"("x":"1")", R"(,"managedFields":[{}])");
  track_update(type, live, reset, update, kNow);
  CHECK_FALSE(reset.ref()["metadata"]["managedFields"]);
  json::Value changed = map(R"("x":"2")");
  track_update(type, reset, changed, update, kNow);
  CHECK_FALSE(changed.ref()["metadata"]["managedFields"]);

  auto refused = apply(type, changed, map(R"("x":"3")"), apply_manager, false, kNow);
  REQUIRE(!refused);
  CHECK(refused.error().error.message ==
        R"(Apply failed with 1 conflict: conflict with "before-first-apply" using v1: .data.x)");
  auto applied = apply(type, changed, map(R"("y":"1")"), apply_manager, false, kNow);
  REQUIRE(applied);
  const auto have = owners(applied->ref()["metadata"]["managedFields"], "fieldsV1");
  CHECK(have.contains("before-first-apply Update"));
  CHECK(have.contains("a Apply"));
}

TEST_CASE(
    "owners are not lost by accident: an empty list, one that says nothing, one sent to a subresource") {
  const Type& type = *find_type("io.k8s.api.core.v1.ConfigMap");
  struct Row {
    const char* list;
    const char* subresource;
  };
  constexpr const char* kNothing = R"([{"manager":"m","operation":"Update","apiVersion":"v1",)"
                                   R"("fieldsType":"FieldsV1","fieldsV1":{}}])";
  constexpr const char* kJunk = R"([{"manager":"m","operation":"Update","apiVersion":"v1",)"
                                R"("fieldsType":"FieldsV1","fieldsV1":{"x":{}}}])";
  for (const Row& row : {Row{"[]", ""}, Row{kNothing, ""}, Row{kJunk, ""}, Row{"[{}]", "status"}}) {
    CAPTURE(row.list);
    json::Value live =
        tree(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"x":"1"}})");
    track_update(type, {}, live, {"u", "v1", ""}, kNow);
    json::Value next = live.clone();
    next.ref()["metadata"].set("managedFields", tree(row.list));
    track_update(type, live, next, {"other", "v1", row.subresource}, kNow);
    CHECK(next.ref()["metadata"]["managedFields"].equals(live.ref()["metadata"]["managedFields"]));
  }
}

TEST_CASE("apply: wide objects and long lists cost no more than they must") {
  // In reverse order the second time, and without half of it the third: quadratic work would take minutes
  // here.
  const FieldManager manager{"m", "v1", ""};
  auto text = [](bool pod, int from, int to, int step) {
    std::string out;
    for (int i = from; i != to; i += step) {
      out += (out.empty() ? "" : ",") +
             (pod ? strf(R"({"name":"E%d","value":"x"})", i) : strf(R"("k%d":"")", i));
    }
    const char* head = R"({"apiVersion":"v1","kind":"%s","metadata":{"name":"n","namespace":"d"},)";
    return strf(head, pod ? "Pod" : "ConfigMap") +
           (pod ? R"("spec":{"containers":[{"name":"c","env":[)" + out + "]}]}}"
                : R"("data":{)" + out + "}}");
  };
  for (const bool pod : {false, true}) {
    CAPTURE(pod);
    const int n = pod ? 8000 : 60000;
    const Type& type = *find_type(pod ? "io.k8s.api.core.v1.Pod" : "io.k8s.api.core.v1.ConfigMap");
    json::Value live;
    for (const std::string& sent : {text(pod, 0, n, 1), text(pod, n - 1, -1, -1), text(pod, 0, n / 2, 1)}) {
      auto result = apply(type, live, tree(sent), manager, false, kNow);
      REQUIRE_MESSAGE(result, result.error().error.message);
      live = std::move(*result);
    }
    const json::Ref left = pod ? live.ref()["spec"]["containers"].at(0)["env"] : live.ref()["data"];
    CHECK(left.size() == static_cast<size_t>(n) / 2);
    json::Value other = live.ref().clone();
    track_update(type, live, other, {"other", "v1", ""}, kNow);
  }
}
