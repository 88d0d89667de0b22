// The file of a store that nobody has open becomes that of a group of one.
#include "store/surgery.h"

#include <doctest/doctest.h>

#include "../sql.h"
#include "base/failpoint.h"
#include "base/random.h"
#include "cluster.h"
#include "store/database.h"

using namespace limpet;
using namespace limpet::store;
using namespace limpet::store::test;

namespace {

constexpr int64_t kNow = 1'700'000'000;

Group group_of(const std::string& path) {
  auto db = *Database::open(path, 1 << 20);
  const Group g = **db->group();
  REQUIRE(db->close());
  return g;
}

// The values of all keys but the one that says what was done.
std::string text_of(Harness& h) {
  std::string out;
  const auto items = h.all("");
  REQUIRE(items);
  for (const Item& item : *items) {
    if (item.key != kOriginKey) out += item.key + "=" + *item.value + " ";
  }
  return out;
}

// A file with three keys and some history, closed; in a log, too, when there are others.
std::string make(const TempDir& dir) {
  const std::string path = dir / "state.db";
  Harness h({.path = path});
  h.must_open();
  h.must_put("a", "1");
  h.must_put("b", "1");
  h.must_put("a", "2");
  h.close();
  return path;
}

}  // namespace

TEST_CASE("of three servers the one that is left goes on, with all that was acknowledged") {
  SeededRandom random(1);
  Cluster c;
  c.join();
  c.join();
  for (int i = 0; i < 20; ++i) REQUIRE(c.write({put(strf("k%02d", i % 7), std::to_string(i))}));
  const std::string cluster = c.consensus(0).cluster();
  const size_t leader = c.leader();
  const size_t left = (leader + 1) % 3, gone = (leader + 2) % 3;
  REQUIRE(c.until([&] { return c.has_all(left) && c.has_all(gone); }));
  // The last write is acknowledged by these two, and the one that is left has it in its log alone: it does
  // not hear that it was agreed on.
  c.cut.insert(c.id(gone));
  const Revision before = c.durable(left).revision();
  const raft::Index last = c.consensus(left).status().last;
  std::optional<Result<Committed>> acknowledged;
  c.durable(leader).commit({{put("last", "x")}}, [&](Result<Committed> r) { acknowledged = std::move(r); });
  REQUIRE(c.until([&] { return c.consensus(left).status().last > last; }));
  c.deaf.insert(c.id(left));
  REQUIRE(c.until([&] { return acknowledged.has_value(); }));
  REQUIRE(*acknowledged);
  CHECK(c.durable(left).revision() == before);
  const raft::Term term = c.consensus(leader).status().standing.term;
  const raft::MemberId id = c.id(left);
  for (size_t n = 0; n < 3; ++n) c.stop(n);

  const std::string path = c.options(left).path;
  const auto done = recover_database(path, kNow, random);
  REQUIRE_MESSAGE(done, (done ? "" : done.error().message));
  CHECK(done->cluster == cluster);
  CHECK(done->before == id);
  CHECK(done->self != id);
  CHECK(done->entries == 1);
  CHECK(done->from == before + 1);
  CHECK(done->revision == before + 1 + kRevisionJump);
  CHECK(done->objects == 8);
  c.cut.clear();
  c.deaf.clear();
  c.start(left);
  CHECK(c.id(left) == done->self);
  CHECK(c.leads(left));
  CHECK(c.consensus(left).status().membership.all() == std::vector{done->self});
  CHECK(c.consensus(left).leading()->term > term + kTermJump / 2);
  CHECK((c.store(left).transient().revision() >> 32) > static_cast<Revision>(term));
  CHECK(c.value(left, "last") == "x");
  CHECK(c.value(left, "k05") == "19");
  CHECK(c.durable(left).revision() == done->revision);
  Seen seen;
  for (const Revision old : {Revision{1}, before, before + 1, before + 1000}) {
    CHECK(c.durable(left).watch("", old, seen.sink()).error().code == Errc::expired);
    std::optional<Errc> listed;
    c.durable(left).list("", "", old, 0,
                         [&](const Result<Page>& r) { listed = r ? Errc::io : r.error().code; });
    REQUIRE(c.until([&] { return listed.has_value(); }));
    CHECK(*listed == Errc::expired);
  }
  seen.watch = *c.durable(left).watch("", done->revision, seen.sink());

  // The group goes on: whoever joins is sent the state.
  const size_t fourth = c.join();
  c.join();
  REQUIRE(c.write({put("after", "y")}));
  REQUIRE(c.until([&] { return c.has_all(fourth) && seen.events.size() == 1; }));
  CHECK(c.value(fourth, "last") == "x");
  CHECK(c.value(fourth, "after") == "y");
  CHECK(c.durable(fourth).revision() == done->revision + 1);
  c.stop(left);
  CHECK(c.write({put("later", "z")}));
  CHECK(c.fatal.empty());
}

