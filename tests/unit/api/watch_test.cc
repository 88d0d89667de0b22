// Watches and paged lists: order, transitions, bookmarks, what is too old and what is not there yet.
#include "fixture.h"

namespace limpet::api::test {
namespace {

const std::string kMaps = "/api/v1/namespaces/default/configmaps";

std::string labelled(const std::string& name, const std::string& label, const std::string& value) {
  return R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":")" + name + R"(","labels":{"a":")" +
         label + R"("}},"data":{"v":")" + value + R"("}})";
}

std::string type_of(const std::string& line) { return json::Cursor(line)["type"].str(); }
std::string name_of(const std::string& line) {
  return json::Cursor(line)["object"]["metadata"]["name"].str();
}
std::string version_of(const std::string& line) {
  return json::Cursor(line)["object"]["metadata"]["resourceVersion"].str();
}
std::string list_version(const Answer& a) { return a.json()["metadata"]["resourceVersion"].str(); }

}  // namespace

TEST_CASE("a watch from the list's version tells each change once and in order") {
  Server s;
  Answer list = s.get(kMaps);
  auto w = s.open({.target = kMaps + "?watch=true&resourceVersion=" + list_version(list)});
  s.post(kMaps, labelled("x", "1", "1"));
  s.put(kMaps + "/x", labelled("x", "1", "2"));
  s.put(kMaps + "/x", labelled("x", "1", "2"));  // changes nothing: no event
  s.remove(kMaps + "/x");
  REQUIRE(s.until([&] { return w.lines().size() >= 3; }));
  auto lines = w.lines();
  CHECK(lines.size() == 3);
  CHECK(type_of(lines[0]) == "ADDED");
  CHECK(type_of(lines[1]) == "MODIFIED");
  CHECK(type_of(lines[2]) == "DELETED");
  CHECK(std::stol(version_of(lines[0])) < std::stol(version_of(lines[1])));
  CHECK(std::stol(version_of(lines[1])) < std::stol(version_of(lines[2])));
  for (const std::string& l : lines) CHECK(json::validate(l));
  w.exchange->cancel();
}

TEST_CASE("selectors turn changes into appearances and disappearances") {
  Server s;
  auto w = s.open(
      {.target = kMaps + "?watch=1&labelSelector=a%3D1&resourceVersion=" + list_version(s.get(kMaps))});
  s.post(kMaps, labelled("x", "2", "1"));
  s.put(kMaps + "/x", labelled("x", "1", "1"));
  s.put(kMaps + "/x", labelled("x", "1", "2"));
  s.put(kMaps + "/x", labelled("x", "2", "2"));
  s.remove(kMaps + "/x");
  s.post(kMaps, labelled("y", "1", "1"));
  REQUIRE(s.until([&] { return w.lines().size() >= 4; }));
  auto lines = w.lines();
  CHECK(lines.size() == 4);
  CHECK(type_of(lines[0]) == "ADDED");
  CHECK(type_of(lines[1]) == "MODIFIED");
  CHECK(type_of(lines[2]) == "DELETED");
  CHECK(name_of(lines[3]) == "y");
  w.exchange->cancel();
}

TEST_CASE("where a watch starts") {
  Server s;
  s.post(kMaps, labelled("x", "1", "1"));
  for (const char* rv : {"", "&resourceVersion=0"}) {
    auto w = s.open({.target = kMaps + "?watch=true&fieldSelector=metadata.name%3Dx" + rv});
    REQUIRE(s.until([&] { return w.lines().size() == 1; }));
    CHECK(type_of(w.lines()[0]) == "ADDED");
    CHECK(name_of(w.lines()[0]) == "x");
    w.exchange->cancel();
  }
  Answer future = s.get(kMaps + "?watch=true&resourceVersion=99999");
  CHECK(future.status == 504);
  CHECK(future.message().find("Too large resource version: 99999, current:") != std::string::npos);
  CHECK_FALSE(future.headers.has("Retry-After"));
  CHECK(s.get(kMaps + "?resourceVersion=99999").status == 504);
  CHECK(s.get(kMaps + "?watch=true&resourceVersion=abc").status == 422);
}

TEST_CASE("watch-list ends its first part with a bookmark") {
  Server s;
  s.post(kMaps, labelled("x", "1", "1"));
  const std::string q = "?watch=true&allowWatchBookmarks=true&sendInitialEvents=true";
  CHECK(s.get(kMaps + q).status == 422);
  auto w = s.open({.target = kMaps + q + "&resourceVersionMatch=NotOlderThan"});
  REQUIRE(s.until([&] { return w.lines().size() >= 3; }));
  auto lines = w.lines();
  CHECK(type_of(lines[0]) == "ADDED");
  CHECK(type_of(lines[2]) == "BOOKMARK");
  json::Cursor mark = json::Cursor(lines[2])["object"];
  CHECK(mark["kind"].str() == "ConfigMap");
  CHECK(mark["metadata"]["annotations"]["k8s.io/initial-events-end"].str() == "true");
  CHECK(!mark["metadata"]["resourceVersion"].str().empty());
  s.post(kMaps, labelled("y", "1", "1"));
  REQUIRE(s.until([&] { return w.lines().size() >= 4; }));
  CHECK(name_of(w.lines()[3]) == "y");
  w.exchange->cancel();
}

