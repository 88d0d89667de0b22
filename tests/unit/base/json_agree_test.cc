// Tree, cursor and writer are three views of one value: random values must look the same through each of
// them.
#include <doctest/doctest.h>

#include <string>

#include "base/json.h"
#include "base/random.h"

using namespace limpet;

namespace {

std::string random_string(Random& r) {
  static const char* pieces[] = {
      "a", "Z", " ", "\"", "\\", "/", "\n",  "\x01", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
      "{", "}", "[", "]",  ",",  ":", "\x7f"};
  std::string out;
  for (uint64_t n = r.below(6); n > 0; n--) out += pieces[r.below(std::size(pieces))];
  return out;
}

json::Value random_value(Random& r, int depth) {
  switch (r.below(depth > 0 ? 8 : 6)) {
    case 0:
      return json::Value::null();
    case 1:
      return json::Value::boolean(r.below(2) == 1);
    case 2:
      return json::Value::number(static_cast<int64_t>(r.u64()));
    case 3:
      return json::Value::number(static_cast<int64_t>(r.below(1000)) - 500);
    case 4:
      return json::Value::real(static_cast<double>(r.below(1 << 20)) / 1024);
    case 5:
      return json::Value::string(random_string(r));
    case 6: {
      json::Value v = json::Value::array();
      for (uint64_t n = r.below(5); n > 0; n--) v.ref().push(random_value(r, depth - 1));
      return v;
    }
    default: {
      json::Value v = json::Value::object();
      for (uint64_t n = r.below(5); n > 0; n--) v.ref().set(random_string(r), random_value(r, depth - 1));
      return v;
    }
  }
}

// Sprinkles white space where JSON allows it, so that the cursor meets text it did not write itself.
std::string spaced(std::string_view compact, Random& r) {
  static const char* spaces[] = {"", "", " ", "\n  ", "\t", "\r\n"};
  std::string out;
  bool in_string = false;
  for (size_t i = 0; i < compact.size(); i++) {
    const char c = compact[i];
    const bool structural = !in_string && std::string_view("{}[],:").find(c) != std::string_view::npos;
    if (structural) out += spaces[r.below(std::size(spaces))];
    out += c;
    if (structural) out += spaces[r.below(std::size(spaces))];
    if (in_string && c == '\\') {
      out += compact[++i];
    } else if (c == '"') {
      in_string = !in_string;
    }
  }
  return out;
}

void compare(json::Ref tree, const json::Cursor& cursor) {
  REQUIRE((tree.type() == cursor.type()));
  REQUIRE_EQ(tree.size(), cursor.size());
  switch (tree.type()) {
    case json::Type::string:
      REQUIRE_EQ(std::string(tree.str()), cursor.str());
      REQUIRE(cursor.str_equals(tree.str()));
      REQUIRE_FALSE(cursor.str_equals(std::string(tree.str()) + "x"));
      break;
    case json::Type::boolean:
      REQUIRE_EQ(tree.boolean(), cursor.boolean());
      break;
    case json::Type::number:
      REQUIRE_EQ(tree.integer(-1), cursor.integer(-1));
      REQUIRE_EQ(tree.real(), cursor.real());
      break;
    case json::Type::object: {
      for (json::Ref member : tree) compare(member, cursor[member.key()]);
      auto next = tree.begin();
      cursor.each([&](std::string_view key, const json::Cursor& value) {
        REQUIRE_EQ(key, (*next).key());
        compare(*next, value);
        ++next;
        return true;
      });
      REQUIRE_FALSE(next != tree.end());
      REQUIRE(!cursor["no such key"]);
      break;
    }
    case json::Type::array:
      for (size_t i = 0; i < tree.size(); i++) compare(tree.at(i), cursor.at(i));
      REQUIRE(!cursor.at(tree.size()));
      break;
    default:
      break;
  }
}

void write(json::Writer& w, const json::Cursor& c) {
  switch (c.type()) {
    case json::Type::object:
      w.begin_object();
      c.each([&](std::string_view key, const json::Cursor& value) {
        w.key(key);
        write(w, value);
        return true;
      });
      w.end_object();
      break;
    case json::Type::array:
      w.begin_array();
      c.each([&](std::string_view, const json::Cursor& value) {
        write(w, value);
        return true;
      });
      w.end_array();
      break;
    case json::Type::string:
      w.string(c.str());
      break;
    case json::Type::boolean:
      w.boolean(c.boolean());
      break;
    case json::Type::number:
      w.raw(c.raw());
      break;
    default:
      w.null();
      break;
  }
}

}  // namespace

TEST_CASE("tree, cursor and writer agree on random values") {
  for (uint64_t seed = 1; seed <= 400; seed++) {
    CAPTURE(seed);
    SeededRandom random(seed);
    const json::Value value = random_value(random, 5);
    const std::string compact = value.ref().dump();
    for (const std::string& text : {compact, spaced(compact, random), value.ref().pretty()}) {
      auto again = json::parse(text);
      REQUIRE(again.has_value());
      REQUIRE(again->ref().equals(value));
      REQUIRE_EQ(again->ref().dump(), compact);
      compare(*again, json::Cursor(text));
      json::Writer w;
      write(w, json::Cursor(text));
      REQUIRE_EQ(w.text(), compact);
    }
  }
}

TEST_CASE("a cursor over damaged text gives something, and never reads outside of it") {
  SeededRandom random(7);
  const std::string whole = R"({"a":{"b":[1,"x\"y",null,{"c":true}]},"d":-1.5e3,"e":"\u00e9"})";
  for (int round = 0; round < 20000; round++) {
    std::string text = whole.substr(0, random.below(whole.size() + 1));
    for (uint64_t n = random.below(4); n > 0 && !text.empty(); n--) {
      text[random.below(text.size())] = "{}[]\",:\\ 1a\x80"[random.below(12)];
    }
    // On the heap without a byte to spare, so that the sanitizer sees one read too many.
    const std::string exact(text.begin(), text.end());
    const json::Cursor c(exact);
    (void)c["a"]["b"].at(3)["c"].boolean();
    (void)c["a"]["b"].at(1).str();
    (void)c["d"].real();
    (void)c["e"].str_equals("x");
    size_t steps = 0;
    c.each([&](std::string_view, const json::Cursor& value) {
      (void)value.str();
      (void)value.size();
      (void)value.integer();
      return ++steps < 100;
    });
    CHECK_LT(steps, 100);
  }
}
