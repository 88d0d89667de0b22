// Headers, queries, percent-decoding and the one form of a path.
#include <doctest/doctest.h>

#include "http/message.h"

using namespace limpet;
using namespace limpet::http;

TEST_CASE("headers are found whatever their case, and replaced as a whole") {
  Headers h;
  h.add("Accept", "a");
  h.add("accept", "b, Upgrade");
  CHECK(h.get("ACCEPT") == "a");
  CHECK(h.all("Accept").size() == 2);
  CHECK(h.has_token("Accept", "upgrade"));
  CHECK_FALSE(h.has_token("Accept", "upgrad"));
  CHECK_FALSE(h.has("Accep"));
  h.set("ACCEPT", "c");
  CHECK(h.all("accept").size() == 1);
  CHECK(h.get("accept") == "c");
  h.set("New", "n");
  CHECK(h.get("new") == "n");
}

TEST_CASE("percent coding") {
  CHECK(*percent_decode("a%20b%2Fc") == "a b/c");
  CHECK(*percent_decode("a+b") == "a+b");
  for (const char* bad : {"%", "%2", "%zz", "a%2", "%00", "%0", "%-1"}) {
    CAPTURE(bad);
    CHECK_FALSE(percent_decode(bad));
  }
  CHECK(percent_encode("a b/c~\xc3\xa9") == "a%20b%2Fc~%C3%A9");
}

TEST_CASE("queries keep their order and repetitions") {
  const auto q = parse_query("command=sh&command=-c&x=a+b%26&flag&=v&&y=1=2");
  REQUIRE(q);
  CHECK(q->all("command") == std::vector<std::string_view>{"sh", "-c"});
  CHECK(q->get("x") == "a b&");
  CHECK(q->has("flag"));
  CHECK(q->get("flag") == "");
  CHECK(q->get("y") == "1=2");
  CHECK_FALSE(q->has("z"));
  CHECK_FALSE(parse_query("a=%g0"));
  std::string many;
  for (int i = 0; i < 1001; ++i) many += "a=b&";
  CHECK(parse_query(many).error().code == Errc::too_large);
}

TEST_CASE("targets have one path form") {
  struct Row {
    const char* target;
    const char* path;  // null: refused
  };
  const Row rows[] = {
      {"/", "/"},
      {"/api/v1/", "/api/v1"},
      {"/api/v1?watch=1", "/api/v1"},
      {"/a%20b", "/a b"},
      {"http://host:1/x?y", "/x"},
      {"http://host", "/"},
      {"http://host?q=1", "/"},
      {"/?q", "/"},
      {"//", nullptr},
      {"/a//b", nullptr},
      {"/a/./b", nullptr},
      {"/a/../b", nullptr},
      {"/..", nullptr},
      {"/%2e%2e/x", nullptr},
      {"/a%2fb", nullptr},
      {"/a%00", nullptr},
      {"/a%", nullptr},
      {"/a?b=%zz", nullptr},
      {"host:443", nullptr},
  };
  for (const Row& row : rows) {
    CAPTURE(row.target);
    std::string path;
    Query query;
    const auto split = split_target(row.target, &path, &query);
    CHECK(split.has_value() == (row.path != nullptr));
    if (split && row.path != nullptr) CHECK(path == row.path);
  }
}