TEST_CASE("a snapshot that is whole and waits to be installed is the state that is recovered") {
  SeededRandom random(3);
  TempDir dir;
  const std::string path = make(dir);
  const Group sender = group_of(path);
  std::vector<raft::SnapshotChunk> chunks;
  {
    auto db = *Database::open(path, 1 << 20);
    SnapshotCursor cursor{3, sender.membership, ""};
    const auto part = *db->read_part(cursor);
    REQUIRE(part.end);
    chunks.push_back({{{100, 7}, sender.membership}, "", encode(cursor), true, share(encode(part))});
    REQUIRE(db->close());
  }
  const std::string joins = dir / "joins.db";
  const auto stage = [&](bool last) {
    auto db = *Database::open(joins, 1 << 20);
    Group waits = Group::wait(random, sender.cluster);
    REQUIRE(db->found(waits));
    Transaction t;
    t.hard_state = raft::HardState{7, 0};
    t.stage = chunks[0];
    t.stage->last = last;
    std::vector<SharedBytes> previous;
    const auto done = db->write(t, {}, previous);
    REQUIRE_MESSAGE(done, (done ? "" : done.error().message));
    REQUIRE(db->close());
  };
  SUBCASE("whole") {
    stage(true);
    const auto done = recover_database(joins, kNow, random);
    REQUIRE_MESSAGE(done, (done ? "" : done.error().message));
    Harness h({.path = joins});
    h.must_open();
    CHECK(text_of(h) == "a=2 b=1 ");
    CHECK(h.store().consensus().leading()->term > 7);
  }
  SUBCASE("in parts") {
    stage(false);
    CHECK(recover_database(joins, kNow, random).error().code == Errc::invalid_argument);
  }
}

TEST_CASE("what no surgery is done to") {
  SeededRandom random(4);
  TempDir dir;
  const auto refused = [&](const std::string& path, Errc code, const char* words) {
    const auto done = recover_database(path, kNow, random);
    REQUIRE_FALSE(done);
    CHECK(done.error().code == code);
    CAPTURE(done.error().message);
    CHECK(done.error().message.find(words) != std::string::npos);
  };
  refused(dir / "none.db", Errc::not_found, "none.db");
  write_file(dir / "empty.db", "");
  refused(dir / "empty.db", Errc::not_found, "empty.db");
  write_file(dir / "text.db", "apiVersion: v1\n");
  refused(dir / "text.db", Errc::invalid_argument, "not a limpet database");

  const std::string path = make(dir);
  {
    Harness h({.path = path});
    h.must_open();
    refused(path, Errc::already_exists, "in use by");
    h.close();
  }
  SUBCASE("of a newer limpet") {
    sql(path, "PRAGMA user_version = 7");
    refused(path, Errc::unsupported, "newer limpet");
  }
  SUBCASE("a row that is not what it was") {
    sql(path, "UPDATE rows SET value = x'0133' WHERE id = (SELECT min(id) FROM rows)");
    refused(path, Errc::corrupt, "damaged");
  }
  SUBCASE("a key that is gone") {
    sql(path, "DELETE FROM versions WHERE key = CAST('b' AS BLOB)");
    refused(path, Errc::corrupt, "damaged");
  }
  SUBCASE("who waits to be told by a cluster") {
    Harness h({.path = dir / "waits.db", .join_cluster = "0123456789abcdef"});
    h.must_open();
    h.close();
    refused(dir / "waits.db", Errc::invalid_argument, "waited");
  }
}

TEST_CASE("what is to be known of the one that is left is written with the surgery") {
  SeededRandom random(6);
  TempDir dir;
  const std::string path = make(dir);
  const Group before = group_of(path);
  const auto survey = survey_database(path, "a", random);
  REQUIRE_MESSAGE(survey, (survey ? "" : survey.error().message));
  CHECK(survey->cluster == before.cluster);
  CHECK(survey->self == before.self);
  CHECK(survey->membership == before.membership);
  REQUIRE(survey->items.size() == 1);
  CHECK(survey->items[0].key == "a");
  CHECK(*survey->items[0].value == "2");
  CHECK(survey->items[0].mod_revision == 3);
  CHECK(survey_database(path, "", random)->items.size() == 2);
  CHECK(survey_database(dir / "none.db", "", random).error().code == Errc::not_found);
  CHECK(group_of(path) == before);  // nothing was changed

  const Amend refuses{"", [](const std::vector<Item>&, raft::MemberId) -> Result<std::vector<Op>> {
                        return fail(Errc::corrupt, "cannot be read");
                      }};
  CHECK(recover_database(path, kNow, random, refuses).error().code == Errc::corrupt);
  CHECK(group_of(path) == before);

  raft::MemberId told = 0;
  const Amend amend{"b", [&](const std::vector<Item>& items, raft::MemberId self) -> Result<std::vector<Op>> {
                      REQUIRE(items.size() == 1);
                      told = self;
                      return std::vector<Op>{del("b"), put("c", *items[0].value)};
                    }};
  const auto done = recover_database(path, kNow, random, amend);
  REQUIRE_MESSAGE(done, (done ? "" : done.error().message));
  CHECK(done->self == told);
  Harness h({.path = path});
  h.must_open();
  CHECK(text_of(h) == "a=2 c=1 ");
  CHECK((*h.get("c"))->mod_revision == done->revision);
  CHECK(h.durable().revision() == done->revision);
}

TEST_CASE("surgery that stops anywhere left the file as it was, or is done") {
  SeededRandom random(5);
  for (const char* point : {"opened", "log", "written", "commit", "close"}) {
    CAPTURE(point);
    TempDir dir;
    const std::string path = make(dir);
    const Group before = group_of(path);
    failpoint::arm(strf("store.surgery.%s=error@1", point));
    CHECK(recover_database(path, kNow, random).error().code == Errc::io);
    failpoint::arm("");
    const bool done = std::string_view(point) == "close";
    const Group after = group_of(path);
    CHECK((after == before) != done);
    CHECK((after.self == before.self) != done);
    Harness h({.path = path});
    h.must_open();
    CHECK(text_of(h) == "a=2 b=1 ");
    CHECK(h.durable().revision() == (done ? 3 + kRevisionJump : 3));
    h.close();
    CHECK(recover_database(path, kNow, random));
  }
}
