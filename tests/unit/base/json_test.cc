// The validating reader: what it accepts, what it refuses, and at which byte.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "base/json.h"

using namespace limpet;
using namespace std::string_literals;

namespace {

std::string verdict(std::string_view text, const json::Limits& limits = {}) {
  const auto checked = json::validate(text, limits);
  const auto parsed = json::parse(text, limits);
  // The two must never differ: one guards the other.
  REQUIRE_EQ(checked.has_value(), parsed.has_value());
  if (!checked) CHECK_EQ(checked.error().message, parsed.error().message);
  return checked ? "good" : checked.error().message;
}

std::string nested(size_t depth, char open, char close) {
  return std::string(depth, open) + std::string(depth, close);
}

}  // namespace

TEST_CASE("values that are JSON") {
  const std::string texts[] = {"null",
                               "true",
                               "false",
                               "0",
                               "-0",
                               "1",
                               "-1",
                               "1.5",
                               "1e5",
                               "1E+5",
                               "1e-5",
                               "0.1e1",
                               "\"\"",
                               "\"a\"",
                               "[]",
                               "{}",
                               " [ ] ",
                               "\t{\r\n}\n",
                               "[1,2,3]",
                               "{\"a\":1,\"b\":{\"c\":[]}}",
                               "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
                               "\"\\u0041\"",
                               "\"\\ud83d\\ude00\"",
                               "\"\xf0\x9f\x98\x80\"",
                               "\"\xc2\x80\"",
                               "\"\xed\x9f\xbf\"",
                               "\"\xee\x80\x80\"",
                               "\"\xf4\x8f\xbf\xbf\"",
                               "\"\x7f\"",
                               "9223372036854775807",
                               "-9223372036854775808",
                               "18446744073709551616",
                               "1e308",
                               "1e-400",
                               "{\"\":0}",
                               "{\"A\":1,\"a\":2}",
                               nested(64, '[', ']')};
  for (const std::string& text : texts) {
    CAPTURE(text);
    CHECK_EQ(verdict(text), "good");
  }
}

