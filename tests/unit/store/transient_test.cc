// The volatile space of a group: the leader's alone, on a line of revisions that never goes back and never
// says two things with one number.
#include <doctest/doctest.h>

#include <cstring>
#include <map>

#include "base/failpoint.h"
#include "base/random.h"
#include "cluster.h"
#include "store/database.h"

using namespace limpet;
using namespace limpet::store;
using namespace limpet::store::test;

namespace {

Result<Committed> commit(Space& space, const std::string& key, const std::string& value, raft::Term term = 0) {
  std::optional<Result<Committed>> out;
  space.commit({{put(key, value)}, term}, [&](Result<Committed> r) { out = std::move(r); });
  REQUIRE(out);  // in memory
  return *out;
}

Result<Page> list(Space& space, Revision revision = 0) {
  std::optional<Result<Page>> out;
  space.list("", "", revision, 0, [&](Result<Page> r) { out = std::move(r); });
  REQUIRE(out);
  return *out;
}

Errc get(Space& space, const std::string& key) {
  std::optional<Errc> out;
  space.get(key, [&](const Result<std::optional<Item>>& r) { out = r ? Errc::internal : r.error().code; });
  REQUIRE(out);
  return *out;
}

// All that was ever committed, by revision.
class Line {
 public:
  void add(Space& space) {
    const std::string value = std::to_string(++count_);
    const auto done = commit(space, "leases/a", value);
    REQUIRE_MESSAGE(done, (done ? "" : done.error().message));
    CHECK(done->revision > last_);
    CHECK(said_.emplace(done->revision, value).second);
    last_ = done->revision;
  }
  Revision last() const { return last_; }

 private:
  std::map<Revision, std::string> said_;
  Revision last_ = 0;
  int count_ = 0;
};

}  // namespace

TEST_CASE("who does not lead has no volatile space") {
  Cluster c;
  const size_t second = c.join();
  c.join();
  const size_t leader = c.leader();
  REQUIRE(commit(c.store(leader).transient(), "events/a", "1"));
  const size_t follower = leader == second ? 0 : second;
  Space& t = c.store(follower).transient();
  CHECK(commit(t, "events/b", "1").error().code == Errc::unavailable);
  CHECK(list(t).error().code == Errc::unavailable);
  CHECK(get(t, "events/a") == Errc::unavailable);
  Seen seen;
  CHECK(t.watch("", 0, seen.sink()).error().code == Errc::unavailable);
  CHECK(t.count("") == 0);
}

TEST_CASE("with the lead the volatile space goes, and the next leader's line is a later one") {
  Cluster c;
  c.join();
  c.join();
  const size_t old = c.leader();
  const raft::Term term = c.consensus(old).leading()->term;
  Space& before = c.store(old).transient();
  const Revision first = commit(before, "events/a", "1", term)->revision;
  CHECK((first >> 32) == static_cast<Revision>(term));
  Seen seen;
  seen.watch = *before.watch("", first, seen.sink());

  // Lost without a word from the others, too.
  c.cut.insert(c.id(old));
  REQUIRE(c.until([&] { return seen.lost.has_value(); }));
  CHECK(seen.lost->code == Errc::expired);
  CHECK(commit(before, "events/b", "2").error().code == Errc::unavailable);
  CHECK(before.count("") == 0);
  const size_t now = c.leader();
  REQUIRE(now != old);
  Space& after = c.store(now).transient();
  CHECK(after.revision() > first);
  CHECK(list(after)->items.empty());
  CHECK(list(after, first).error().code == Errc::expired);
  CHECK(after.watch("", first, seen.sink()).error().code == Errc::expired);
  CHECK(commit(after, "events/a", "1", term).error().message.find("decided in term") != std::string::npos);
  REQUIRE(commit(after, "events/a", "1", c.consensus(now).leading()->term));

  // Led again, it begins with nothing.
  c.cut.clear();
  const Revision second = after.revision();
  c.lead(old);
  CHECK(before.revision() > second);
  CHECK(list(before)->items.empty());
  CHECK(list(before, first).error().code == Errc::expired);
  CHECK(commit(before, "events/a", "3"));
  CHECK(c.fatal.empty());
}

TEST_CASE("the volatile line goes on while a group grows, changes its leader, shrinks and is stopped") {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    CAPTURE(seed);
    SeededRandom random(seed);
    Cluster c;
    Line line;
    const auto add = [&] {
      for (int i = 0; i < 3; ++i) line.add(c.store(c.leader()).transient());
    };
    const auto restart_alone = [&](size_t n) {
      for (uint64_t i = random.below(4); i-- > 0;) {
        c.stop(n);
        c.start(n);
        add();
      }
    };
    add();
    restart_alone(0);
    c.join();
    add();
    c.join();
    add();
    for (int i = 0; i < 6; ++i) {
      const size_t n = random.below(3);
      if (random.below(2) == 0) {
        c.lead(n);
      } else {
        c.stop(n);
        REQUIRE(c.until([&] { return c.running(c.leader()); }));
        c.start(n);
      }
      add();
    }
    // Alone again, whoever it is; its own count of starts knows nothing of the others.
    const size_t last = random.below(3);
    c.lead(last);
    REQUIRE(c.reconfigure({{c.id(last)}, {}, {}}));
    for (size_t n = 0; n < 3; ++n) {
      if (n != last) c.stop(n);
    }
    add();
    restart_alone(last);
    add();
    CHECK(c.fatal.empty());
  }
}

TEST_CASE("terms go on from the count of starts that an earlier limpet kept") {
  TempDir dir;
  const std::string path = dir / "state.db";
  Harness h({.path = path});
  h.must_open();
  h.close();
  {
    const auto db = Database::open(path, 1 << 20);
    REQUIRE(db);
    const int64_t starts = 1000;
    std::string bytes(sizeof starts, '\0');
    memcpy(bytes.data(), &starts, sizeof starts);
    REQUIRE((*db)->save_blob("boots", bytes));
    REQUIRE((*db)->close());
  }
  h.must_open();
  const Revision first = h.transient().revision();
  CHECK(first > Revision{1000} << 32);
  h.reopen();
  CHECK(h.transient().revision() > first);
}

TEST_CASE("a start writes once where it leads at once, and not at all in a group") {
  Cluster c;
  const auto writes = [&](size_t n) {
    c.pass(50);  // what the others had to write is written: their writes count as well
    c.stop(n);
    const auto before = failpoint::hits();
    c.start(n);
    auto after = failpoint::hits();
    for (const auto& [name, count] : before) after[name] -= count;
    CHECK(after["store.commit.write"] == 0);
    return after["store.boot.commit"];
  };
  CHECK(writes(0) == 1);
  c.join();
  c.join();
  for (size_t n = 0; n < 3; ++n) CHECK(writes(n) == 0);
}
