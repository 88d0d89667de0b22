#include "schema/patch_json.h"
#include "schema/patch_merge.h"
#include "schema/patch_strategic.h"
#include "table.h"

using namespace limpet;
using namespace limpet::schema;

namespace {

json::Value tree(const std::string& text) {
  auto v = json::parse(text);
  REQUIRE_MESSAGE(v, text);
  return std::move(*v);
}

// Takes leftover directives out: upstream leaves some in values that met nothing to merge with, limpet fewer.
void strip(json::Ref node) {
  std::vector<std::string> directives;
  for (json::Ref m : node) {
    if (node.is_object() && m.key().starts_with("$")) directives.emplace_back(m.key());
    strip(m);
  }
  for (const std::string& key : directives) node.remove(key);
}

}  // namespace

TEST_CASE("strategic patch: results and errors as upstream") {
  const Type* pod = find_type("io.k8s.api.core.v1.Pod");
  REQUIRE((pod != nullptr));
  int same_errors = 0;
  for (const auto& row : read_table("strategic.tsv")) {
    CAPTURE(row[0]);
    CAPTURE(row[1]);
    const auto result = apply_strategic_patch(tree(row[0]), tree(row[1]), *pod);
    if (row[2].starts_with("!")) {
      CHECK(!result);
      if (!result && result.error().message == tree(row[2].substr(1)).ref().str()) same_errors++;
      continue;
    }
    REQUIRE_MESSAGE(result, result.error().message);
    const json::Value expected = tree(row[2]);
    strip(*result);
    strip(expected);
    CHECK_MESSAGE(result->ref().equals(expected), result->ref().dump() << "\nexpected " << row[2]);
  }
  CHECK(same_errors >= 8);
}

TEST_CASE("strategic patch: large lists stay linear") {
  std::string containers, order, labels;
  for (int i = 0; i < 20000; i++) {
    containers += (i ? "," : "") + strf("{\"name\":\"c%d\"}", i);
    order += (i ? "," : "") + strf("{\"name\":\"c%d\"}", 19999 - i);
    labels += (i ? "," : "") + strf("\"l%d\":\"1\"", i);
  }
  json::Value object =
      tree("{\"metadata\":{\"labels\":{" + labels + "}},\"spec\":{\"containers\":[" + containers + "]}}");
  json::Value patch = tree("{\"metadata\":{\"labels\":{" + labels + "}},\"spec\":{\"containers\":[" + order +
                           "],\"$setElementOrder/containers\":[" + order + "]}}");
  const auto result = apply_strategic_patch(std::move(object), patch, *find_type("io.k8s.api.core.v1.Pod"));
  REQUIRE(result);
  CHECK(result->ref()["spec"]["containers"].at(0)["name"].str() == "c19999");
}

TEST_CASE("merge patch: RFC 7386") {
  struct Case {
    const char *target, *patch, *result;
  };
  for (const Case& c : std::initializer_list<Case>{
           {R"({"a":"b"})", R"({"a":"c"})", R"({"a":"c"})"},
           {R"({"a":"b"})", R"({"b":"c"})", R"({"a":"b","b":"c"})"},
           {R"({"a":"b"})", R"({"a":null})", "{}"},
           {R"({"a":"b","b":"c"})", R"({"a":null})", R"({"b":"c"})"},
           {R"({"a":["b"]})", R"({"a":"c"})", R"({"a":"c"})"},
           {R"({"a":"c"})", R"({"a":["b"]})", R"({"a":["b"]})"},
           {R"({"a":{"b":"c"}})", R"({"a":{"b":"d","c":null}})", R"({"a":{"b":"d"}})"},
           {R"({"a":[{"b":"c"}]})", R"({"a":[1]})", R"({"a":[1]})"},
           {R"(["a","b"])", R"(["c","d"])", R"(["c","d"])"},
           {R"({"a":"b"})", R"(["c"])", R"(["c"])"},
           {R"({"a":"foo"})", "null", "null"},
           {R"({"e":null})", R"({"a":1})", R"({"e":null,"a":1})"},
           {"[1,2]", R"({"a":"b","c":null})", R"({"a":"b"})"},
           {"{}", R"({"a":{"bb":{"ccc":null}}})", R"({"a":{"bb":{}}})"}}) {
    CAPTURE(c.target);
    CAPTURE(c.patch);
    CHECK(apply_merge_patch(tree(c.target), tree(c.patch)).ref().dump() == c.result);
  }
  std::string many;
  for (int i = 0; i < 100000; i++) many += (i ? "," : "") + strf("\"k%d\":%d", i, i);
  CHECK(apply_merge_patch(tree("{" + many + "}"), tree("{" + many + ",\"k5\\u0061\":null}")).ref().size() ==
        100000);
}