TEST_CASE("values that are not, with the byte") {
  struct Row {
    std::string text;
    const char* message;
  };
  const Row rows[] = {
      {"", "unexpected end at byte 0"},
      {"  ", "unexpected end at byte 2"},
      {"tru", "unexpected character at byte 0"},
      {"True", "unexpected character at byte 0"},
      {"nul", "unexpected character at byte 0"},
      {"nulll", "unexpected bytes after the JSON value at byte 4"},
      {"NaN", "unexpected character at byte 0"},
      {"Infinity", "unexpected character at byte 0"},
      {"'a'", "unexpected character at byte 0"},
      {"{} {}", "unexpected bytes after the JSON value at byte 3"},
      {"[1]x", "unexpected bytes after the JSON value at byte 3"},
      {"1\0"s, "unexpected bytes after the JSON value at byte 1"},
      {"\xef\xbb\xbf{}", "unexpected character at byte 0"},
      {"[", "unexpected end at byte 1"},
      {"[1", "expected ',' or ']' at byte 2"},
      {"[1,", "unexpected end at byte 3"},
      {"[1,]", "unexpected character at byte 3"},
      {"[,1]", "unexpected character at byte 1"},
      {"[1 2]", "expected ',' or ']' at byte 3"},
      {"[1}", "expected ',' or ']' at byte 2"},
      {"{", "expected a string at byte 1"},
      {"{a:1}", "expected a string at byte 1"},
      {"{\"a\"}", "expected ':' at byte 4"},
      {"{\"a\":}", "unexpected character at byte 5"},
      {"{\"a\":1,}", "expected a string at byte 7"},
      {"{\"a\":1 \"b\":2}", "expected ',' or '}' at byte 7"},
      {"{1:2}", "expected a string at byte 1"},
      {"// c\n1", "unexpected character at byte 0"},
      {"[1] // c", "unexpected bytes after the JSON value at byte 4"},
      {"01", "number with a leading zero at byte 0"},
      {"-01", "number with a leading zero at byte 0"},
      {"00", "number with a leading zero at byte 0"},
      {"-", "bad number at byte 0"},
      {"+1", "unexpected character at byte 0"},
      {".5", "unexpected character at byte 0"},
      {"1.", "bad number at byte 0"},
      {"1.e5", "bad number at byte 0"},
      {"1e", "bad number at byte 0"},
      {"1e+", "bad number at byte 0"},
      {"0x10", "unexpected bytes after the JSON value at byte 1"},
      {"1e400", "number out of range at byte 0"},
      {"-1e400", "number out of range at byte 0"},
      {"[0,1e999999999999]", "number out of range at byte 3"},
      {"\"", "string does not end at byte 0"},
      {"\"a", "string does not end at byte 0"},
      {"\"a\\", "string does not end at byte 2"},
      {"\"\\x\"", "bad escape at byte 1"},
      {"\"\\\0\""s, "bad escape at byte 1"},
      {"\"\\u12\"", "bad \\u escape at byte 1"},
      {"\"\\u12G4\"", "bad \\u escape at byte 1"},
      {"\"\\u0000\"", "NUL character (\\u0000) in a string at byte 1"},
      {"\"\\ud800\"", "unpaired surrogate at byte 1"},
      {"\"\\ud800x\"", "unpaired surrogate at byte 1"},
      {"\"\\ud800\\u0041\"", "unpaired surrogate at byte 1"},
      {"\"\\ud800\\ud800\"", "unpaired surrogate at byte 1"},
      {"\"\\udc00\"", "unpaired surrogate at byte 1"},
      {"\"a\nb\"", "control character in a string at byte 2"},
      {"\"\0\""s, "control character in a string at byte 1"},
      {"\"\x1f\"", "control character in a string at byte 1"},
      {"{\"a\":1,\"a\":2}", "duplicate key \"a\" at byte 7"},
      {"{\"a\":1,\"\\u0061\":2}", "duplicate key \"a\" at byte 7"},
      {"{\"x\":{\"b\":0,\"b\":0}}", "duplicate key \"b\" at byte 12"},
  };
  for (const Row& row : rows) {
    CAPTURE(std::string(row.text));
    CHECK_EQ(verdict(row.text), row.message);
  }
}

TEST_CASE("bytes that are not UTF-8 are refused in strings and in keys") {
  const std::string bad[] = {"\x80",
                             "\xbf",
                             "\xc0\x80",
                             "\xc1\xbf",
                             "\xc2",
                             "\xc2\x41",
                             "\xe0\x80\x80",
                             "\xe0\x9f\xbf",
                             "\xe2\x82",
                             "\xed\xa0\x80",
                             "\xed\xbf\xbf",
                             "\xf0\x80\x80\x80",
                             "\xf0\x8f\xbf\xbf",
                             "\xf0\x9f\x98",
                             "\xf4\x90\x80\x80",
                             "\xf5\x80\x80\x80",
                             "\xfe",
                             "\xff"};
  for (const std::string& bytes : bad) {
    CAPTURE(bytes);
    CHECK_EQ(verdict("\"x" + bytes + "\""), "invalid UTF-8 at byte 2");
    CHECK_EQ(verdict("{\"" + bytes + "\":1}"), "invalid UTF-8 at byte 2");
  }
}

TEST_CASE("depth has a limit, and beyond it nothing is recursed into") {
  for (size_t depth : {65u, 1000u, 1000000u}) {
    CHECK_EQ(verdict(nested(depth, '[', ']')), "nesting deeper than 64 at byte 64");
  }
  std::string objects;
  for (int i = 0; i < 64; i++) objects += "{\"a\":";
  CHECK_EQ(verdict(objects + "1" + std::string(64, '}')), "good");
  CHECK_EQ(verdict(objects + "[" + "]" + std::string(64, '}')), "nesting deeper than 64 at byte 320");
  CHECK_EQ(verdict("[[1]]", {.max_depth = 2}), "good");
  CHECK_EQ(verdict("[[[1]]]", {.max_depth = 2}), "nesting deeper than 2 at byte 2");
  CHECK_EQ(verdict("1", {.max_depth = 0}), "good");
}

