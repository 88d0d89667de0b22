// Snapshots as bytes, and from one file into another: whole or not at all.
#include "store/snapshot.h"

#include <doctest/doctest.h>

#include "base/failpoint.h"
#include "base/random.h"
#include "harness.h"
#include "store/consensus.h"
#include "store/database.h"

using namespace limpet;
using namespace limpet::store;
using namespace limpet::store::test;

namespace {

const raft::Membership kMembers{{1, 2, 3}, {}, {4}};

SnapshotRow row(const std::string& key, Revision revision, const std::string& value) {
  return {key, row_id(revision, 0), 1, to_stored(value)};
}

SnapshotPart some_part(bool ends) {
  SnapshotPart part{{row("a", 3, "x"), row("b", 2, ""), row("c", 9, std::string(300, 'z'))}, {}};
  if (ends) part.end = SnapshotEnd{{"gone", row_id(12, 1), 4, ""}, 17, 1700000000, 0xfedcba9876543210};
  return part;
}

// The parts of a file's state, as a leader would send them.
std::vector<raft::SnapshotChunk> chunks_of(const std::string& path, const raft::SnapshotPoint& point) {
  auto db = *Database::open(path, 1 << 20);
  SnapshotCursor cursor{revision_of(db->newest()->id), kMembers, ""};
  std::vector<raft::SnapshotChunk> out;
  std::string from;
  for (bool last = false; !last;) {
    const SnapshotPart part = *db->read_part(cursor);
    last = part.end.has_value();
    out.push_back({{point, kMembers}, from, encode(cursor), last, share(encode(part))});
    from = encode(cursor);
  }
  REQUIRE(db->close());
  return out;
}

struct Source {
  TempDir dir;
  std::string path = dir / "source.db";
  std::map<std::string, std::string> truth;
  Source() {
    Harness h({.path = path});
    h.must_open();
    for (int i = 0; i < 150; ++i) {
      const std::string key = strf("k%02d", i % 90);
      h.must_put(key, truth[key] = std::string(1500, static_cast<char>('a' + i % 26)));
    }
    REQUIRE(h.commit({del("k11")}));
    truth.erase("k11");
    h.close();
  }
};

Result<> write(Database& db, const Transaction& t) {
  std::vector<SharedBytes> previous;
  return db.write(t, {}, previous);
}

Result<> stage(Database& db, const raft::SnapshotChunk& chunk) { return write(db, {.stage = chunk}); }

std::unique_ptr<Database> waiting_member(const std::string& path) {
  auto db = *Database::open(path, 1 << 20);
  if (!db->group().value()) {
    SeededRandom random(5);
    REQUIRE(db->found(Group::wait(random, "0123456789abcdef")));
  }
  return db;
}

}  // namespace

TEST_CASE("parts and cursors of a snapshot are read as they were written, and nothing else is") {
  for (const bool ends : {false, true}) {
    const SnapshotPart part = some_part(ends);
    const std::string bytes = encode(part);
    CHECK(*decode_part(bytes) == part);
    for (size_t n = 0; n < bytes.size(); ++n) CHECK_FALSE(decode_part(bytes.substr(0, n)));
    CHECK_FALSE(decode_part(bytes + "x"));
  }
  CHECK(*decode_part(encode(SnapshotPart{})) == SnapshotPart{});
  SnapshotPart falls = some_part(false);
  std::swap(falls.rows[0], falls.rows[1]);
  CHECK(decode_part(encode(falls)).error().code == Errc::corrupt);
  SnapshotPart deleted = some_part(false);
  deleted.rows[1].stored.clear();
  CHECK(decode_part(encode(deleted)).error().code == Errc::corrupt);
  SnapshotPart later = some_part(false);
  later.rows[0].created = 4;  // than its row
  CHECK(decode_part(encode(later)).error().code == Errc::corrupt);
  const SnapshotCursor cursor{40, kMembers, "pods/default/web"};
  const std::string bytes = encode(cursor);
  CHECK(*decode_cursor(bytes) == cursor);
  for (size_t n = 0; n < bytes.size(); ++n) CHECK_FALSE(decode_cursor(bytes.substr(0, n)));
  CHECK_FALSE(decode_cursor(bytes + "x"));
  std::string newer = bytes;
  newer[0] = 2;
  CHECK(decode_cursor(newer).error().code == Errc::unsupported);
}

