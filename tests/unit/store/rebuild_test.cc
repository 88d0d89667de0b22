// A state in pieces, and the database that is made of them.
#include "store/rebuild.h"

#include <doctest/doctest.h>

#include "base/failpoint.h"
#include "harness.h"
#include "store/consensus.h"

using namespace limpet;
using namespace limpet::store;
using namespace limpet::store::test;

namespace {

std::vector<StatePart> read_all(Harness& h, const std::function<void(size_t)>& between = {}) {
  std::vector<StatePart> out;
  std::string next;
  do {
    std::optional<Result<StatePart>> part;
    h.store().read_state(next, [&](Result<StatePart> p) { part.emplace(std::move(p)); });
    REQUIRE(h.turn_until([&] { return part.has_value(); }));
    REQUIRE_MESSAGE(part->has_value(), part->error().message);
    next = (*part)->next;
    out.push_back(std::move(**part));
    if (between) between(out.size());
  } while (!next.empty());
  return out;
}

struct Source {
  TempDir dir;
  Harness h{{.path = dir / "source.db"}};
  std::map<std::string, std::string> truth;
  std::map<std::string, Revision> revisions;
  explicit Source(bool ends_with_deletion = false) {
    h.must_open();
    for (int i = 0; i < 260; ++i) {
      const std::string key = strf("k%03d", i % 230);
      revisions[key] = h.must_put(key, truth[key] = std::string(700, static_cast<char>('a' + i % 26)));
    }
    h.must_put("limpet/members/0a", "{}");
    h.must_put("limpet/other", truth["limpet/other"] = "stays");
    if (!ends_with_deletion) return;
    REQUIRE(h.commit({del("k011")}));
    truth.erase("k011");
  }
};

Rebuild::Options options_of(Source& s, const StatePart& part) {
  return {.cluster = s.h.store().consensus().cluster(),
          .term = part.term,
          .time = 1'800'000'000,
          .drop = {"limpet/members/"}};
}

Result<Refounded> build(const std::string& path, const Rebuild::Options& options,
                        const std::vector<StatePart>& parts) {
  SystemRandom random;
  TRY(auto rebuild, Rebuild::begin(path, options, random));
  for (const StatePart& part : parts) CHECK_OK(rebuild->add(part.bytes));
  return rebuild->finish();
}

}  // namespace

TEST_CASE("a state that is read while writes go on is that of one revision") {
  Source s(true);
  const Revision at = s.h.durable().revision();
  const auto parts = read_all(s.h, [&](size_t n) { s.h.must_put(strf("k%03zu", n), "later"); });
  REQUIRE_GT(parts.size(), 2);
  size_t bytes = 0;
  for (const StatePart& part : parts) {
    CHECK_EQ(part.revision, at);
    CHECK_GE(part.term, 1);
    bytes += part.bytes.size();
  }
  // The estimate is near enough to tell whether a disk has room.
  CHECK_GT(parts[0].size, bytes * 9 / 10);
  CHECK_LT(parts[0].size, bytes * 11 / 10);
  TempDir dir;
  const auto made = build(dir / "new.db", options_of(s, parts[0]), parts);
  REQUIRE_MESSAGE(made.has_value(), made.error().message);
  CHECK_EQ(made->from, at);
  Harness h({.path = dir / "new.db"});
  h.must_open();
  for (const auto& [key, value] : s.truth) CHECK_EQ(h.value(key), value);
  CHECK_EQ(h.value("k011"), "<none>");
}

