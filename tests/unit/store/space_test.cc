// The durable space against a naive model, and its rules one by one.
#include <doctest/doctest.h>

#include <map>

#include "base/random.h"
#include "disk.h"
#include "harness.h"

using namespace limpet;
using namespace limpet::store;
using namespace limpet::store::test;

TEST_CASE("what was put is there, also after a restart") {
  TempDir dir;
  Harness h({.path = dir / "state.db"});
  h.must_open();
  CHECK(h.durable().revision() == 0);
  CHECK(h.must_put("pods/default/a", "one") == 1);
  CHECK(h.must_put("pods/default/a", "two") == 2);
  CHECK(h.must_put("pods/default/b", "") == 3);
  h.reopen();
  CHECK(h.durable().revision() == 3);
  CHECK(h.value("pods/default/a") == "two");
  CHECK(h.value("pods/default/b") == "");
  CHECK(h.value("pods/default/c") == "<none>");
  const auto item = h.get("pods/default/a");
  CHECK((*item)->create_revision == 1);
  CHECK((*item)->mod_revision == 2);
  CHECK(h.store().last_commit_time() == h.clock.wall().seconds);
  CHECK(h.durable().count("pods/") == 2);
}

TEST_CASE("preconditions") {
  struct Row {
    const char* name;
    std::vector<Op> ops;
    bool applies;
  };
  // Before each row: a at revision 1, b at revision 2 (modified once, created at 1 as well).
  const std::vector<Row> rows = {
      {"anything, present", {put("a", "x")}, true},
      {"anything, absent", {put("n", "x")}, true},
      {"must not exist, absent", {put("n", "x", 0)}, true},
      {"must not exist, present", {put("a", "x", 0)}, false},
      {"right revision", {put("a", "x", 1)}, true},
      {"older revision", {put("b", "x", 1)}, false},
      {"future revision", {put("a", "x", 9)}, false},
      {"a revision, absent", {put("n", "x", 1)}, false},
      {"remove, right revision", {del("b", 2)}, true},
      {"remove, wrong revision", {del("b", 1)}, false},
      {"remove, anything, absent", {del("n")}, true},
      {"remove, a revision, absent", {del("n", 1)}, false},
      {"one of two fails", {put("a", "x", 1), put("b", "x", 1)}, false},
      {"both hold", {put("a", "x", 1), del("b", 2)}, true},
      {"guard only on another key", {put("n", "x"), put("a", "x", 0)}, false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    TempDir dir;
    Harness h({.path = dir / "state.db"});
    h.must_open();
    REQUIRE(h.commit({put("a", "1"), put("b", "1")}));
    REQUIRE(h.commit({put("b", "2")}));
    const auto before = h.all("");
    const auto r = h.commit(row.ops);
    CHECK(r.has_value() == row.applies);
    if (row.applies) continue;
    CHECK(r.error().code == Errc::conflict);
    const auto after = h.all("");
    REQUIRE(after->size() == before->size());
    for (size_t i = 0; i < after->size(); ++i) CHECK((*after)[i].mod_revision == (*before)[i].mod_revision);
    CHECK(h.durable().revision() == 2);
    CHECK(h.store().stats().conflicts == 1);
  }
}

TEST_CASE("transactions that are wrong by themselves") {
  TempDir dir;
  Harness h({.path = dir / "state.db"});
  h.must_open();
  CHECK(h.commit({}).error().code == Errc::invalid_argument);
  CHECK(h.commit({put("", "x")}).error().code == Errc::invalid_argument);
  CHECK(h.commit({put("a", "x"), del("a")}).error().code == Errc::invalid_argument);
  CHECK(h.commit({put(std::string(2000, 'k'), "x")}).error().code == Errc::invalid_argument);
  CHECK(h.commit({put("a", std::string(9u << 20, 'v'))}).error().code == Errc::too_large);
  CHECK(h.commit({del("absent")})->revision == 0);
  CHECK(h.durable().revision() == 0);
}

TEST_CASE("writes of one turn share a sync and keep their order") {
  TempDir dir;
  Harness h({.path = dir / "state.db"});
  h.must_open();
  std::vector<int> order;
  std::vector<Revision> revisions;
  int conflicts = 0;
  for (int i = 0; i < 64; ++i) {
    h.durable().commit({{put("k" + std::to_string(i), "v", 0), put("same", std::to_string(i))}},
                       [&, i](auto r) {
                         order.push_back(i);
                         if (r) revisions.push_back(r->revision);
                         conflicts += !r;
                       });
  }
  h.durable().commit({{put("k3", "again", 0)}}, [&](auto r) { conflicts += !r; });
  REQUIRE(h.turn_until([&] { return order.size() == 64 && conflicts == 1; }));
  for (size_t i = 0; i < 64; ++i) {
    CHECK(order[i] == static_cast<int>(i));
    CHECK(revisions[i] == static_cast<Revision>(i + 1));
  }
  CHECK(h.store().stats().commits <= 3);
  CHECK(h.value("same") == "63");
}

namespace {

struct ModelItem {
  Revision created, modified;
  std::string value;
  bool operator==(const ModelItem&) const = default;
};
using State = std::map<std::string, ModelItem>;

State state_of(const std::vector<Item>& items) {
  State s;
  for (const Item& i : items) s[i.key] = {i.create_revision, i.mod_revision, *i.value};
  return s;
}

State with_prefix(const State& s, const std::string& prefix) {
  State out;
  for (const auto& [k, v] : s) {
    if (k.starts_with(prefix)) out[k] = v;
  }
  return out;
}

// Random writes, reads, lists at old revisions, restarts, compared with maps that keep every state.
struct ModelRun {
  explicit ModelRun(uint64_t seed, Options o) : random(seed), h(std::move(o)) { h.must_open(); }

  std::string key() {
    static const char* const kPrefixes[] = {"pods/a/", "pods/b/", "nodes/", "pods."};
    return kPrefixes[random.below(4)] + std::to_string(random.below(12));
  }

  void write() {
    std::vector<Op> ops;
    State next = states.rbegin()->second;
    const Revision revision = states.rbegin()->first + 1;
    bool ok = true, changed = false;
    for (uint64_t n = 1 + random.below(4); n > 0; --n) {
      const std::string k = key();
      if (std::any_of(ops.begin(), ops.end(), [&](const Op& o) { return o.key == k; })) continue;
      const State& now = states.rbegin()->second;
      const auto it = now.find(k);
      const Revision current = it == now.end() ? 0 : it->second.modified;
      std::optional<Revision> expect;
      if (random.below(3) == 0) expect = random.below(4) ? current : static_cast<Revision>(random.below(10));
      ok &= !expect || *expect == current;
      if (random.below(4) == 0) {
        ops.push_back(del(k, expect));
        changed |= next.erase(k) > 0;
      } else {
        std::string value(random.below(6) == 0 ? 5000 : random.below(60),
                          static_cast<char>('a' + random.below(26)));
        next[k] = {it == now.end() ? revision : it->second.created, revision, value};
        ops.push_back(put(k, std::move(value), expect));
        changed = true;
      }
    }
    const auto r = h.commit(std::move(ops));
    REQUIRE(r.has_value() == ok);
    if (!ok) return;
    CHECK(r->revision == (changed ? revision : revision - 1));
    if (changed) states[revision] = std::move(next);
  }

  void check_at(Revision revision) {
    static const char* const kPrefixes[] = {"", "pods/", "pods/b/", "nodes/1", "zzz"};
    const std::string prefix = kPrefixes[random.below(5)];
    const auto items = h.all(prefix, revision, 1 + random.below(9));
    if (revision <= h.durable().compacted_revision()) {
      CHECK(items.error().code == Errc::expired);
      return;
    }
    REQUIRE_MESSAGE(items, items.error().message);
    CHECK(std::is_sorted(items->begin(), items->end(), [](auto& a, auto& b) { return a.key < b.key; }));
    CHECK(state_of(*items) == with_prefix(states.at(revision), prefix));
  }

  void run(int steps) {
    for (int i = 0; i < steps; ++i) {
      const Revision now = states.rbegin()->first;
      switch (random.below(10)) {
        case 0:
          if (now > 0) check_at(1 + static_cast<Revision>(random.below(static_cast<uint64_t>(now))));
          break;
        case 1:
          if (now > 0) check_at(now);
          break;
        case 2: {
          const std::string k = key();
          const auto it = states.rbegin()->second.find(k);
          CHECK(h.value(k) == (it == states.rbegin()->second.end() ? "<none>" : it->second.value));
          break;
        }
        case 3:
          if (random.below(20) == 0) h.reopen();
          break;
        case 4:
          if (random.below(20) == 0) {
            h.drop();
            h.must_open();
          }
          break;
        default:
          write();
      }
      REQUIRE(h.durable().revision() == states.rbegin()->first);
      REQUIRE(h.fatal.empty());
    }
  }

  Disk disk;  // for its speed: nothing is really synced
  SeededRandom random;
  Harness h;
  std::map<Revision, State> states{{0, {}}};
};

}  // namespace

TEST_CASE("random operations agree with a naive model") {
  struct Row {
    uint64_t seed;
    size_t cache;
    Revision history;
  };
  for (const Row& row :
       {Row{1, 4u << 20, 10000}, Row{2, 0, 10000}, Row{3, 6000, 40}, Row{4, 20000, 5}, Row{5, 0, 0}}) {
    CAPTURE(row.seed);
    TempDir dir;
    ModelRun run(row.seed,
                 {.path = dir / "state.db", .cache_bytes = row.cache, .history_revisions = row.history});
    run.run(500);
    // What compaction leaves is bounded, and the newest state is whole.
    if (row.history < 100) CHECK(run.h.durable().compacted_revision() > 0);
    run.check_at(run.states.rbegin()->first);
  }
}

TEST_CASE("a list keeps its revision while writes go on between its pages") {
  TempDir dir;
  Harness h({.path = dir / "state.db", .cache_bytes = 1000});
  h.must_open();
  for (int i = 0; i < 30; ++i) h.must_put(strf("k%02d", i), "old");
  std::vector<std::string> seen;
  std::string after;
  Revision revision = 0;
  for (int page_number = 0;; ++page_number) {
    const auto page = h.list(h.durable(), "k", after, revision, 7);
    REQUIRE(page);
    revision = page->revision;
    for (const Item& i : page->items) seen.push_back(i.key + *i.value);
    h.must_put(strf("k%02d", 29 - page_number), "new");
    REQUIRE(h.commit({del(strf("k%02d", 20 + page_number))}));
    h.must_put(strf("k%02dx", page_number * 5), "added");
    if (!page->more) break;
    CHECK(page->remaining > 0);
    after = page->items.back().key;
  }
  REQUIRE(seen.size() == 30);
  for (size_t i = 0; i < 30; ++i) CHECK(seen[i] == strf("k%02zuold", i));
  CHECK(h.list(h.durable(), "k", "", h.durable().revision() + 1).error().code == Errc::invalid_argument);
}

TEST_CASE("small blobs live beside the objects") {
  TempDir dir;
  Harness h({.path = dir / "state.db"});
  h.must_open();
  std::optional<std::string> got;
  int calls = 0;
  h.store().load("events", [&](auto r) {
    CHECK(!*r);
    ++calls;
  });
  h.store().save("events", std::string("a\0b", 3), [&](auto r) {
    CHECK(r);
    ++calls;
  });
  REQUIRE(h.turn_until([&] { return calls == 2; }));
  h.reopen();
  h.store().load("events", [&](auto r) {
    got = *r;
    ++calls;
  });
  REQUIRE(h.turn_until([&] { return calls == 3; }));
  CHECK(got == std::string("a\0b", 3));
  CHECK(h.durable().revision() == 0);
}

TEST_CASE("a store is closed from within the answer to a write") {
  TempDir dir;
  Disk disk;
  // Each write is followed by a checkpoint.
  Harness h({.path = dir / "state.db", .checkpoint_bytes = 1});
  h.must_open();
  bool closed = false;
  int answered = 0;
  for (int i = 0; i < 3; ++i) {
    h.durable().commit({{put(strf("k%d", i), "v")}}, [&](Result<Committed> r) {
      CHECK(r);
      if (++answered == 1) h.store().close([&] { closed = true; });
    });
  }
  REQUIRE(h.turn_until([&] { return closed; }));
  CHECK(answered == 3);
  h.drop();
  h.must_open();
  CHECK(h.value("k2") == "v");
}
