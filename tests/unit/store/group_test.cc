// Several real stores as one raft group: what one acknowledges all have, whoever joins is sent the state, and
// whoever was away catches up.
#include <doctest/doctest.h>

#include <algorithm>

#include "base/random.h"
#include "cluster.h"

using namespace limpet;
using namespace limpet::store;
using namespace limpet::store::test;

TEST_CASE("whoever joins is sent the state, and what is acknowledged from then on is everywhere") {
  Cluster c;
  // More than one chunk, a deletion that is the newest row, and values that are large.
  for (int i = 0; i < 300; ++i) REQUIRE(c.write({put(strf("k%03d", i), std::string(500, 'a'))}));
  REQUIRE(c.write({put("large", std::string(200 << 10, 'b'))}));
  REQUIRE(c.write({del("k007")}));
  const Revision before = c.durable(0).revision();
  const size_t second = c.join();
  const size_t third = c.join();
  CHECK(c.consensus(0).status().membership.voters.size() == 3);
  for (const size_t n : {second, third}) {
    CHECK(c.durable(n).revision() == before);
    CHECK(c.durable(n).count("") == 300);
    CHECK(c.value(n, "large").size() == 200 << 10);
    CHECK(c.value(n, "k007") == "<none>");
    CHECK(c.value(n, "k008").size() == 500);
    // What was before is history that it does not have.
    CHECK(c.durable(n).compacted_revision() == before);
  }
  for (int i = 0; i < 20; ++i) REQUIRE(c.write({put("k008", std::to_string(i))}));
  for (const size_t n : {second, third}) {
    REQUIRE(c.until([&] { return c.has_all(n); }));
    CHECK(c.value(n, "k008") == "19");
  }
  CHECK(c.fatal.empty());
}

TEST_CASE("a write is acknowledged by a majority or not at all, and a leader that is lost is replaced") {
  Cluster c;
  c.join();
  c.join();
  REQUIRE(c.write({put("a", "1")}));
  const size_t old = c.leader();
  std::optional<Result<Committed>> lost;
  c.cut.insert(c.id(old));
  c.durable(old).commit({{put("b", "by nobody")}}, [&](Result<Committed> r) { lost = std::move(r); });
  REQUIRE(c.write({put("a", "2")}));
  const size_t now = c.leader();
  CHECK(now != old);
  CHECK_FALSE(lost);  // nobody knows yet
  c.cut.clear();
  REQUIRE(c.until([&] { return c.has_all(old); }));
  REQUIRE(c.until([&] { return lost.has_value(); }));
  REQUIRE_FALSE(*lost);
  CHECK(lost->error().code == Errc::unavailable);  // certainly not done
  for (const size_t n : {old, now}) {
    CHECK(c.value(n, "a") == "2");
    CHECK(c.value(n, "b") == "<none>");
  }
  // A follower refuses, with no doubt about it.
  std::optional<Result<Committed>> refused;
  c.durable(old).commit({{put("c", "x")}}, [&](Result<Committed> r) { refused = std::move(r); });
  REQUIRE(c.until([&] { return refused.has_value(); }));
  CHECK(refused->error().code == Errc::unavailable);
  CHECK(c.fatal.empty());
}

TEST_CASE("writes that were overwritten are answered, though nothing else is written") {
  Cluster c;
  c.join();
  c.join();
  const size_t old = c.leader();
  std::vector<Errc> answers;
  c.cut.insert(c.id(old));
  for (int i = 0; i < 3; ++i) {
    c.durable(old).commit({{put(strf("lost%d", i), "x")}}, [&](Result<Committed> r) {
      REQUIRE_FALSE(r);
      answers.push_back(r.error().code);
    });
    c.pass(1);  // an entry each
  }
  REQUIRE(c.until([&] { return c.leader() != old; }));
  c.cut.clear();
  REQUIRE(c.until([&] { return answers.size() == 3; }));
  CHECK(answers == std::vector(3, Errc::unavailable));
  CHECK(c.value(old, "lost0") == "<none>");
}

TEST_CASE("whoever leads after being sent a snapshot sends one, with nothing written since") {
  Cluster c;
  for (int i = 0; i < 100; ++i) REQUIRE(c.write({put(strf("k%03d", i), std::string(2000, 'a'))}));
  const size_t second = c.join();
  REQUIRE(c.until([&] {
    (void)c.consensus(0).transfer(c.id(second));
    return c.leads(second);
  }));
  const Revision before = c.durable(second).revision();
  const size_t third = c.join();
  CHECK(c.durable(third).count("") == 100);
  CHECK(c.durable(third).revision() == before);
}

TEST_CASE("a member that stops tells whoever waits, and hears nothing more") {
  Cluster c;
  const size_t second = c.join();
  c.join();
  const size_t leader = c.leader();
  c.cut.insert(c.id(leader));
  std::vector<Errc> answers;
  c.durable(leader).commit({{put("a", "x")}},
                           [&](Result<Committed> r) { answers.push_back(r ? Errc::io : r.error().code); });
  c.consensus(leader).barrier([&](Result<> r) { answers.push_back(r ? Errc::io : r.error().code); });
  c.pass(1);
  REQUIRE(c.close(leader));
  std::sort(answers.begin(), answers.end());
  std::vector<Errc> wanted{Errc::timeout, Errc::unavailable};
  std::sort(wanted.begin(), wanted.end());
  CHECK(answers == wanted);
  c.cut.clear();
  REQUIRE(c.until([&] { return c.leads(second) || c.leader() != leader; }));
  c.pass(30);  // messages and ticks of others come meanwhile
  c.stop(leader);
  c.start(leader);
  REQUIRE(c.until([&] { return c.has_all(leader); }));
  CHECK(c.fatal.empty());
}

