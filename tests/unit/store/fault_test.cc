// Whatever the disk does, what was acknowledged is there afterwards, and nothing that was refused.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>

#include "base/failpoint.h"
#include "disk.h"
#include "harness.h"

using namespace limpet;
using namespace limpet::store;
using namespace limpet::store::test;

namespace {

// A run of numbered transactions, each replacing a counter, adding a key and removing an older one, so that
// any state between two of them is recognised.
constexpr int kKeep = 5;

std::vector<Op> numbered(int n) {
  std::vector<Op> ops = {put("counter", std::to_string(n)),
                         put(strf("k%04d", n), std::string(700, 'x') + std::to_string(n), 0)};
  if (n > kKeep) ops.push_back(del(strf("k%04d", n - kKeep)));
  return ops;
}

// Which transaction is the last one in the store? -1: the state is none of them.
int last_of(Harness& h) {
  const auto items = h.all("");
  if (!items) return -1;
  if (items->empty()) return 0;
  if ((*items)[0].key != "counter") return -1;
  const int n = atoi((*items)[0].value->c_str());
  const int first = std::max(1, n - kKeep + 1);
  if (items->size() != static_cast<size_t>(n - first + 2)) return -1;
  for (int i = first; i <= n; ++i) {
    const Item& item = (*items)[static_cast<size_t>(i - first + 1)];
    if (item.key != strf("k%04d", i) || *item.value != std::string(700, 'x') + std::to_string(i)) return -1;
    if (item.mod_revision != i) return -1;
  }
  return h.durable().revision() == n ? n : -1;
}

Options small(const std::string& path) {
  return {.path = path, .cache_bytes = 2000, .history_revisions = 4, .checkpoint_bytes = 24 << 10};
}

struct Outcome {
  int acked = 0;     // the last acknowledged
  int possible = 0;  // the last that may have been done
};

// Commits until one is not acknowledged; reads now and then.
Outcome workload(Harness& h, int transactions) {
  Outcome out;
  for (int n = 1; n <= transactions; ++n) {
    const auto r = h.commit(numbered(n));
    if (r) {
      CHECK(r->revision == n);
      out.acked = out.possible = n;
      if (n % 3 == 0) (void)h.get(strf("k%04d", n - 1));
      continue;
    }
    if (r.error().code == Errc::timeout) out.possible = n;
    if (r.error().code == Errc::exhausted) CHECK(h.fatal.empty());
    break;
  }
  return out;
}

}  // namespace

TEST_CASE("the N-th call to the disk fails") {
  using Call = Disk::Call;
  for (const Call call : {Call::write, Call::sync, Call::read, Call::open, Call::truncate}) {
    for (const bool forever : {false, true}) {
      int runs = 0;
      for (int n = 1;; n += n < 40 ? 1 : 7) {
        CAPTURE(static_cast<int>(call));
        CAPTURE(forever);
        CAPTURE(n);
        TempDir dir;
        Disk disk;
        Harness h(small(dir / "state.db"));
        disk.fail_nth(call, n, forever);
        Outcome out;
        if (h.open()) {
          out = workload(h, 30);
          if (runs % 2 && h.fatal.empty()) h.close();
          h.drop();
        }
        const bool reached = disk.reached();
        disk.heal();
        h.must_open();
        const int last = last_of(h);
        CHECK(last >= out.acked);
        CHECK(last <= out.possible);
        CHECK(h.commit(numbered(last + 1)));
        ++runs;
        if (!reached) {
          CHECK(out.acked == 30);
          break;
        }
      }
      if (call == Call::write || call == Call::sync) CHECK(runs > 20);  // the loop went through something
    }
  }
}

TEST_CASE("a failed sync stops the writing for good") {
  TempDir dir;
  Disk disk;
  Harness h(small(dir / "state.db"));
  h.must_open();
  CHECK(workload(h, 3).acked == 3);
  disk.fail_nth(Disk::Call::sync, 1, false);
  CHECK(h.commit(numbered(4)).error().code == Errc::timeout);
  REQUIRE(h.fatal.size() == 1);
  CHECK(h.fatal[0].message.find("state.db") != std::string::npos);
  // The disk says yes again; nobody believes it.
  CHECK(h.commit(numbered(5)).error().code == Errc::unavailable);
  h.close();
  h.must_open();
  CHECK(last_of(h) >= 3);
}

