// The raft side of the file: the record of the group, and the log that a larger group needs.
#include <doctest/doctest.h>

#include "../sql.h"
#include "base/failpoint.h"
#include "harness.h"
#include "store/check.h"
#include "store/database.h"

using namespace limpet;
using namespace limpet::store;
using namespace limpet::store::test;

namespace {

raft::Entry entry(raft::Index index, raft::Term term, const std::string& bytes) {
  return {index, term, raft::EntryKind::normal, share(bytes)};
}

std::string text(const Result<std::vector<raft::Entry>>& entries) {
  if (!entries) return entries.error().message;
  std::string out;
  for (const raft::Entry& e : *entries) out += raft::to_string(e) + " ";
  return out;
}

struct File {
  TempDir dir;
  std::unique_ptr<Database> db;
  std::optional<Group> group;

  File() { open(); }
  void open() {
    db.reset();
    auto opened = Database::open(dir / "state.db", 1 << 20);
    REQUIRE(opened);
    db = std::move(*opened);
    auto found = db->group();
    REQUIRE(found);
    group = *found;
  }
  void write(Transaction t) {
    std::vector<SharedBytes> previous;
    REQUIRE(db->write(t, {}, previous));
  }
  std::string log(raft::Index after = 0, raft::Index upto = 1000, size_t cost = SIZE_MAX) {
    return text(db->log_after(after, upto, cost));
  }
};

Group some_group() {
  SeededRandom random(3);
  return Group::begin(random, 0);
}

}  // namespace

TEST_CASE("the log is appended to, overwritten, begun anew, and there after a restart") {
  File f;
  CHECK_FALSE(f.group);
  REQUIRE(f.db->found(some_group()));
  Transaction t;
  t.hard_state = raft::HardState{4, 9};
  t.append = {entry(2, 3, "a"), entry(3, 3, ""), entry(4, 4, "c")};
  f.write(t);
  CHECK(f.log() == "2@3=a 3@3 4@4=c ");
  f.open();
  REQUIRE(f.group);
  CHECK(f.group->hard_state == raft::HardState{4, 9});
  CHECK(f.group->self == some_group().self);
  CHECK(f.log() == "2@3=a 3@3 4@4=c ");
  CHECK(f.log(2, 3) == "3@3 ");
  CHECK(f.log(0, 1000, 1) == "2@3=a ");  // one at least
  CHECK(f.log(0, 1000, 70) == "2@3=a 3@3 ");
  // Another leader's entries in place of those that were not agreed on.
  f.write({.append = {entry(3, 5, "b")}});
  CHECK(f.log() == "2@3=a 3@5=b ");
  // Where nobody else needs it, it is not kept.
  f.write({.append = {entry(4, 5, "d")}, .log = false, .apply = {entry(4, 5, "d")}});
  CHECK(f.log() == "");
  f.open();
  CHECK(f.group->applied == raft::SnapshotPoint{4, 5});
  // And begins where the state is, once somebody does.
  f.write({.base = raft::SnapshotPoint{9, 6}, .append = {entry(10, 6, "e")}});
  f.open();
  CHECK(f.group->applied == raft::SnapshotPoint{9, 6});
  CHECK(f.log(9) == "10@6=e ");
  CHECK(*f.db->log_term(9) == 6);
  CHECK(*f.db->log_term(8) == 0);
}

TEST_CASE("the log is shortened up to what is applied, and a start needs nothing of what went") {
  File f;
  REQUIRE(f.db->found(some_group()));
  Transaction t{.base = raft::SnapshotPoint{1, 1}};
  for (raft::Index i = 2; i <= 500; ++i) t.append.push_back(entry(i, 1, std::string(99, 'x')));
  f.write(std::move(t));
  CHECK(f.db->log_bytes() == 499 * 100 + 1);
  REQUIRE(f.db->compact_log({400, 1}, 20000));
  CHECK(f.log(0, 1000, 1) == "301@1=99 bytes ");  // the one before the first that counts
  CHECK(*f.db->log_term(301) == 1);
  REQUIRE(f.db->compact_log({400, 1}, 0));
  CHECK(f.log(0, 1000, 1) == "400@1=99 bytes ");
  REQUIRE(f.db->compact_log({400, 1}, 0));
  f.open();
  CHECK(f.group->applied == raft::SnapshotPoint{400, 1});
  CHECK(f.db->log_bytes() == 101 * 100);
  CHECK(f.db->start_of(*f.group)->tail.size() == 100);
}

TEST_CASE(
    "shortening the log never takes the state back, also when it was asked for before later entries were "
    "applied") {
  File f;
  REQUIRE(f.db->found(some_group()));
  Transaction t{.base = raft::SnapshotPoint{1, 1}};
  for (raft::Index i = 2; i <= 40; ++i) t.append.push_back(entry(i, 1, "x"));
  t.append.push_back(entry(41, 2, ""));
  t.hard_state = raft::HardState{2, 0};
  f.write(t);
  f.write({.apply = t.append});
  REQUIRE(f.db->compact_log({40, 1}, 0));
  f.open();
  CHECK(f.group->applied == raft::SnapshotPoint{41, 2});
  CHECK(f.db->start_of(*f.group));
}