TEST_CASE("repeated keys that are allowed are reported by path, and the last value wins") {
  struct Row {
    const char *text, *result;
    std::vector<std::string> paths;
  };
  const Row rows[] = {
      {R"({"a":1})", R"({"a":1})", {}},
      {R"({"a":1,"b":2,"a":3})", R"({"b":2,"a":3})", {"a"}},
      {R"({"a":1,"a":2,"a":3})", R"({"a":3})", {"a", "a"}},
      {R"({"spec":{"containers":[{"name":"x"},{"name":"y","name":"z"}]}})",
       R"({"spec":{"containers":[{"name":"x"},{"name":"z"}]}})",
       {"spec.containers[1].name"}},
      {R"([[{"k":{"l":1},"k":null}]])", R"([[{"k":null}]])", {"[0][0].k"}},
  };
  for (const Row& row : rows) {
    CAPTURE(std::string(row.text));
    std::vector<std::string> paths;
    auto value = json::parse(row.text, {.allow_duplicates = true}, &paths);
    REQUIRE(value.has_value());
    CHECK_EQ(value->ref().dump(), row.result);
    CHECK((paths == row.paths));
  }
}

TEST_CASE("many repeated keys cost no more than many keys") {
  // Every key of the first half comes again in reverse order: quadratic work would take minutes here.
  std::string text = "{";
  for (int i = 0; i < 100000; i++) text += strf("\"k%d\":1,", i);
  for (int i = 100000; i-- > 0;) text += strf("\"k%d\":2%s", i, i > 0 ? "," : "}");
  auto value = json::parse(text, {.allow_duplicates = true});
  REQUIRE(value.has_value());
  CHECK_EQ(value->ref().size(), 100000);
  CHECK_EQ(value->ref().begin().operator*().key(), "k99999");
}

TEST_CASE("a number keeps the value it was written with") {
  struct Row {
    const char* text;
    bool integral;
    int64_t integer;
    double real;
    const char* dumped;
  };
  const Row rows[] = {
      {"0", true, 0, 0, "0"},
      {"-7", true, -7, -7, "-7"},
      {"9007199254740992", true, 9007199254740992, 9007199254740992.0, "9007199254740992"},
      {"9007199254740993", true, 9007199254740993, 9007199254740992.0, "9007199254740993"},
      {"-9007199254740993", true, -9007199254740993, -9007199254740992.0, "-9007199254740993"},
      {"9223372036854775807", true, INT64_MAX, 9223372036854775808.0, "9223372036854775807"},
      {"-9223372036854775808", true, INT64_MIN, -9223372036854775808.0, "-9223372036854775808"},
      {"9223372036854775808", false, 0, 9223372036854775808.0, "9223372036854775808"},
      {"18446744073709551615", false, 0, 18446744073709551615.0, "18446744073709551615"},
      {"1.0", true, 1, 1, "1"},
      {"1e2", true, 100, 100, "100"},
      {"1.5", false, 0, 1.5, "1.5"},
      {"0.1", false, 0, 0.1, "0.1"},
      {"0.10000000000000000001", false, 0, 0.1, "0.10000000000000000001"},
      {"1e300", false, 0, 1e300, "1e+300"},
      {"3.141592653589793238", false, 0, 3.141592653589793, "3.141592653589793238"},
  };
  for (const Row& row : rows) {
    CAPTURE(std::string(row.text));
    auto value = json::parse(row.text);
    REQUIRE(value.has_value());
    const json::Ref ref = value->ref();
    const json::Cursor cursor(row.text);
    CHECK_EQ(ref.exact_integer().has_value(), row.integral);
    CHECK_EQ(ref.integer(-99), row.integral ? row.integer : -99);
    CHECK_EQ(cursor.integer(-99), row.integral ? row.integer : -99);
    CHECK_EQ(ref.real(), row.real);
    CHECK_EQ(cursor.real(), row.real);
    CHECK_EQ(ref.dump(), row.dumped);
    CHECK_EQ(ref.clone().ref().dump(), row.dumped);
  }
}
