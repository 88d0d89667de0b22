#include "base/yaml.h"

#include <doctest/doctest.h>

#include <string>

#include "base/random.h"

using namespace limpet;

namespace {

// The one document as JSON, or the error.
std::string as_json(std::string_view text) {
  auto documents = yaml::parse(text);
  if (!documents) return documents.error().message;
  if (documents->empty()) return "(none)";
  return yaml::to_json(documents->front()).ref().dump();
}

}  // namespace

TEST_CASE("scalars are read as Kubernetes' users expect") {
  struct Row {
    const char *text, *json;
  };
  const Row rows[] = {
      {"a", "\"a\""},
      {"true", "true"},
      {"False", "false"},
      {"yes", "\"yes\""},
      {"on", "\"on\""},
      {"n", "\"n\""},
      {"null", "null"},
      {"~", "null"},
      {"\"\"", "\"\""},
      {"'null'", "\"null\""},
      {"\"true\"", "\"true\""},
      {"1", "1"},
      {"-1", "-1"},
      {"+1", "1"},
      {"1.5", "1.5"},
      {".5", "0.5"},
      {"5.", "5"},
      {"1e3", "1000"},
      {"0644", "420"},
      {"0o644", "420"},
      {"0x1f", "31"},
      {"0", "0"},
      {"00", "0"},
      {"0999", "\"0999\""},
      {"0x", "\"0x\""},
      {"08", "\"08\""},
      {"1_000", "\"1_000\""},
      {"12:30", "\"12:30\""},
      {"1.2.3", "\"1.2.3\""},
      {"10Mi", "\"10Mi\""},
      {"100m", "\"100m\""},
      {"-", "[null]"},
      {".", "\".\""},
      {"1e999", "\"1e999\""},
      {".inf", "\".inf\""},
      {".nan", "\".nan\""},
      {"2026-01-01", "\"2026-01-01\""},
      {"9223372036854775807", "9223372036854775807"},
      {"9007199254740993", "9007199254740993"},
      {"'it''s'", "\"it's\""},
      {"\"\\u00e9\\n\"", "\"\xc3\xa9\\n\""},
      {"!!str 7", "\"7\""},
      {"! 7", "\"7\""},
      {"|\n  a\n  b\n", "\"a\\nb\\n\""},
      {"|-\n  a\n  b\n", "\"a\\nb\""},
      {">\n  a\n  b\n", "\"a b\\n\""},
  };
  for (const Row& row : rows) {
    CAPTURE(std::string(row.text));
    CHECK_EQ(as_json(row.text), row.json);
  }
}

TEST_CASE("collections") {
  struct Row {
    const char *text, *json;
  };
  const Row rows[] = {
      {"", "(none)"},
      {"# nothing\n", "(none)"},
      {"---\n", "null"},
      {"a: 1\nb:\n- x\n- y: z\n", R"({"a":1,"b":["x",{"y":"z"}]})"},
      {"a:\n", R"({"a":null})"},
      {"{a: [1, {b: c}], d: }", R"({"a":[1,{"b":"c"}],"d":null})"},
      {"[]", "[]"},
      {"- - 1\n  - 2\n- 3\n", "[[1,2],3]"},
      {"1: a\ntrue: b\n", R"({"1":"a","true":"b"})"},
      {"\"a b\": 1", R"({"a b":1})"},
      {R"({"json": ["is", "YAML", 1.5, null, true]})", R"({"json":["is","YAML",1.5,null,true]})"},
  };
  for (const Row& row : rows) {
    CAPTURE(std::string(row.text));
    CHECK_EQ(as_json(row.text), row.json);
  }
}

TEST_CASE("what is refused, with line and column") {
  struct Row {
    std::string text;
    const char* message;  // or its beginning
  };
  std::string deep_flow = std::string(10000, '['), deep_block;
  for (int i = 0; i < 70; i++) deep_block += std::string(static_cast<size_t>(i), ' ') + "a:\n";
  const Row rows[] = {
      {"a: &x 1\nb: *x\n", "line 1, column 4: anchors are not allowed"},
      {"a: &x {b: 1}\n", "line 1, column 4: anchors are not allowed"},
      {"b: *x\n", "line 1, column 4: aliases are not allowed"},
      {"*x : 1\n", "line 1, column 1: aliases are not allowed"},
      {"&x [*x]", "line 1, column 1: anchors are not allowed"},
      {"a: 1\n<<: {b: 2}\n", "line 2, column 1: merge keys are not allowed"},
      {"a: !!python/object:os.system x\n",
       "line 1, column 4: tag tag:yaml.org,2002:python/object:os.system is not allowed"},
      {"a: !custom {}\n", "line 1, column 4: tags are not allowed here"},
      {"a: !!binary aGk=\n", "line 1, column 4: tag tag:yaml.org,2002:binary is not allowed"},
      {"a: 1\nb: 2\na: 3\n", "line 3, column 1: key \"a\" stands twice"},
      {"a: 1\n\"a\": 3\n", "line 2, column 1: key \"a\" stands twice"},
      {"a: 1\n---\nb: 2\n", "line 2, column 1: more than 1 document"},
      {"[a, b]: 1\n", "line 1, column 1: a key must be a plain word"},
      {"? {a: 1}\n: 2\n", "line 1, column 3: a key must be a plain word"},
      {"\ta: 1\n", "line 1, column 1: "},
      {"a:\n\t- 1\n", "line 2, column 1: "},
      {"a: [1\n", "line 2, column 1: "},
      {"a: b: c\n", "line 1, column 5: "},
      {"a: \"x\n", "line 2, column 1: "},
      {"ok: 1\nbad: \xff\n", "line 2, column 6: "},
      {"a: \x01\n", "line 1, column 4: "},
      {"a: \"\\0\"\n", "line 1, column 4: NUL character in a string"},
      {deep_flow, "line 1, column 65: nesting deeper than 64"},
      {deep_block, "line 65, column 65: nesting deeper than 64"},
  };
  for (const Row& row : rows) {
    CAPTURE(std::string(row.text));
    const std::string message = as_json(row.text);
    CHECK_MESSAGE(message.starts_with(row.message), message);
  }
}