TEST_CASE("a table watch sends rows, columns once") {
  Server s;
  auto w = s.open({.target = kMaps + "?watch=true&resourceVersion=0",
                   .accept = "application/json;as=Table;v=v1;g=meta.k8s.io"});
  REQUIRE(s.until([&] { return w.lines().size() == 1; }));
  s.post(kMaps, labelled("y", "1", "1"));
  REQUIRE(s.until([&] { return w.lines().size() == 2; }));
  auto lines = w.lines();
  CHECK(json::Cursor(lines[0])["object"]["columnDefinitions"].size() == 3);
  CHECK(json::Cursor(lines[1])["object"]["columnDefinitions"].size() == 0);
  CHECK(json::Cursor(lines[1])["object"]["rows"].at(0)["cells"].at(0).str() == "y");
  w.exchange->cancel();
}

TEST_CASE("a watch that fell behind hears 410, and stopping ends watches in good order") {
  Server s(nullptr, nullptr,
           {.path = "", .cache_bytes = 4u << 20, .history_events = 64, .history_revisions = 50});
  std::string old = list_version(s.get(kMaps));
  s.post(kMaps, labelled("n", "1", "1"));
  for (int i = 0; i < 3000 && s.store->durable().compacted_revision() <= std::stol(old); ++i) {
    s.put(kMaps + "/n", labelled("n", "1", std::to_string(i)));
  }
  REQUIRE(s.store->durable().compacted_revision() > std::stol(old));
  Answer w = s.get(kMaps + "?watch=true&resourceVersion=" + old);
  CHECK(type_of(w.body) == "ERROR");
  CHECK(json::Cursor(w.body)["object"]["code"].integer() == 410);
  CHECK(json::Cursor(w.body)["object"]["reason"].str() == "Expired");
  auto open = s.open({.target = kMaps + "?watch=true&resourceVersion=" + list_version(s.get(kMaps))});
  s.api->stop();
  REQUIRE(s.until([&] { return open.answer->over; }));
  CHECK(open.answer->whole);
  CHECK(s.get(kMaps).status == 503);
}

TEST_CASE("the time of a watch") {
  Server s;
  auto w = s.open({.target = kMaps + "?watch=true&timeoutSeconds=1&resourceVersion=0"});
  s.clock.advance_ms(1000);
  REQUIRE(s.until([&] { return w.answer->over; }));
  CHECK(w.answer->whole);
}

TEST_CASE("pages are of one moment") {
  Server s;
  for (int i = 0; i < 9; ++i) s.post(kMaps, labelled("n" + std::to_string(i), i % 2 ? "odd" : "even", "1"));
  Answer first = s.get(kMaps + "?limit=4");  // with the CA map there are ten
  CHECK(first.json()["items"].size() == 4);
  CHECK(first.json()["metadata"]["remainingItemCount"].integer() == 6);
  std::string token = first.json()["metadata"]["continue"].str();
  REQUIRE(!token.empty());
  s.remove(kMaps + "/n8");
  s.post(kMaps, labelled("n5a", "odd", "1"));
  Answer second = s.get(kMaps + "?limit=100&continue=" + token);
  CHECK(second.json()["items"].size() == 6);
  CHECK(list_version(first) == list_version(second));
  CHECK(second.body.find("n5a") == std::string::npos);
  CHECK(second.body.find("n8") != std::string::npos);
  CHECK(second.json()["metadata"]["continue"].str().empty());
  // Bound to what it was made for.
  CHECK(s.get(kMaps + "?continue=" + token + "&labelSelector=a%3Dodd").status == 400);
  CHECK(s.get("/api/v1/namespaces/default/secrets?continue=" + token).status == 400);
  CHECK(s.get(kMaps + "?continue=AAAA").status == 400);
  CHECK(s.get(kMaps + "?limit=-1").status == 400);
  CHECK(s.get(kMaps + "?resourceVersionMatch=Exact").status == 422);
  Answer exact = s.get(kMaps + "?resourceVersionMatch=Exact&resourceVersion=" + list_version(first));
  CHECK(exact.json()["items"].size() == 10);
  Answer odd = s.get(kMaps + "?labelSelector=a%3Dodd&limit=2");
  CHECK(odd.json()["items"].size() == 2);
  CHECK_FALSE(odd.json()["metadata"]["remainingItemCount"]);
}

TEST_CASE("an expired page names a way on") {
  Server s(nullptr, nullptr,
           {.path = "", .cache_bytes = 4u << 20, .history_events = 64, .history_revisions = 50});
  for (int i = 10; i < 40; ++i) s.post(kMaps, labelled("n" + std::to_string(i), "1", "1"));
  std::string token = s.get(kMaps + "?limit=5").json()["metadata"]["continue"].str();
  for (int i = 0; i < 300; ++i) s.put(kMaps + "/n10", labelled("n10", "1", std::to_string(i)));
  Answer gone = s.get(kMaps + "?limit=5&continue=" + token);
  CHECK(gone.status == 410);
  CHECK(gone.reason() == "Expired");
  std::string fresh = gone.json()["metadata"]["continue"].str();
  REQUIRE(!fresh.empty());
  Answer rest = s.get(kMaps + "?continue=" + fresh);
  CHECK(rest.status == 200);
  CHECK(rest.json()["items"].size() == 26);
}

TEST_CASE("a long list comes in pieces and is whole") {
  Server s;
  for (int i = 0; i < 450; ++i) s.post(kMaps, labelled("n" + std::to_string(i), "1", "1"));
  Answer all = s.get(kMaps);
  CHECK(all.json()["items"].size() == 451);
  CHECK(json::validate(all.body));
  Answer table = s.ask({.target = kMaps, .accept = "application/json;as=Table;v=v1;g=meta.k8s.io"});
  CHECK(table.json()["rows"].size() == 451);
}

}  // namespace limpet::api::test