TEST_CASE("what was restored is another member, far above all that clients can have seen") {
  for (const bool deletion : {false, true}) {
    Source s(deletion);
    // Each start is a term of its own, for the volatile space's line.
    for (int i = 0; i < 3; ++i) s.h.reopen();
    const auto parts = read_all(s.h);
    CHECK_GE(parts[0].term, 4);
    const Revision before = s.h.durable().revision();
    const Revision volatile_before = s.h.transient().revision();
    TempDir dir;
    const auto made = build(dir / "new.db", options_of(s, parts[0]), parts);
    REQUIRE_MESSAGE(made.has_value(), made.error().message);
    CHECK_EQ(made->revision, before + 1'000'000'000);
    CHECK_EQ(made->objects, s.truth.size());

    Harness h({.path = dir / "new.db"});
    h.must_open();
    CHECK_EQ(h.durable().revision(), before + 1'000'000'000);
    CHECK_EQ(h.store().consensus().cluster(), s.h.store().consensus().cluster());
    CHECK_NE(h.store().consensus().self(), s.h.store().consensus().self());
    CHECK_EQ(h.store().consensus().status().membership.all(), std::vector{h.store().consensus().self()});
    CHECK_GT(h.transient().revision(), volatile_before + (int64_t{1} << 52));
    for (const auto& [key, revision] : s.revisions) {
      if (deletion && key == "k011") continue;
      const auto item = h.get(key);
      REQUIRE(item);
      REQUIRE(*item);
      CHECK_EQ((*item)->mod_revision, revision);
    }
    CHECK_EQ(h.value("limpet/members/0a"), "<none>");
    for (const std::string& part :
         {std::string("\"kind\":\"restore\""), strf("\"revision\":%lld,", static_cast<long long>(before))})
      CHECK_MESSAGE(h.value(kOriginKey).find(part) != std::string::npos, h.value(kOriginKey));
    CHECK_EQ(h.store().last_commit_time(), 1'800'000'000);

    // Whoever goes on from before is told to begin anew; who lists now can watch from there.
    Seen old, now;
    const auto watch = h.durable().watch("", before, old.sink());
    const bool lost = !watch && watch.error().code == Errc::expired;
    CHECK((lost || h.turn_until([&] { return old.lost && old.lost->code == Errc::expired; })));
    const auto listed = h.list(h.durable(), "", "", before);
    REQUIRE_FALSE(listed);
    CHECK_EQ(listed.error().code, Errc::expired);
    auto fresh = h.durable().watch("", h.durable().revision(), now.sink());
    REQUIRE(fresh);
    CHECK_EQ(h.must_put("k000", "new"), before + 1'000'000'001);
    CHECK(h.turn_until([&] { return now.events.size() == 1; }));

    // And it is a store like others: it opens again, compacts, and is read once more.
    REQUIRE(h.commit({del("k001")}));
    h.reopen();
    CHECK_EQ(h.value("k001"), "<none>");
    const auto again = read_all(h);
    TempDir other;
    const auto twice = build(other / "new.db", options_of(s, again[0]), again);
    REQUIRE_MESSAGE(twice.has_value(), twice.error().message);
    CHECK_EQ(twice->revision, before + 2'000'000'002);
    CHECK(h.fatal.empty());
  }
}

TEST_CASE("a new cluster has an id of its own") {
  Source s;
  const auto parts = read_all(s.h);
  TempDir dir;
  const auto made = build(dir / "new.db", {.term = parts[0].term}, parts);
  REQUIRE(made);
  CHECK_EQ(made->cluster.size(), 16);
  CHECK_NE(made->cluster, s.h.store().consensus().cluster());
  Harness h({.path = dir / "new.db"});
  h.must_open();
  CHECK_EQ(h.store().consensus().cluster(), made->cluster);
  CHECK_EQ(h.value("limpet/members/0a"), "{}");
}

TEST_CASE("pieces that are no whole state make no database") {
  Source s;
  const auto parts = read_all(s.h);
  REQUIRE_GT(parts.size(), 2);
  const auto options = options_of(s, parts[0]);
  struct Row {
    const char* what;
    std::function<void(std::vector<StatePart>&)> change;
    const char* message;
  };
  const Row rows[] = {
      {"none", [](auto& p) { p.clear(); }, "the end of the state is missing"},
      {"the last is missing", [](auto& p) { p.pop_back(); }, "the end of the state is missing"},
      {"one is missing", [](auto& p) { p.erase(p.begin() + 1); }, "objects are not those"},
      {"one twice at the end", [](auto& p) { p.push_back(p.back()); }, "goes on behind its end"},
      {"a byte", [](auto& p) { p[0].bytes.pop_back(); }, "damaged part of a snapshot"},
      {"a newer version", [](auto& p) { p[0].bytes[0] = 9; }, "version 9"},
      {"nothing in it", [](auto& p) { p[1].bytes = encode(SnapshotPart()); }, "ends without an end"},
  };
  for (const Row& row : rows) {
    TempDir dir;
    auto changed = parts;
    row.change(changed);
    const auto made = build(dir / "new.db", options, changed);
    REQUIRE_FALSE_MESSAGE(made.has_value(), row.what);
    CHECK_MESSAGE(made.error().message.find(row.message) != std::string::npos, row.what, ": ",
                  made.error().message);
    CHECK((made.error().code == Errc::corrupt || made.error().code == Errc::unsupported));
  }
  // Where there is a database already nothing is touched.
  SystemRandom random;
  CHECK_EQ(Rebuild::begin(s.dir / "source.db", options, random).error().code, Errc::already_exists);
  auto high = options;
  high.term = kMaxTerm;
  TempDir dir;
  CHECK_EQ(Rebuild::begin(dir / "new.db", high, random).error().code, Errc::corrupt);
  high.cluster = "short";
  CHECK_FALSE(Rebuild::begin(dir / "new.db", high, random));
  for (const char* failpoint :
       {"store.rebuild.add", "store.rebuild.close", "store.surgery.written", "store.rebuild.commit"}) {
    TempDir place;
    failpoint::arm(strf("%s=error", failpoint));
    CHECK_FALSE_MESSAGE(build(place / "new.db", options, parts).has_value(), failpoint);
    failpoint::arm("");
  }
}

TEST_CASE("a state whose history was compacted meanwhile is begun anew") {
  TempDir dir;
  Harness h({.path = dir / "s.db", .history_revisions = 20});
  h.must_open();
  for (int i = 0; i < 230; ++i) h.must_put(strf("k%03d", i), std::string(700, 'x'));
  std::optional<Result<StatePart>> first, second;
  h.store().read_state("", [&](Result<StatePart> p) { first.emplace(std::move(p)); });
  REQUIRE(h.turn_until([&] { return first.has_value(); }));
  REQUIRE(*first);
  for (int i = 0; i < 100; ++i) h.must_put("k000", strf("%d", i));
  h.store().read_state((*first)->next, [&](Result<StatePart> p) { second.emplace(std::move(p)); });
  REQUIRE(h.turn_until([&] { return second.has_value(); }));
  REQUIRE_FALSE(*second);
  CHECK_EQ(second->error().code, Errc::expired);
  h.store().read_state("nonsense", [&](Result<StatePart> p) { second.emplace(std::move(p)); });
  CHECK(second->error().code == Errc::unsupported);
}
