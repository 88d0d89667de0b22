// What a watch promises: ordered, unique, whole, atomic, resumable; over compaction and restarts; bounded
// when slow.
#include <doctest/doctest.h>
#include <sqlite3.h>

#include <algorithm>
#include <map>

#include "base/random.h"
#include "disk.h"
#include "harness.h"
#include "store/consensus.h"

using namespace limpet;
using namespace limpet::store;
using namespace limpet::store::test;

namespace {

std::vector<std::string> texts(const std::vector<Event>& events) {
  std::vector<std::string> out;
  for (const Event& e : events) out.push_back(text_of(e));
  return out;
}

void random_writes(Harness& h, SeededRandom& random, int n) {
  for (int i = 0; i < n; ++i) {
    std::vector<Op> ops;
    for (uint64_t k = random.below(3); k < 3; ++k) {
      const std::string key = (k ? "pods/" : "nodes/") + std::to_string(k * 10 + random.below(5));
      ops.push_back(random.below(3)
                        ? put(key, strf("v%llu", static_cast<unsigned long long>(random.below(1000))))
                        : del(key));
    }
    REQUIRE(h.commit(std::move(ops)));
  }
}

bool caught_up(Harness& h, const Seen& s) { return s.lost || s.watch->position() == h.durable().revision(); }

}  // namespace

TEST_CASE("a watch tells created, modified and deleted with the values before") {
  TempDir dir;
  Disk disk;
  Harness h({.path = dir / "state.db"});
  h.must_open();
  Seen s;
  s.watch = *h.durable().watch("pods/", 0, s.sink());
  h.must_put("pods/a", "1");
  h.must_put("nodes/a", "1");
  h.must_put("pods/a", "2");
  REQUIRE(h.commit({put("pods/b", "1"), del("pods/a"), put("nodes/a", "2")}));
  REQUIRE(h.commit({del("pods/b")}));
  REQUIRE(h.turn_until([&] { return caught_up(h, s); }));
  CHECK(texts(s.events) == std::vector<std::string>{"1 created pods/a 1 -", "3 modified pods/a 2 1",
                                                    "4 created pods/b 1 -", "4 deleted pods/a 2 -",
                                                    "5 deleted pods/b 1 -"});
  CHECK(h.durable().watch("", 6, s.sink()).error().code == Errc::invalid_argument);
}

TEST_CASE(
    "every watch from every revision tells the same story, from memory or from the file, also after a "
    "restart") {
  struct Row {
    size_t history_events, cache;
  };
  for (const Row& row : {Row{4096, 4u << 20}, Row{8, 4u << 20}, Row{8, 0}}) {
    CAPTURE(row.history_events);
    TempDir dir;
    Disk disk;
    Harness h({.path = dir / "state.db", .cache_bytes = row.cache, .history_events = row.history_events});
    h.must_open();
    SeededRandom random(11);
    Seen live;
    live.watch = *h.durable().watch("", 0, live.sink());
    random_writes(h, random, 300);
    REQUIRE(h.turn_until([&] { return caught_up(h, live); }));
    const auto story = live.events;
    live.watch.reset();
    for (const bool restarted : {false, true}) {
      if (restarted) h.reopen();
      for (Revision from = 0; from <= h.durable().revision(); from += 37) {
        for (const std::string prefix : {"", "pods/", "nodes/1"}) {
          Seen s;
          s.watch = *h.durable().watch(prefix, from, s.sink());
          REQUIRE(h.turn_until([&] { return caught_up(h, s); }));
          REQUIRE(!s.lost);
          std::vector<std::string> want;
          for (const Event& e : story) {
            if (e.revision > from && e.key.starts_with(prefix)) want.push_back(text_of(e));
          }
          CHECK(texts(s.events) == want);
          // Atomic: a call never ends in the middle of a transaction.
          size_t at = 0;
          for (const size_t n : s.calls) {
            at += n;
            if (at < s.events.size()) CHECK(s.events[at].revision != s.events[at - 1].revision);
          }
        }
      }
    }
  }
}