namespace {

struct Tally {
  int images = 0, lost = 0, broken = 0;
};

// Images of power cuts in the middle of a run with commits, checkpoints and compaction; each is opened and
// compared with what was acknowledged at that moment.
Tally power_cuts(bool lie, uint64_t seed) {
  Tally tally;
  TempDir dir;
  std::vector<std::pair<std::unique_ptr<TempDir>, int>> images;
  std::atomic<int> acked{0};
  int submitted = 0;
  {
    Disk disk;
    disk.lie_about_wal_syncs(lie);
    SeededRandom random(seed);
    disk.observe(5, [&] {
      const int sure = acked;
      images.emplace_back(std::make_unique<TempDir>(), sure);
      disk.image(random, images.back().first->path());
    });
    Harness h(small(dir / "state.db"));
    h.must_open();
    for (int n = 1; n <= 60; ++n) {
      submitted = n;
      if (h.commit(numbered(n))) acked = n;
    }
    REQUIRE(acked == 60);
    h.close();
    disk.observe(0, nullptr);
  }
  for (auto& [held, sure] : images) {
    const auto image = std::move(held);
    Harness h(small(*image / "state.db"));
    ++tally.images;
    const auto opened = h.open();
    if (!opened) {
      if (!lie) MESSAGE(opened.error().message);
      ++tally.broken;
      continue;
    }
    const int last = last_of(h);
    if (last < 0 || last > submitted)
      ++tally.broken;
    else if (last < sure)
      ++tally.lost;
  }
  return tally;
}

}  // namespace

TEST_CASE("a power cut at any moment loses nothing that was acknowledged") {
  Tally sum;
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    const Tally t = power_cuts(false, seed);
    CHECK(t.lost == 0);
    CHECK(t.broken == 0);
    sum.images += t.images;
  }
  CHECK(sum.images > 200);
  MESSAGE("images: " << sum.images);
}

TEST_CASE("the same test finds the loss when the log is not synced") {
  Tally sum;
  for (uint64_t seed = 1; seed <= 2; ++seed) {
    const Tally t = power_cuts(true, seed);
    sum.lost += t.lost + t.broken;
  }
  CHECK(sum.lost > 0);
}

TEST_CASE("a full disk refuses writes, serves reads, allows deletes, and recovers") {
  TempDir dir;
  Disk disk;
  Options options = small(dir / "state.db");
  options.checkpoint_bytes = 1u << 20;
  Harness h(options);
  h.must_open();
  const std::string reserve = dir / "state.db.reserve";
  struct stat st;
  REQUIRE(stat(reserve.c_str(), &st) == 0);
  disk.limit(static_cast<uint64_t>(st.st_size) + (200 << 10), reserve);
  int n = 0;
  Result<Committed> r;
  do r = h.commit(numbered(++n));
  while (r && n < 1000);
  REQUIRE(!r);
  CHECK(r.error().code == Errc::exhausted);
  CHECK(h.fatal.empty());
  const int last = n - 1;
  CHECK(last_of(h) == last);  // reads go on
  CHECK(h.commit({put("other", std::string(5000, 'x'))}).error().code == Errc::exhausted);
  // The reserve makes room, more than the log happens to have left.
  for (int i = last; i > last - kKeep; --i) CHECK(h.commit({del(strf("k%04d", i))}));
  CHECK(h.commit({del("counter")}));
  CHECK(stat(reserve.c_str(), &st) != 0);
  disk.heal();
  CHECK(h.commit({put("counter", "1")}));
  CHECK(h.fatal.empty());
  // A batch of which a part has room: each is judged alone.
  h.reopen();
  CHECK(h.value("counter") == "1");
}

TEST_CASE("without a reserve a full disk refuses, loses nothing, and recovers") {
  for (const char* point : {"store.reserve.refill=error", "store.reserve.give_up=error"}) {
    CAPTURE(point);
    TempDir dir;
    Disk disk;
    Options options = small(dir / "state.db");
    options.checkpoint_bytes = 1u << 20;
    Harness h(options);
    failpoint::arm(point);
    h.must_open();
    struct stat st;
    const bool there = stat((dir / "state.db.reserve").c_str(), &st) == 0;
    CHECK(there == std::string(point).starts_with("store.reserve.give_up"));
    disk.limit(200 << 10, dir / "nowhere");
    int n = 0;
    Result<Committed> r;
    do r = h.commit(numbered(++n));
    while (r && n < 1000);
    REQUIRE(!r);
    CHECK(r.error().code == Errc::exhausted);
    CHECK(h.fatal.empty());
    CHECK(last_of(h) == n - 1);
    disk.heal();
    failpoint::arm("");
    CHECK(h.commit({put("counter", "1")}));
    h.reopen();
    CHECK(h.value("counter") == "1");
  }
}

