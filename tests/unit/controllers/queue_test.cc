// The parts that every controller stands on: queue, driver, expectations, cache.
#include <doctest/doctest.h>

#include "controllers/driver.h"
#include "controllers/expectations.h"
#include "controllers/work_queue.h"
#include "world.h"

using namespace limpet;
using namespace limpet::controllers;

TEST_CASE("queue: a key stands once, and comes again when it was added in hand") {
  WorkQueue q;
  q.add("a");
  q.add("b");
  q.add("a");
  CHECK(q.take(0) == "a");
  q.add("a");
  q.add("a");
  CHECK(q.take(0) == "b");
  CHECK(q.take(0) == std::nullopt);
  CHECK(q.in_hand() == 2);
  q.done("a");
  CHECK(q.take(0) == "a");
  q.done("a");
  CHECK(q.take(0) == std::nullopt);
}

TEST_CASE("queue: delayed keys") {
  WorkQueue q;
  q.add_at("a", 100);
  q.add_at("a", 500);  // the earlier time stays
  q.add_at("b", 200);
  CHECK(q.take(99) == std::nullopt);
  CHECK(q.next_ms() == 100);
  CHECK(q.take(100) == "a");
  CHECK(q.next_ms() == 200);
  q.add("b");  // now is sooner
  CHECK(q.take(100) == "b");
  CHECK(q.next_ms() == std::nullopt);
}

TEST_CASE("queue: back-off doubles up to its longest and starts over after a success") {
  WorkQueue q;
  int64_t now = 0, last = 0;
  for (int i = 0; i < 30; i++) {
    q.retry("a", now);
    const int64_t delay = *q.next_ms() - now;
    CHECK(delay == std::min<int64_t>(5ll << std::min(i, 40), 1'000'000));
    CHECK(delay >= last);
    last = delay;
    now = *q.next_ms();
    CHECK(q.take(now) == "a");
    q.done("a");
  }
  q.forget("a");
  q.retry("a", now);
  CHECK(*q.next_ms() - now == 5);
}

TEST_CASE("queue: many keys that fail come back ten a second") {
  WorkQueue q;
  for (int i = 0; i < 300; i++) q.retry("k" + std::to_string(i), 100'000);
  int at_once = 0;
  while (q.take(100'100)) at_once++;
  CHECK(at_once <= 102);
  int in_a_second = 0;
  while (q.take(101'100)) in_a_second++;
  CHECK(in_a_second == 10);
}

TEST_CASE("driver: a few at once, each key alone, failures come back") {
  ManualClock clock;
  VirtualTiming timing(clock);
  std::map<std::string, Driver::Done> open;
  std::vector<std::string> log;
  auto driver = std::make_unique<Driver>(timing, "test", [&](const std::string& key, Driver::Done done) {
    CHECK(!open.contains(key));
    log.push_back(key);
    open[key] = std::move(done);
  });
  const auto turn = [&] {
    while (timing.turn()) {
    }
  };
  for (int i = 0; i < 8; i++) driver->add("k" + std::to_string(i));
  turn();
  CHECK(log.empty());  // not started
  driver->start();
  turn();
  CHECK(log.size() == 5);
  driver->add("k0");
  turn();
  CHECK(log.size() == 5);
  const auto finish = [&](const std::string& key, Result<> r) {
    const Driver::Done done = std::move(open[key]);
    open.erase(key);
    done(std::move(r));
    turn();
  };
  finish("k1", fail(Errc::conflict, "x"));
  CHECK(log.back() == "k5");
  CHECK(driver->failures("k1") == 1);
  finish("k0", {});
  CHECK(log.back() == "k6");
  for (const char* k : {"k2", "k3", "k4", "k5", "k6"}) finish(k, {});
  CHECK(std::count(log.begin(), log.end(), "k0") == 2);
  CHECK(std::count(log.begin(), log.end(), "k1") == 1);
  CHECK(timing.ring(5));
  turn();
  CHECK(log.back() == "k1");
  // Destroyed with work under way: late answers are ignored.
  driver.reset();
  finish("k1", {});
  turn();
}

TEST_CASE("expectations: versions, identities, and an end to waiting") {
  Expectations e;
  int64_t seen = 5;
  bool there = true;
  const auto met = [&](int64_t now) {
    return e.met(
        "a", now, [&](int) { return seen; }, [&](const std::string&, const std::string&) { return !there; });
  };
  CHECK(met(0));
  e.expect_version("a", 0, 7, 0);
  e.expect_gone("a", "d/p", "u", 0);
  CHECK(!met(0));
  seen = 7;
  CHECK(!met(0));
  there = false;
  CHECK(met(0));
  seen = 0;
  e.expect_version("a", 0, 7, 0);
  CHECK(!met(Expectations::kLongestMs - 1));
  CHECK(met(Expectations::kLongestMs));
}

TEST_CASE("the digest of a template ignores its hash and nothing else") {
  const auto digest = [](const char* text) { return template_digest(json::Cursor(text)); };
  const std::string plain = digest(R"({"metadata":{"labels":{"a":"b"}},"spec":{"x":1}})");
  CHECK(plain == digest(R"({"metadata":{"labels":{"a":"b","pod-template-hash":"h"}},"spec":{"x":1}})"));
  CHECK(plain != digest(R"({"metadata":{"labels":{"a":"c"}},"spec":{"x":1}})"));
  CHECK(plain != digest(R"({"metadata":{"labels":{"a":"b"}},"spec":{"x":2}})"));
  CHECK(plain != digest(R"({"metadata":{"annotations":{"a":"b"}},"spec":{"x":1}})"));
}