TEST_CASE("JSON patch: RFC 6902") {
  struct Case {
    const char *target, *patch, *result;  // "!" and the message for an error
  };
  for (const Case& c : std::initializer_list<Case>{
           {R"({"foo":"bar"})", R"([{"op":"add","path":"/baz","value":"qux"}])",
            R"({"foo":"bar","baz":"qux"})"},
           {R"({"foo":["bar","baz"]})", R"([{"op":"add","path":"/foo/1","value":"qux"}])",
            R"({"foo":["bar","qux","baz"]})"},
           {R"({"foo":["a"]})", R"([{"op":"add","path":"/foo/-","value":"b"}])", R"({"foo":["a","b"]})"},
           {R"({"foo":["a"]})", R"([{"op":"add","path":"/foo/1","value":"b"}])", R"({"foo":["a","b"]})"},
           {R"({"foo":["a"]})", R"([{"op":"add","path":"/foo/2","value":"b"}])",
            "!error in add for path: '/foo/2': Unable to access invalid index: 2: invalid index referenced"},
           {R"({"foo":["a"]})", R"([{"op":"add","path":"/foo/01","value":"b"}])",
            "!error in add for path: '/foo/01': value was not a proper array index: '01'"},
           {R"({"baz":"qux","foo":"bar"})", R"([{"op":"remove","path":"/baz"}])", R"({"foo":"bar"})"},
           {R"({"foo":["a","b","c"]})", R"([{"op":"remove","path":"/foo/1"}])", R"({"foo":["a","c"]})"},
           {R"({"foo":1})", R"([{"op":"remove","path":"/bar"}])",
            "!error in remove for path: '/bar': Unable to remove nonexistent key: bar: missing value"},
           {R"({"foo":1})", R"([{"op":"remove","path":"/a/b"}])",
            "!remove operation does not apply: doc is missing path: \"/a/b\": missing value"},
           {R"({"a":1,"b":2})", R"([{"op":"replace","path":"/a","value":9}])", R"({"a":9,"b":2})"},
           {R"({"a":1})", R"([{"op":"replace","path":"/b","value":9}])",
            "!replace operation does not apply: doc is missing key: /b: missing value"},
           {R"({"a":1})", R"([{"op":"replace","path":"/b/c","value":9}])",
            "!replace operation does not apply: doc is missing path: /b/c: missing value"},
           {R"({"a":{"b":1},"c":{}})", R"([{"op":"move","from":"/a/b","path":"/c/d"}])",
            R"({"a":{},"c":{"d":1}})"},
           {R"({"foo":["all","grass","cows","eat"]})", R"([{"op":"move","from":"/foo/1","path":"/foo/3"}])",
            R"({"foo":["all","cows","eat","grass"]})"},
           {R"({"a":{"b":{}}})", R"([{"op":"move","from":"/a","path":"/a/b/c"}])",
            "!move operation does not apply: /a cannot be moved into itself: /a/b/c"},
           {R"({"a":[1]})", R"([{"op":"copy","from":"/a","path":"/b"}])", R"({"a":[1],"b":[1]})"},
           {R"({"a":1})", R"([{"op":"copy","from":"/x","path":"/b"}])",
            "!copy operation does not apply: doc is missing from path: /x: missing value"},
           {R"({"a":{"b":[1,2]}})", R"([{"op":"test","path":"/a","value":{"b":[1,2]}}])",
            R"({"a":{"b":[1,2]}})"},
           {R"({"a":1})", R"([{"op":"test","path":"/a","value":2}])",
            "!testing value /a failed: test failed"},
           {R"({"a":1})", R"([{"op":"test","path":"/b","value":null}])", R"({"a":1})"},
           {R"({"a/b":1,"m~n":2})",
            R"([{"op":"test","path":"/a~1b","value":1},{"op":"replace","path":"/m~0n","value":3}])",
            R"({"a/b":1,"m~n":3})"},
           {R"({"a":1})", R"([{"op":"replace","path":"","value":{"b":2}}])", R"({"b":2})"},
           {R"({"":1})", R"([{"op":"replace","path":"/","value":2}])", R"({"":2})"},
           {R"({"a":1})", R"([{"op":"add","path":"/b"}])", "!operation, missing value field: missing value"},
           {R"({"a":1})", R"([{"op":"add","value":1}])", "!operation missing path field: missing value"},
           {R"({"a":1})", R"([{"op":"spam","path":"/a"}])", "!Unexpected kind: spam"},
           {R"({"a":1})", R"([{"op":"remove","path":"a"}])", "!JSON pointer must start with '/': a"},
           {R"({"a":1})", R"([{"op":"remove","path":"/~2"}])", "!invalid escape in JSON pointer: /~2"},
           {R"({"a":1})", R"({"op":"remove","path":"/a"})", "!a JSON patch must be a list of operations"},
           {R"({"a":1})", "[3]", "!a JSON patch operation must be an object"}}) {
    CAPTURE(c.target);
    CAPTURE(c.patch);
    const auto result = apply_json_patch(tree(c.target), tree(c.patch));
    CHECK((result ? result->ref().dump() : "!" + result.error().message) == c.result);
  }
}