TEST_CASE("a watch resumes where it was, with writes, compaction and restarts between") {
  TempDir dir;
  Disk disk;
  Harness h({.path = dir / "state.db", .cache_bytes = 500, .history_events = 10, .history_revisions = 60});
  h.must_open();
  SeededRandom random(5);
  std::map<std::string, std::string> mirror;
  Revision position = 0;
  int lists = 0;
  for (int round = 0; round < 40; ++round) {
    Seen s;
    auto w = h.durable().watch("", position, s.sink());
    if (!w) {
      CHECK(w.error().code == Errc::expired);
      CHECK(position < h.durable().compacted_revision());
      mirror.clear();
      const auto items = h.all("");
      REQUIRE(items);
      for (const Item& i : *items) mirror[i.key] = *i.value;
      position = h.durable().revision();
      ++lists;
      w = h.durable().watch("", position, s.sink());
      REQUIRE(w);
    }
    s.watch = std::move(*w);
    random_writes(h, random, static_cast<int>(random.below(round % 7 == 6 ? 120 : 12)));
    REQUIRE(h.turn_until([&] { return caught_up(h, s); }));
    Revision last = position;
    for (const Event& e : s.events) {
      CHECK(e.revision >= last);
      last = e.revision;
      if (e.type == Event::Type::deleted) {
        REQUIRE(mirror.contains(e.key));
        CHECK(*e.value == mirror[e.key]);
        mirror.erase(e.key);
      } else {
        CHECK(mirror.contains(e.key) == (e.type == Event::Type::modified));
        if (e.type == Event::Type::modified) CHECK(*e.previous == mirror[e.key]);
        mirror[e.key] = *e.value;
      }
    }
    if (!s.lost) position = s.watch->position();
    s.watch.reset();
    if (round % 5 == 4) random_writes(h, random, 100);  // nobody watches
    if (round % 9 == 8) h.reopen();
  }
  CHECK(lists > 0);
  CHECK(lists < 40);
}

TEST_CASE("a paused watch costs nothing, and is told when it was left behind") {
  TempDir dir;
  Disk disk;
  Harness h({.path = dir / "state.db", .history_events = 50, .history_revisions = 100});
  h.must_open();
  Seen slow, fast, other;
  slow.watch = *h.durable().watch("", 0, slow.sink());
  fast.watch = *h.durable().watch("", 0, fast.sink());
  slow.watch->pause();
  for (int i = 0; i < 90; ++i) h.must_put("k", std::to_string(i));
  slow.watch->resume();
  REQUIRE(h.turn_until([&] { return caught_up(h, slow); }));
  CHECK(slow.events.size() == 90);  // read from the file
  slow.watch->pause();
  for (int i = 0; i < 400; ++i) h.must_put("k", std::to_string(i));
  slow.watch->resume();
  REQUIRE(h.turn_until([&] { return slow.lost.has_value(); }));
  CHECK(slow.lost->code == Errc::expired);
  CHECK(slow.events.size() == 90);
  REQUIRE(h.turn_until([&] { return caught_up(h, fast); }));
  CHECK(fast.events.size() == 490);
  CHECK(h.store().stats().lost_watches == 1);
  CHECK(h.store().stats().watchers == 1);
}

TEST_CASE("a store that nobody asks gives back memory, once, and has forgotten nothing") {
  int64_t used[2];
  for (const bool gives_back : {false, true}) {
    CAPTURE(gives_back);
    TempDir dir;
    Disk disk;
    const int64_t before = sqlite3_memory_used();
    Harness h({.path = dir / "state.db", .cache_bytes = 16u << 20, .quiet_ms = gives_back});
    h.must_open();
    int quiet = 0;
    h.store().on_quiet([&] { ++quiet; });
    for (int i = 0; i < 220; ++i) h.must_put(strf("k%d", i % 20), std::string(1000, 'v'));
    if (gives_back) {
      quiet = 0;
      h.must_put("k", "last");
      REQUIRE(h.turn_until([&] { return quiet > 0; }));
      // One more may have been under way; a timer that goes on would come many times.
      quiet = 0;
      loop::Timer later(h.loop(), "later");
      bool over = false;
      later.start(50, [&] { over = true; });
      REQUIRE(h.turn_until([&] { return over; }));
      CHECK(quiet <= 1);
    }
    used[gives_back] = sqlite3_memory_used() - before;
    Seen all;
    all.watch = *h.durable().watch("", 0, all.sink());
    REQUIRE(h.turn_until([&] { return caught_up(h, all); }));
    CHECK_FALSE(all.lost);
    CHECK(all.events.size() == 220 + gives_back);
    CHECK((h.store().stats().reads_from_file > 0) == gives_back);
    CHECK(h.value("k") == (gives_back ? "last" : "<none>"));
  }
  CHECK(used[1] < used[0] - (150 << 10));
}

