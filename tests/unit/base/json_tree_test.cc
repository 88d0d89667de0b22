// The tree: building, changing, comparing, printing; the writer.
#include <doctest/doctest.h>

#include <limits>
#include <string>

#include "base/json.h"

using namespace limpet;
using json::Value;

namespace {

Value parsed(std::string_view text) {
  auto value = json::parse(text);
  REQUIRE_MESSAGE(value.has_value(), std::string(text));
  return std::move(*value);
}

}  // namespace

TEST_CASE("reading what is not there gives defaults") {
  const Value v = parsed(R"({"a":{"b":"c"},"n":null,"l":[1]})");
  const json::Ref r = v;
  CHECK_EQ(r["a"]["b"].str(), "c");
  CHECK_EQ(r["a"]["B"].str("none"), "none");
  CHECK_EQ(r["x"]["y"]["z"].str(), "");
  CHECK((r["x"].type() == json::Type::missing));
  CHECK((r["n"].type() == json::Type::null));
  CHECK(!r["x"]);
  CHECK(static_cast<bool>(r["n"]));
  CHECK_EQ(r["l"].at(0).integer(), 1);
  CHECK(!r["l"].at(1));
  CHECK(!r["a"].at(7));
  CHECK(!r["l"]["a"]);
  CHECK_EQ(r["a"].integer(5), 5);
  CHECK_EQ(r["a"].boolean(true), true);
  CHECK_EQ(r["missing"].size(), 0);
  CHECK_EQ(r["missing"].dump(), "");
  for (json::Ref item : r["missing"]) FAIL(item.dump());
  CHECK(!r["missing"].clone());
}

TEST_CASE("changes") {
  struct Row {
    const char* name;
    void (*change)(json::Ref);
    const char* result;
  };
  const Row rows[] = {
      {"set adds at the end", [](json::Ref r) { r.set("z", 1); }, R"({"a":1,"l":[1,2,3],"o":{},"z":1})"},
      {"set replaces in place", [](json::Ref r) { r.set("a", "x"); }, R"({"a":"x","l":[1,2,3],"o":{}})"},
      {"every kind of value",
       [](json::Ref r) {
         r.set("a", true);
         r.set("l", INT64_MAX);
         r.set("o", Value::null());
       },
       R"({"a":true,"l":9223372036854775807,"o":null})"},
      {"set returns the node", [](json::Ref r) { r.set("o", Value::object()).set("k", "v"); },
       R"({"a":1,"l":[1,2,3],"o":{"k":"v"}})"},
      {"remove", [](json::Ref r) { CHECK(r.remove("a")); }, R"({"l":[1,2,3],"o":{}})"},
      {"remove what is not there", [](json::Ref r) { CHECK_FALSE(r.remove("A")); },
       R"({"a":1,"l":[1,2,3],"o":{}})"},
      {"ensure_object keeps", [](json::Ref r) { r.ensure_object("o").set("k", 1); },
       R"({"a":1,"l":[1,2,3],"o":{"k":1}})"},
      {"ensure_object replaces another kind", [](json::Ref r) { r.ensure_object("a"); },
       R"({"a":{},"l":[1,2,3],"o":{}})"},
      {"ensure_array", [](json::Ref r) { r.ensure_array("new").push(Value::string("x")); },
       R"({"a":1,"l":[1,2,3],"o":{},"new":["x"]})"},
      {"push", [](json::Ref r) { r["l"].push(Value::null()); }, R"({"a":1,"l":[1,2,3,null],"o":{}})"},
      {"insert in front", [](json::Ref r) { r["l"].insert(0, Value::number(0)); },
       R"({"a":1,"l":[0,1,2,3],"o":{}})"},
      {"insert in the middle", [](json::Ref r) { r["l"].insert(1, Value::number(9)); },
       R"({"a":1,"l":[1,9,2,3],"o":{}})"},
      {"insert beyond the end", [](json::Ref r) { r["l"].insert(9, Value::number(9)); },
       R"({"a":1,"l":[1,2,3,9],"o":{}})"},
      {"remove_at first", [](json::Ref r) { CHECK(r["l"].remove_at(0)); }, R"({"a":1,"l":[2,3],"o":{}})"},
      {"remove_at last, then push",
       [](json::Ref r) {
         CHECK(r["l"].remove_at(2));
         r["l"].push(Value::number(8));
       },
       R"({"a":1,"l":[1,2,8],"o":{}})"},
      {"remove_at beyond", [](json::Ref r) { CHECK_FALSE(r["l"].remove_at(3)); },
       R"({"a":1,"l":[1,2,3],"o":{}})"},
      {"replace_at", [](json::Ref r) { r["l"].replace_at(1, Value::object()); },
       R"({"a":1,"l":[1,{},3],"o":{}})"},
      {"replace_at last, then push",
       [](json::Ref r) {
         r["l"].replace_at(2, Value::number(7));
         r["l"].push(Value::number(8));
       },
       R"({"a":1,"l":[1,2,7,8],"o":{}})"},
      {"set replaces the last, then adds",
       [](json::Ref r) {
         r.set("o", 1);
         r.set("p", 2);
       },
       R"({"a":1,"l":[1,2,3],"o":1,"p":2})"},
      {"take moves a value elsewhere",
       [](json::Ref r) {
         Value taken = r.take("l");
         r["o"].set("moved", std::move(taken));
       },
       R"({"a":1,"o":{"moved":[1,2,3]}})"},
      {"a member's value moves into an array",
       [](json::Ref r) {
         Value taken = r.take("a");
         r["l"].push(std::move(taken));
       },
       R"({"l":[1,2,3,1],"o":{}})"},
      {"an item moves into an object",
       [](json::Ref r) {
         Value taken = r["l"].take_at(1);
         r["o"].set("k", std::move(taken));
       },
       R"({"a":1,"l":[1,3],"o":{"k":2}})"},
  };
  for (const Row& row : rows) {
    CAPTURE(std::string(row.name));
    const Value v = parsed(R"({"a":1,"l":[1,2,3],"o":{}})");
    row.change(v);
    CHECK_EQ(v.ref().dump(), row.result);
    // What was built can be read back, and a copy is equal and independent.
    const Value again = parsed(v.ref().dump());
    CHECK(again.ref().equals(v));
    const Value copy = v.clone();
    copy.ref().set("only in the copy", 1);
    CHECK_EQ(v.ref().dump(), row.result);
  }
}