TEST_CASE("a log that does not follow the state is damage, and the check of a file finds it") {
  File f;
  REQUIRE(f.db->found(some_group()));
  f.write({.append = {entry(2, 1, "a"), entry(3, 1, "b")}});
  CHECK(f.db->start_of(*f.db->group().value())->tail.size() == 2);
  REQUIRE(f.db->close());
  f.db.reset();
  CHECK(check_database(f.dir / "state.db", {f.dir.path()}, 1 << 24));
  sql(f.dir / "state.db", "DELETE FROM log WHERE position = 2");
  const auto checked = check_database(f.dir / "state.db", {f.dir.path()}, 1 << 24);
  REQUIRE_FALSE(checked);
  CHECK(checked.error().code == Errc::corrupt);
  CHECK(checked.error().message.find("entry 3 of term 1 follows entry 1 of term 1") != std::string::npos);
}

TEST_CASE("a membership that is applied is remembered, with the entry that brought it") {
  File f;
  Group g = some_group();
  REQUIRE(f.db->found(g));
  g.membership.learners = {g.self == 5 ? 6u : 5u};
  f.write({.apply = {{2, 2, raft::EntryKind::membership, share(raft::encode(g.membership))}}});
  f.open();
  CHECK(f.group->membership == g.membership);
  CHECK(f.group->membership_index == 2);
  CHECK(f.group->applied == raft::SnapshotPoint{2, 2});
}

TEST_CASE("a transaction that was not to be leaves the record as it was") {
  File f;
  REQUIRE(f.db->found(some_group()));
  f.write({.hard_state = raft::HardState{2, 1}});
  failpoint::arm("store.commit.write=error@1");
  std::vector<SharedBytes> previous;
  CHECK_FALSE(f.db->write({.hard_state = raft::HardState{3, 1}}, {}, previous));
  failpoint::arm("");
  f.open();
  CHECK(f.group->hard_state.term == 2);
}

TEST_CASE("a damaged log, a damaged record and one of another kind are named") {
  struct Row {
    const char* sql;
    const char* says;
  };
  for (const Row& row : {
           Row{"UPDATE log SET entry = x'0063' WHERE position = 3", "entry 3 of the log fails its checksum"},
           Row{"UPDATE log SET term = 4 WHERE position = 3", "entry 3 of the log fails its checksum"},
           Row{"UPDATE meta SET value = x'01' WHERE name = CAST('group' AS BLOB)",
               "the entry group fails its checksum"},
       }) {
    CAPTURE(std::string(row.sql));
    File f;
    REQUIRE(f.db->found(some_group()));
    f.write({.append = {entry(2, 1, "a"), entry(3, 1, "b")}});
    REQUIRE(f.db->close());
    f.db.reset();
    sql(f.dir / "state.db", row.sql);
    auto db = *Database::open(f.dir / "state.db", 1 << 20);
    const auto group = db->group();
    const auto log = db->log_after(0, 9, SIZE_MAX);
    REQUIRE((!group || !log));
    const Error error = group ? log.error() : group.error();
    CHECK(error.code == Errc::corrupt);
    CHECK(error.message.find(row.says) != std::string::npos);
  }
}

TEST_CASE("a store knows its group again, and writes its term and nothing else to be started") {
  TempDir dir;
  const std::string path = dir / "state.db";
  const auto group_of = [&] {
    auto db = *Database::open(path, 1 << 20);
    const Group g = **db->group();
    REQUIRE(db->close());
    return g;
  };
  Harness h({.path = path});
  h.must_open();
  h.close();
  const Group first = group_of();
  h.must_open();
  h.turn();
  h.close();
  Group second = first;
  ++second.hard_state.term;
  CHECK(group_of() == second);  // the next one, in which it leads, is not worth a write until something is
  h.must_open();
  h.must_put("a", "1");
  h.close();
  CHECK(group_of().hard_state == raft::HardState{5, first.self});
  CHECK(group_of().applied == raft::SnapshotPoint{3, 5});
  h.must_open();
  h.must_put("a", "2");
  h.must_put("a", "3");
  h.close();
  CHECK(group_of().applied == raft::SnapshotPoint{6, 7});
  CHECK(group_of().self == first.self);
  CHECK(group_of().cluster == first.cluster);
}

TEST_CASE("a file of before groups were known becomes one, and goes on") {
  TempDir dir;
  const std::string path = dir / "state.db";
  Harness h({.path = path});
  h.must_open();
  for (int i = 0; i < 5; ++i) h.must_put("a", std::to_string(i));
  h.close();
  sql(path, "DELETE FROM meta WHERE name = CAST('group' AS BLOB)");
  h.must_open();
  CHECK(h.value("a") == "4");
  CHECK(h.must_put("a", "5") == 6);
  h.reopen();
  CHECK(h.value("a") == "5");
}