TEST_CASE("a staged snapshot goes on after a restart, and becomes the state in one step") {
  Source source;
  const auto chunks = chunks_of(source.path, {400, 3});
  REQUIRE(chunks.size() > 2);
  TempDir dir;
  const std::string path = dir / "state.db";
  for (const raft::SnapshotChunk& chunk : chunks) {
    auto db = waiting_member(path);
    REQUIRE(stage(*db, chunk));
    const auto staged = *db->staged();
    CHECK(staged->cursor == chunk.next);
    CHECK(staged->complete == chunk.last);
    CHECK(db->newest()->id == 0);
  }
  {
    auto db = waiting_member(path);
    failpoint::arm("store.snapshot.install=error@1");
    CHECK_FALSE(write(*db, {.install = chunks[0].meta}));
    failpoint::arm("");
  }
  {
    auto db = waiting_member(path);
    CHECK(db->newest()->id == 0);
    CHECK((*db->staged())->complete);
    REQUIRE(write(*db, {.hard_state = raft::HardState{3, 0}, .install = chunks[0].meta}));
    CHECK_FALSE(*db->staged());
    const Group g = **db->group();
    CHECK(g.applied == raft::SnapshotPoint{400, 3});
    CHECK(g.membership == kMembers);
    CHECK(g.membership_index == 400);
    CHECK(*db->log_term(400) == 3);
    REQUIRE(db->close());
  }
  Harness h({.path = path});
  h.must_open();
  CHECK(h.durable().revision() == 151);
  CHECK(h.durable().compacted_revision() == 151);
  const auto items = h.all("");
  REQUIRE(items);
  CHECK(items->size() == source.truth.size());
  for (const Item& item : *items) CHECK(*item.value == source.truth[item.key]);
}

TEST_CASE("what is no snapshot is refused, changes nothing and does not end the writing") {
  Source source;
  const auto chunks = chunks_of(source.path, {400, 3});
  TempDir dir;
  auto db = waiting_member(dir / "state.db");
  REQUIRE(stage(*db, chunks[0]));
  raft::SnapshotChunk garbage = chunks[1];
  garbage.bytes = share("garbage");
  CHECK(stage(*db, garbage).error().code == Errc::invalid_argument);
  CHECK((*db->staged())->cursor == chunks[0].next);
  // A part that is left out shows at the end.
  raft::SnapshotChunk end = chunks.back();
  const auto refused = stage(*db, end);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::invalid_argument);
  CHECK(refused.error().message.find("are not those that it ends with") != std::string::npos);
  // More than the entry that it is said to be of can have led to.
  raft::SnapshotChunk before{
      {{5, 3}, kMembers}, "", "x", true, share(encode(SnapshotPart{{}, some_part(true).end}))};
  CHECK(stage(*db, before).error().code == Errc::invalid_argument);
  CHECK(write(*db, {.install = chunks[0].meta}).error().code == Errc::corrupt);
}

TEST_CASE("a snapshot that begins anew, and one that is let go, leave nothing of the one before") {
  Source source;
  const auto chunks = chunks_of(source.path, {400, 3});
  TempDir dir;
  auto db = waiting_member(dir / "state.db");
  raft::SnapshotChunk other{{{30, 2}, kMembers}, "", "x", false, share(encode(some_part(false)))};
  REQUIRE(stage(*db, other));
  for (const raft::SnapshotChunk& chunk : chunks) REQUIRE(stage(*db, chunk));
  CHECK((*db->staged())->complete);
  REQUIRE(write(*db, {.unstage = true}));
  CHECK_FALSE(*db->staged());
  REQUIRE(write(*db, {.unstage = true}));
}

TEST_CASE("an empty state is a snapshot, too") {
  TempDir dir;
  {
    Harness h({.path = dir / "source.db"});
    h.must_open();
    h.close();
  }
  auto source = *Database::open(dir / "source.db", 1 << 20);
  SnapshotCursor cursor{0, kMembers, ""};
  const SnapshotPart part = *source->read_part(cursor);
  CHECK(part == SnapshotPart{});
  auto db = waiting_member(dir / "state.db");
  const raft::SnapshotMeta meta{{2, 1}, kMembers};
  REQUIRE(stage(*db, {meta, "", encode(cursor), true, share(encode(part))}));
  REQUIRE(write(*db, {.install = meta}));
  CHECK((**db->group()).applied == raft::SnapshotPoint{2, 1});
}