TEST_CASE("a quiet store lets go of the volatile history that no watcher still waits for") {
  TempDir dir;
  Disk disk;
  Harness h({.path = dir / "state.db", .quiet_ms = 1});
  h.must_open();
  Space& t = h.transient();
  const Revision start = t.revision();
  int quiet = 0;
  h.store().on_quiet([&] { ++quiet; });
  const auto be_quiet = [&] {
    quiet = 0;
    h.must_put("k", "asked");
    REQUIRE(h.turn_until([&] { return quiet > 0; }));
  };
  Seen slow;
  slow.watch = *t.watch("events/", start, slow.sink());
  slow.watch->pause();
  constexpr int kEvents = 300;  // 300 kB, of 64 that stay
  for (int i = 0; i < kEvents; ++i) REQUIRE(h.commit(t, {put(strf("events/%d", i), std::string(1000, 'v'))}));
  be_quiet();
  // Somebody has yet to be given all of it.
  Seen late;
  CHECK(t.watch("events/", start, late.sink()).has_value());
  slow.watch->resume();
  REQUIRE(h.turn_until([&] { return slow.events.size() == kEvents; }));
  be_quiet();
  CHECK(t.watch("events/", start, late.sink()).error().code == Errc::expired);
  CHECK(t.watch("events/", t.revision() - 30, late.sink()).has_value());
  CHECK_FALSE(slow.lost);
  CHECK(t.count("events/") == kEvents);
  // A list that was begun before goes on.
  CHECK(h.list(t, "events/", "", t.revision(), 5).has_value());
  REQUIRE(h.commit(t, {put("events/later", "x")}));
  REQUIRE(h.turn_until([&] { return slow.events.size() == kEvents + 1; }));
}

TEST_CASE("watches end, begin and pause inside callbacks") {
  TempDir dir;
  Disk disk;
  Harness h({.path = dir / "state.db"});
  h.must_open();
  Seen a, b, inner;
  int calls = 0;
  auto sink = a.sink();
  sink.on_events = [&](std::span<const Event>) {
    ++calls;
    a.watch.reset();
    b.watch->pause();
    inner.watch = *h.durable().watch("", 0, inner.sink());
  };
  a.watch = *h.durable().watch("", 0, std::move(sink));
  b.watch = *h.durable().watch("", 0, b.sink());
  for (int i = 0; i < 5; ++i) h.must_put("k", std::to_string(i));
  REQUIRE(h.turn_until([&] { return inner.events.size() == 5; }));
  CHECK(calls == 1);
  CHECK(b.events.empty());
  b.watch->resume();
  REQUIRE(h.turn_until([&] { return b.events.size() == 5; }));
}

TEST_CASE("the volatile space") {
  TempDir dir;
  Disk disk;
  Harness h({.path = dir / "state.db"});
  h.must_open();
  Space& t = h.transient();
  const Revision start = t.revision();
  CHECK(start == static_cast<Revision>(h.store().consensus().leading()->term) << 32);
  Seen s;
  s.watch = *t.watch("events/", start, s.sink());
  CHECK(h.commit(t, {put("events/a", "1", 0)})->revision == start + 1);
  CHECK(h.commit(t, {put("events/a", "2", 0)}).error().code == Errc::conflict);
  CHECK(h.commit(t, {put("events/a", "2", start + 1)})->revision == start + 2);
  CHECK(h.commit(t, {del("events/a")})->revision == start + 3);
  REQUIRE(h.turn_until([&] { return s.events.size() == 3; }));
  CHECK(text_of(s.events[2]) == strf("%lld deleted events/a 2 -", static_cast<long long>(start + 3)));
  for (int i = 0; i < 10; ++i) REQUIRE(h.commit(t, {put(strf("events/%d", i), "x")}));
  const auto page = h.list(t, "events/", "", 0, 4);
  REQUIRE(page);
  CHECK(page->more);
  CHECK(page->remaining == 6);
  REQUIRE(h.commit(t, {del("events/5"), put("events/6", "changed"), put("events/5x", "new")}));
  const auto rest = h.list(t, "events/", page->items.back().key, page->revision, 100);
  REQUIRE(rest);
  REQUIRE(rest->items.size() == 6);
  CHECK(rest->items[1].key == "events/5");
  CHECK(*rest->items[2].value == "x");
  CHECK(h.durable().revision() == 0);

  // Bounded: the oldest go, and watchers see it.
  h.store().retain("leases/", {.max_items = 3});
  Seen l;
  l.watch = *t.watch("leases/", t.revision(), l.sink());
  for (int i = 0; i < 5; ++i) REQUIRE(h.commit(t, {put(strf("leases/%d", i), "x")}));
  CHECK(t.count("leases/") == 3);
  REQUIRE(h.turn_until([&] { return l.events.size() == 7; }));
  CHECK(l.events[6].key == "leases/1");
  h.store().retain("short/", {.ttl_ms = 5});
  REQUIRE(h.commit(t, {put("short/a", "x")}));
  CHECK(h.turn_until([&] { return t.count("short/") == 0; }));

  // A restart begins a new line; the old one is known to be gone.
  const Revision before = t.revision();
  s.watch.reset();
  l.watch.reset();
  h.reopen();
  CHECK(h.transient().revision() == ((before >> 32) + 1) << 32);
  CHECK(h.transient().watch("events/", before, s.sink()).error().code == Errc::expired);
  CHECK(h.list(h.transient(), "", "", before).error().code == Errc::expired);
}