TEST_CASE("a device with a state of its own does not become one more server by mistake") {
  TempDir dir;
  const std::string path = dir / "state.db";
  Harness first({.path = path});
  first.must_open();
  first.close();
  Harness joins({.path = path, .join_cluster = "0123456789abcdef"});
  const auto opened = joins.open();
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == Errc::invalid_argument);
  CHECK(opened.error().message.find("limpet reset") != std::string::npos);
}

TEST_CASE("a barrier makes a follower's state as new as what was acknowledged before it") {
  Cluster c;
  const size_t second = c.join();
  c.join();
  const size_t reader = c.leads(second) ? 0 : second;
  for (int i = 0; i < 30; ++i) {
    REQUIRE(c.write({put("a", std::to_string(i))}));
    while (!c.barrier(reader)) {
    }
    CHECK(c.value(reader, "a") == std::to_string(i));
  }
  // One that is cut off says that it does not know.
  c.cut.insert(c.id(reader));
  CHECK(c.barrier(reader).error().code == Errc::unavailable);
}

TEST_CASE("who was away catches up by the log, or by a snapshot when that is gone; watches are told") {
  for (const bool by_log : {true, false}) {
    CAPTURE(by_log);
    Cluster c(by_log ? 4u << 20 : 20 << 10);
    c.join();
    const size_t away = c.join();
    REQUIRE(c.write({put("a", "1")}));
    REQUIRE(c.until([&] { return c.has_all(away); }));
    Seen seen;
    if (by_log) {
      c.cut.insert(c.id(away));
    } else {
      c.stop(away);
    }
    for (int i = 0; i < 200; ++i)
      REQUIRE(c.write({put(strf("k%d", i % 20), std::string(2000, 'x') + std::to_string(i))}));
    if (by_log) {
      seen.watch = *c.durable(away).watch("", c.durable(away).revision(), seen.sink());
      c.cut.clear();
    } else {
      c.start(away);
    }
    REQUIRE(c.until([&] { return c.has_all(away); }));
    CHECK(c.value(away, "k19") == std::string(2000, 'x') + "199");
    CHECK(c.durable(away).count("") == 21);
    CHECK(c.durable(away).compacted_revision() == (by_log ? 0 : 201));
    if (by_log) {
      REQUIRE(c.until([&] { return seen.events.size() == 200; }));
      CHECK_FALSE(seen.lost);
    }
    CHECK(c.fatal.empty());
  }
}

TEST_CASE("a snapshot goes on after a restart of who receives it, and of who sends it") {
  Cluster c(20 << 10);
  c.join();
  c.join();
  for (int i = 0; i < 400; ++i) REQUIRE(c.write({put(strf("k%03d", i), std::string(2000, 'x'))}));
  const size_t late = c.add(c.consensus(c.leader()).cluster());
  c.start(late);
  auto wanted = c.consensus(c.leader()).status().membership;
  wanted.learners = {c.id(late)};
  REQUIRE(c.reconfigure(wanted));
  int restarts = 0;
  for (int i = 0; i < 6 && c.durable(late).revision() == 0; ++i) {
    c.pass(2 + i);
    const size_t who = i % 2 == 0 ? late : c.leader();
    c.stop(who);
    c.start(who);
    ++restarts;
  }
  MESSAGE("restarts while it was sent: ", restarts);
  REQUIRE(c.until([&] { return c.has_all(late); }));
  CHECK(c.durable(late).count("k") == 400);
  CHECK(c.fatal.empty());
}

TEST_CASE("whatever is stopped and started, what was acknowledged is there") {
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    CAPTURE(seed);
    SeededRandom random(seed);
    Cluster c(8 << 10);
    c.join();
    c.join();
    int acknowledged = 0;
    for (int step = 0; step < 60; ++step) {
      const size_t n = random.below(3);
      switch (random.below(4)) {
        case 0:
          if (c.running(n)) c.stop(n), c.start(n);
          break;
        case 1:
          c.cut = {c.id(n)};
          break;
        case 2:
          c.cut.clear();
          break;
        default:
          break;
      }
      const auto r =
          c.write({put("n", std::to_string(step)), put(strf("k%d", step % 7), std::string(700, 'x'))});
      if (r) acknowledged = step;
      REQUIRE((r || r.error().code == Errc::timeout || r.error().code == Errc::unavailable));
    }
    c.cut.clear();
    for (size_t n = 0; n < 3; ++n) {
      REQUIRE(c.until([&] { return c.has_all(n); }));
      CHECK(std::stoi(c.value(n, "n")) >= acknowledged);
    }
    CHECK(c.fatal.empty());
  }
}