TEST_CASE("several documents where they are asked for") {
  auto documents = yaml::parse("a: 1\n---\n---\nb: 2\n...\n---\n[3]\n", {.max_documents = 4});
  REQUIRE(documents.has_value());
  std::string all;
  for (const yaml::Node& d : *documents) all += yaml::to_json(d).ref().dump() + ";";
  CHECK_EQ(all, R"({"a":1};null;{"b":2};[3];)");
  CHECK(!yaml::parse("a\n---\nb\n---\nc\n", {.max_documents = 2}).has_value());
}

TEST_CASE("nodes know their place") {
  auto documents = yaml::parse("# c\nspec:\n  list:\n  - name: x\n    port: 80\n");
  REQUIRE(documents.has_value());
  const yaml::Node& root = documents->front();
  REQUIRE(root.find("spec") != nullptr);
  const yaml::Node& item = root.find("spec")->find("list")->items.at(0);
  const yaml::Node* port = item.find("port");
  REQUIRE(port != nullptr);
  CHECK_EQ(port->line, 5);
  CHECK_EQ(port->column, 11);
  CHECK_EQ(item.members[1].first.line, 5);
  CHECK_EQ(item.members[1].first.column, 5);
  CHECK(root.find("Spec") == nullptr);
}

TEST_CASE("dump writes what is read back as the same value") {
  struct Row {
    const char *json, *text;
  };
  const Row rows[] = {
      {R"({"a":1,"b":"x","c":[1,"y"],"d":{"e":{}},"f":[]})",
       "a: 1\nb: x\nc:\n- 1\n- \"y\"\nd:\n  e: {}\nf: []\n"},
      {R"([{"a":1,"b":[2]},[3,[4]],"s"])", "- a: 1\n  b:\n  - 2\n-\n  - 3\n  -\n    - 4\n- s\n"},
      {R"({"t":"true","n":"null","i":"1","o":"0644","y":"yes","e":"","m":"<<","v":"1.2.3","sp":"a b"})",
       "t: \"true\"\n\"n\": \"null\"\ni: \"1\"\no: \"0644\"\n\"y\": \"yes\"\ne: \"\"\nm: \"<<\"\nv: "
       "\"1.2.3\"\nsp: \"a b\"\n"},
      {"\"x\"", "x\n"},
      {"{}", "{}\n"},
  };
  for (const Row& row : rows) {
    CAPTURE(std::string(row.json));
    auto value = json::parse(row.json);
    REQUIRE(value.has_value());
    CHECK_EQ(yaml::dump(*value), row.text);
    CHECK_EQ(as_json(row.text), value->ref().dump());
  }
}

TEST_CASE("every string survives a dump, as value and as key") {
  static const char* pieces[] = {"a",
                                 "1",
                                 " ",
                                 "-",
                                 ":",
                                 "#",
                                 "\n",
                                 "\t",
                                 "'",
                                 "\"",
                                 "\\",
                                 "~",
                                 "{",
                                 "&",
                                 "*",
                                 "!",
                                 "|",
                                 "%",
                                 "@",
                                 "`",
                                 "\x01",
                                 "\x7f",
                                 "\xc2\x85",
                                 "\xc2\xa0",
                                 "\xe2\x80\xa8",
                                 "\xe2\x80\xa9",
                                 "\xef\xbb\xbf",
                                 "\xef\xbf\xbe",
                                 "\xef\xbf\xbf",
                                 "\xf0\x9f\x98\x80",
                                 "true",
                                 "no",
                                 "..."};
  SeededRandom random(3);
  for (int round = 0; round < 4000; round++) {
    std::string s;
    for (uint64_t n = random.below(5); n > 0; n--) s += pieces[random.below(std::size(pieces))];
    json::Value v = json::Value::object();
    v.ref().set("v", s);
    v.ref().set("list", json::Value::array()).push(json::Value::string(s));
    v.ref().set("k" + s, json::Value::object()).set("x", 1);
    const std::string text = yaml::dump(v);
    CAPTURE(text);
    REQUIRE_EQ(as_json(text), v.ref().dump());
  }
}
