// The booleans of queries, as upstream converts them: whatever is not "0" or "false" is true.
#include <optional>

#include "api/removal.h"
#include "api/request_info.h"
#include "fixture.h"

namespace limpet::api::test {
namespace {

const std::string kMaps = "/api/v1/namespaces/default/configmaps";

struct Row {
  const char* query;  // after the name of the parameter
  bool value;
};
constexpr Row kRows[] = {
    {"=true", true},   {"=1", true},      {"=True", true},   {"", true},        {"=", true},
    {"=maybe", true},  {"=no", true},     {"=2", true},      {"=00", true},     {"=f", true},
    {"=false", false}, {"=False", false}, {"=FALSE", false}, {"=fAlSe", false}, {"=0", false},
};

}  // namespace

TEST_CASE("booleans of a query") {
  CHECK_FALSE(truthy(http::Query{}, "watch"));
  for (const Row& row : kRows) {
    CAPTURE(row.query);
    CHECK(truthy(*http::parse_query("watch" + std::string(row.query)), "watch") == row.value);
    http::Request r;
    r.method = "GET";
    REQUIRE(http::split_target(kMaps + "?watch" + row.query, &r.path, &r.query));
    CHECK(parse_request_info(r).verb == (row.value ? "watch" : "list"));
  }
  // The first of several counts.
  CHECK_FALSE(truthy(*http::parse_query("watch=0&watch=1"), "watch"));
}

TEST_CASE("watch=maybe is a watch, and its booleans are read alike") {
  Server s;
  for (const Row& row : kRows) {
    CAPTURE(row.query);
    if (row.value) {
      auto w = s.open({.target = kMaps + "?resourceVersion=0&watch" + row.query});
      REQUIRE(s.until([&] { return !w.lines().empty(); }));
      CHECK(json::Cursor(w.lines()[0])["type"].str() == "ADDED");
      w.exchange->cancel();
    } else {
      CHECK(s.get(kMaps + "?watch" + row.query).json()["kind"].str() == "ConfigMapList");
    }
    // That it is given at all asks for the match, as upstream's validation has it.
    CHECK(s.get(kMaps + "?watch=1&sendInitialEvents" + row.query).status == 422);
  }
}

TEST_CASE("orphanDependents in the query of a deletion") {
  Server s;
  for (const Row& row : kRows) {
    CAPTURE(row.query);
    REQUIRE(s.post(kMaps, config_map("a")).status == 201);
    Answer a = s.remove(kMaps + "/a?orphanDependents" + row.query);
    CHECK(a.status == 200);
    // An object whose dependents are orphaned stays until that is done.
    CHECK((a.body.find(kOrphanFinalizer) != std::string::npos) == row.value);
    REQUIRE(s.until([&] { return s.get(kMaps + "/a").status == 404; }));
    CHECK(s.remove(kMaps + "/a?propagationPolicy=Orphan&orphanDependents" + row.query).status == 422);
  }
}

}  // namespace limpet::api::test