TEST_CASE("a store on a full disk opens, serves reads, and writes again when there is room") {
  for (const bool crash : {false, true}) {
    for (const bool spare : {false, true}) {
      CAPTURE(crash);
      CAPTURE(spare);
      TempDir dir;
      Disk disk;
      const std::string reserve = dir / "state.db.reserve";
      Options options = small(dir / "state.db");
      // After a crash the log must hold pages that the database has no place for.
      options.checkpoint_bytes = 1u << 20;
      Harness h(options);
      if (!spare) failpoint::arm("store.reserve.refill=error");
      h.must_open();
      CHECK(workload(h, 40).acked == 40);
      std::vector<Revision> terms = {h.transient().revision()};
      crash ? h.drop() : h.close();
      struct stat st;
      REQUIRE((stat(reserve.c_str(), &st) == 0) == spare);
      uint64_t used = spare ? static_cast<uint64_t>(st.st_size) : 0;
      for (const char* file : {"state.db", "state.db-wal"})
        used += stat((dir / file).c_str(), &st) == 0 ? static_cast<uint64_t>(st.st_size) : 0;
      disk.limit(used, reserve);
      for (int start = 0; start < 3; start++) {
        CAPTURE(start);
        h.must_open();
        CHECK(last_of(h) == 40);
        CHECK(h.fatal.empty());
        CHECK(h.transient().revision() > terms[0]);
        terms.push_back(h.transient().revision());
        if (!spare) CHECK(h.commit(numbered(41)).error().code == Errc::exhausted);
        if (!spare) CHECK(h.fatal.empty());
        if (start == 2) break;
        h.drop();
      }
      std::sort(terms.begin(), terms.end());
      CHECK(std::unique(terms.begin(), terms.end()) == terms.end());
      disk.heal();
      failpoint::arm("");
      CHECK(h.commit(numbered(41)));
      const Revision now = h.transient().revision();
      h.reopen();
      CHECK(h.transient().revision() > now);
      CHECK(last_of(h) == 41);
    }
  }
}

TEST_CASE("a batch on a full disk is tried one by one") {
  TempDir dir;
  Disk disk;
  Options options = small(dir / "state.db");
  options.checkpoint_bytes = 1u << 20;
  Harness h(options);
  h.must_open();
  struct stat st;
  REQUIRE(stat((dir / "state.db.reserve").c_str(), &st) == 0);
  disk.limit(static_cast<uint64_t>(st.st_size) + (120 << 10), dir / "state.db.reserve");
  int done = 0, no_room = 0;
  std::vector<int> order;  // no write overtakes an earlier one
  for (int i = 0; i < 40; ++i) {
    h.durable().commit({{put(strf("k%d", i), std::string(i == 7 ? 300 << 10 : 10, 'x'))}}, [&, i](auto r) {
      ++(r ? done : no_room);
      order.push_back(i);
      if (!r) CHECK(r.error().code == Errc::exhausted);
    });
  }
  REQUIRE(h.turn_until([&] { return done + no_room == 40; }));
  CHECK(no_room >= 1);
  CHECK(done >= 7);
  CHECK(std::is_sorted(order.begin(), order.end()));
  CHECK(h.value("k0").size() == 10);
  CHECK(h.value("k7") == "<none>");
  CHECK(h.durable().count("k") == done);
  const auto items = h.all("k");
  disk.heal();
  h.reopen();
  CHECK(h.durable().count("k") == done);
}

TEST_CASE("a flipped bit is found, named and never served") {
  TempDir dir;
  const std::string path = dir / "state.db";
  std::map<std::string, std::string> truth;
  {
    Harness h({.path = path, .checkpoint_bytes = 32 << 10});
    h.must_open();
    for (int i = 0; i < 60; ++i) {
      const std::string key = strf("k%d", i % 40);
      truth[key] = std::string(static_cast<size_t>(i) * 37, static_cast<char>('a' + i % 26));
      h.must_put(key, truth[key]);
    }
    SUBCASE("after a clean stop") { h.close(); }
    SUBCASE("after a crash") { h.drop(); }
  }
  const std::string db = read_file(path), wal = read_file(path + "-wal");
  SeededRandom random(7);
  int refused = 0, stopped = 0, unharmed = 0;
  for (int i = 0; i < 250; ++i) {
    std::string d = db, w = wal;
    const bool in_wal = !wal.empty() && random.below(2);
    std::string& victim = in_wal ? w : d;
    const size_t at = random.below(victim.size());
    CAPTURE(in_wal);
    CAPTURE(at);
    victim[at] = static_cast<char>(victim[at] ^ (1 << random.below(8)));
    TempDir other;
    write_file(other / "state.db", d);
    if (!w.empty()) write_file(other / "state.db-wal", w);
    Harness h({.path = other / "state.db", .cache_bytes = 0});
    const auto opened = h.open();
    if (!opened) {
      ++refused;
      CHECK(opened.error().message.find(other.path()) != std::string::npos);
      continue;
    }
    const Revision revision = h.durable().revision();
    // The last transaction of the log alone cannot be told from one that was torn while being written.
    CHECK(revision >= 59);
    bool damaged = false;
    for (const auto& [key, value] : truth) {
      const auto r = h.get(key);
      if (!r) {
        CHECK((r.error().code == Errc::corrupt || r.error().code == Errc::unavailable));
        damaged = true;
      } else if (revision == 60) {
        REQUIRE(*r);
        CHECK(*(*r)->value == value);
      }
    }
    CHECK(damaged == !h.fatal.empty());
    ++(damaged ? stopped : unharmed);
  }
  MESSAGE("refused " << refused << ", found when read " << stopped << ", in unused bytes " << unharmed);
  CHECK(refused > 0);
}
