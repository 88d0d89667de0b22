// How new the state is that a read of one of several servers is answered from.
#include "cluster_fixture.h"

namespace limpet::api::test {
namespace {

const std::string kMaps = "/api/v1/namespaces/default/configmaps";

std::string version_of(const Answer& a) { return a.json()["metadata"]["resourceVersion"].str(); }

// One that is acknowledged and not on the second server yet.
struct Behind {
  Cluster c;
  std::string version;
  // How long a read waits for what is still to come.
  explicit Behind(int64_t wait_ms = 60'000) : c([wait_ms](api::Options& o) { o.fresh_wait_ms = wait_ms; }) {
    c.lag(true);
    Answer made = c.a->ask({.method = "POST", .target = kMaps, .body = config_map("x")});
    REQUIRE(made.status == 201);
    version = version_of(made);
  }
};

bool tells_of_x(const Open& o) {
  return o.answer->body.find(R"("name":"x","namespace")") != std::string::npos;
}

}  // namespace

TEST_CASE("a read waits for what it asks for, and for no more") {
  struct {
    std::string target;
    bool waits;
    bool stream;  // a watch, which does not end
  } rows[] = {
      {kMaps + "/x", true, false},
      {kMaps + "/x?resourceVersion=", true, false},
      {kMaps + "/x?resourceVersion=VERSION", true, false},
      {kMaps + "/x?resourceVersion=0", false, false},
      {kMaps + "/x?resourceVersion=1", false, false},
      {kMaps, true, false},
      {kMaps + "?limit=500", true, false},
      {kMaps + "?resourceVersion=VERSION", true, false},
      {kMaps + "?resourceVersion=VERSION&limit=500", true, false},
      {kMaps + "?resourceVersion=VERSION&resourceVersionMatch=NotOlderThan", true, false},
      {kMaps + "?resourceVersion=VERSION&resourceVersionMatch=Exact", true, false},
      {kMaps + "?resourceVersion=0", false, false},
      {kMaps + "?resourceVersion=0&resourceVersionMatch=NotOlderThan", false, false},
      {kMaps + "?resourceVersion=1&resourceVersionMatch=NotOlderThan", false, false},
      {kMaps + "?watch=1", true, true},
      {kMaps + "?watch=1&resourceVersion=0", false, true},
      {kMaps + "?watch=1&allowWatchBookmarks=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
       true, true},
      {kMaps + "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=0", false,
       true},
      {kMaps + "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=VERSION",
       true, true},
  };
  for (const auto& row : rows) {
    Behind at;
    std::string target = row.target;
    if (size_t i = target.find("VERSION"); i != std::string::npos && target.find("VERSION", i) == i)
      for (; (i = target.find("=VERSION")) != std::string::npos;) target.replace(i, 8, "=" + at.version);
    CAPTURE(target);
    Open o = at.c.b->open({.target = target});
    at.c.turns(30);
    CHECK((o.answer->status == 0) == row.waits);
    at.c.lag(false);
    if (row.waits || row.stream) {
      REQUIRE(at.c.until([&] { return tells_of_x(o); }));
      CHECK(o.answer->status == 200);
    } else {
      REQUIRE(at.c.until([&] { return o.answer->over; }));
      CHECK(!tells_of_x(o));
    }
    if (!row.stream) REQUIRE(at.c.until([&] { return o.answer->over && o.answer->whole; }));
    o.exchange->cancel();
    CHECK(at.c.b->forwards == 0);
  }
}

TEST_CASE("a watch from a version that is still to come begins there") {
  Behind at;
  Open o = at.c.b->open({.target = kMaps + "?watch=1&resourceVersion=" + at.version});
  at.c.turns(30);
  CHECK(o.answer->status == 0);
  at.c.lag(false);
  REQUIRE(at.c.until([&] { return o.answer->status == 200; }));
  at.c.a->ask({.method = "POST", .target = kMaps, .body = config_map("y")});
  REQUIRE(at.c.until([&] { return !o.lines().empty(); }));
  CHECK(o.lines().size() == 1);
  CHECK(o.lines()[0].find("\"name\":\"y\"") != std::string::npos);
  o.exchange->cancel();
}

TEST_CASE("a version that does not come is refused as upstream does it") {
  for (const bool single : {false, true}) {
    Behind at(150);
    at.c.b->is_alone = single;
    const std::string now = std::to_string(at.c.b->store->durable().revision());
    for (const std::string& target :
         {kMaps + "/x?resourceVersion=" + at.version, kMaps + "?resourceVersion=" + at.version,
          kMaps + "?watch=1&resourceVersion=" + at.version}) {
      Answer a = at.c.b->ask({.target = target});
      CAPTURE(target);
      CHECK(a.status == 504);
      CHECK(a.reason() == "Timeout");
      CHECK(a.message() == "Timeout: Too large resource version: " + at.version + ", current: " + now);
      CHECK(a.json()["details"]["retryAfterSeconds"].integer() == 1);
      CHECK(a.json()["details"]["causes"].raw() ==
            R"([{"reason":"ResourceVersionTooLarge","message":"Too large resource version"}])");
      CHECK(a.headers.get("Retry-After").empty());
    }
  }
}

TEST_CASE("without a leader only what is here can be had") {
  Cluster c;
  REQUIRE(c.a->ask({.method = "POST", .target = kMaps, .body = config_map("x")}).status == 201);
  c.a->ask({.method = "POST", .target = kMaps, .body = config_map("y")});
  REQUIRE(c.until([&] { return c.caught_up(); }));
  Answer first = c.b->get(kMaps + "?limit=1");
  const std::string token = first.json()["metadata"]["continue"].str();
  REQUIRE(!token.empty());
  for (Node* n : {c.a.get(), c.b.get()}) {
    n->stand(false, 6, false);
    for (const std::string& target : {kMaps, kMaps + "/x", kMaps + "?watch=1"}) {
      Answer a = n->get(target);
      CAPTURE(target);
      CHECK(a.status == 503);
      CHECK(a.headers.get("Retry-After") == "1");
    }
    CHECK(n->get(kMaps + "?resourceVersion=0").status == 200);
    CHECK(n->get(kMaps + "/x?resourceVersion=0").status == 200);
    CHECK(n->get(kMaps + "?resourceVersion=" + version_of(first)).status == 200);
    // A list that was begun is gone on with, on any server that has its revision.
    Answer rest = n->get(kMaps + "?limit=1&continue=" + token);
    CHECK(rest.status == 200);
    CHECK(version_of(rest) == version_of(first));
  }
}

TEST_CASE("a read waits a moment for a leader") {
  Cluster c;
  c.b->stand(false, 6, false);
  Open o = c.b->open({.target = kMaps});
  c.turns(5);
  CHECK(!o.answer->over);
  c.b->stand(false, 6, true);
  REQUIRE(c.until([&] { return o.answer->over; }));
  CHECK(o.answer->status == 200);
}

TEST_CASE("a list that was begun at another server goes on at its revision") {
  Behind at;
  at.c.a->ask({.method = "POST", .target = kMaps, .body = config_map("y")});
  Answer first = at.c.a->get(kMaps + "?limit=1");
  const std::string token = first.json()["metadata"]["continue"].str();
  Open rest = at.c.b->open({.target = kMaps + "?continue=" + token});
  at.c.turns(20);
  CHECK(!rest.answer->over);
  at.c.lag(false);
  REQUIRE(at.c.until([&] { return rest.answer->over; }));
  CHECK(rest.answer->status == 200);
  CHECK(version_of(*rest.answer) == version_of(first));
  CHECK(rest.answer->body.find("\"name\":\"y\"") != std::string::npos);
}

TEST_CASE("alone, or without a cluster, a read asks nobody and takes no turn more") {
  Cluster c;
  c.a->is_alone = true;
  for (const std::string& target :
       {kMaps, kMaps + "/absent", kMaps + "?resourceVersion=0", std::string("/api/v1/namespaces/default")}) {
    Open o = c.a->open({.target = target});
    // Answered when the call returned; the exchange tells on the next turn.
    CHECK(o.exchange->answered);
    REQUIRE(c.until([&] { return o.answer->over; }));
  }
  CHECK(c.a->ask({.method = "PUT", .target = kMaps + "/absent", .body = config_map("absent")}).status == 404);
  CHECK(c.a->barriers == 0);
  c.a->is_alone = false;
  CHECK(c.a->get(kMaps).status == 200);
  CHECK(c.a->barriers == 1);
}

TEST_CASE("watches of durable kinds go on through changes of leaders with no gap") {
  Cluster c;
  Open at_a = c.a->open({.target = kMaps + "?watch=1"}), at_b = c.b->open({.target = kMaps + "?watch=1"});
  REQUIRE(c.until([&] { return at_a.lines().size() >= 1 && at_b.lines().size() >= 1; }));  // the CA
  const size_t before = at_b.lines().size();
  for (int i = 0; i < 20; ++i) {
    REQUIRE(
        c.a->ask({.method = "POST", .target = kMaps, .body = config_map("m" + std::to_string(i))}).status ==
        201);
    c.b->stand(false, 6 + static_cast<uint64_t>(i), i % 3 != 0);
    c.a->stand(i % 2 == 0, 6 + static_cast<uint64_t>(i));
    c.a->stand(true, 6 + static_cast<uint64_t>(i));
  }
  REQUIRE(c.until([&] { return at_a.lines().size() >= before + 20 && at_b.lines().size() >= before + 20; }));
  for (const Open* o : {&at_a, &at_b}) {
    CHECK(!o->answer->over);
    auto lines = o->lines();
    REQUIRE(lines.size() == before + 20);
    for (size_t i = 0; i < 20; ++i)
      CHECK(lines[before + i].find("\"name\":\"m" + std::to_string(i) + "\"") != std::string::npos);
    o->exchange->cancel();
  }
}

}  // namespace limpet::api::test