TEST_CASE("JSON patch: bounds") {
  auto many = [](size_t n, const std::string& op) {
    std::string patch = "[";
    for (size_t i = 0; i < n; i++) patch += (i ? "," : "") + op;
    return patch + "]";
  };
  const auto refused =
      apply_json_patch(tree("{}"), tree(many(10001, R"({"op":"add","path":"/a","value":1})")));
  CHECK(refused.error().message == "The allowed maximum operations in a JSON patch is 10000, got 10001");
  CHECK(apply_json_patch(tree("{}"), tree(many(10000, R"({"op":"add","path":"/a","value":1})"))));
  // Each copy would double the object, and its depth.
  const auto doubled = apply_json_patch(tree(R"({"a":["0123456789"]})"),
                                        tree(many(64, R"({"op":"copy","from":"/a","path":"/a/-"})")));
  CHECK(doubled.error().code == Errc::too_large);
  const auto deep =
      apply_json_patch(tree(R"({"a":{}})"), tree(many(64, R"({"op":"copy","from":"/a","path":"/a/a"})")));
  CHECK(!deep);
  const auto slow =
      apply_json_patch(tree("{\"a\":[" + std::string(200000, ' ') + "0" + many(1, "").substr(0, 0) + "]}"),
                       tree(many(10000, R"({"op":"add","path":"/a/-","value":1})")));
  CHECK(slow);
  std::string wide = "{";
  for (int i = 0; i < 50000; i++) wide += strf("\"k%d\":1,", i);
  const auto work =
      apply_json_patch(tree(wide + "\"z\":1}"), tree(many(10000, R"({"op":"test","path":"/z","value":1})")));
  CHECK(work.error().code == Errc::too_large);
}