TEST_CASE("equality is deep and does not care for member order or the way a number is written") {
  struct Row {
    const char *a, *b;
    bool equal;
  };
  const Row rows[] = {
      {R"({"a":1,"b":[1,{}]})", R"({"b":[1,{}],"a":1})", true},
      {"[1,2]", "[2,1]", false},
      {"[1,2]", "[1,2,3]", false},
      {"1", "1.0", true},
      {"100", "1e2", true},
      {"9007199254740993", "9007199254740992", false},
      {"9007199254740993", "9007199254740993", true},
      {"1", "\"1\"", false},
      {"null", "false", false},
      {"{}", "[]", false},
      {"{}", "null", false},
      {R"({"a":null})", R"({"b":null})", false},
      {R"({"a":null})", "{}", false},
      {"\"a\"", "\"\\u0061\"", true},
      {"0.1", "0.10", true},
  };
  for (const Row& row : rows) {
    CAPTURE(std::string(row.a));
    CAPTURE(std::string(row.b));
    const Value a = parsed(row.a), b = parsed(row.b);
    CHECK_EQ(a.ref().equals(b), row.equal);
    CHECK_EQ(b.ref().equals(a), row.equal);
  }
}

TEST_CASE("equality of wide objects in another order costs no more than it must") {
  std::string one = "{", other = "{";
  for (int i = 0; i < 100000; i++) one += strf("\"k%d\":%d,", i, i);
  for (int i = 100000; i-- > 0;) other += strf("\"k%d\":%d,", i, i);
  const auto a = json::parse(one + "\"z\":1}"), b = json::parse(other + "\"z\":1}"),
             c = json::parse(other + "\"y\":1}"), d = json::parse(other + "\"z\":2}");
  REQUIRE(d.has_value());
  CHECK(a->ref().equals(*b));
  CHECK_FALSE(a->ref().equals(*c));
  CHECK_FALSE(a->ref().equals(*d));
}

TEST_CASE("pretty print") {
  CHECK_EQ(parsed(R"({"a":[1,{"b":null}],"e":{},"f":[]})").ref().pretty(),
           "{\n  \"a\": [\n    1,\n    {\n      \"b\": null\n    }\n  ],\n  \"e\": {},\n  \"f\": []\n}");
}

TEST_CASE("the writer puts commas by itself") {
  json::Writer w;
  w.begin_object().field("s", "a\"b").field("n", 7).field("b", false).key("l").begin_array();
  w.number(1).string("x").null().begin_object().end_object().begin_array().end_array().real(0.5).raw(
      "{\"r\":1}");
  w.end_array().key("last").null().end_object();
  const std::string text = w.take();
  CHECK_EQ(text, R"({"s":"a\"b","n":7,"b":false,"l":[1,"x",null,{},[],0.5,{"r":1}],"last":null})");
  CHECK(json::validate(text).has_value());
  json::Writer odd;
  odd.begin_array().number(INT64_MIN).real(std::numeric_limits<double>::infinity()).real(1e-7).end_array();
  CHECK_EQ(odd.text(), "[-9223372036854775808,null,1e-07]");
}

TEST_CASE("quoting makes valid JSON of any bytes") {
  struct Row {
    std::string_view in, out;
  };
  const Row rows[] = {
      {"", "\"\""},
      {"a\"\\/\n\t\r\x01\x1f", "\"a\\\"\\\\/\\n\\t\\r\\u0001\\u001f\""},
      {"h\xc3\xa9 \xf0\x9f\x98\x80", "\"h\xc3\xa9 \xf0\x9f\x98\x80\""},
      {"\xff", "\"\xef\xbf\xbd\""},
      {"a\xc3", "\"a\xef\xbf\xbd\""},
      {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
      {"\xc0\x80x", "\"\xef\xbf\xbd\xef\xbf\xbdx\""},
  };
  for (const Row& row : rows) {
    CHECK_EQ(json::quoted(row.in), row.out);
    CHECK(json::validate(json::quoted(row.in)).has_value());
  }
  for (int c = 1; c < 256; c++)
    CHECK(json::validate(json::quoted(std::string(1, static_cast<char>(c)))).has_value());
}
