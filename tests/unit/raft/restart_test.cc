// What a member makes of its disk, and the order in which its host tells it of what is stable.
#include <doctest/doctest.h>

#include "raft/raft.h"

using namespace limpet;
using namespace limpet::raft;

namespace {

const Membership kMembers{{1, 2, 3}, {}, {}}, kAlone{{1}, {}, {}};

Start start_with(Index applied, Term term, size_t tail) {
  Start start{{term, 0}, {applied, term}, kMembers, 1, {}, {}};
  for (size_t i = 1; i <= tail; ++i) start.tail.push_back({applied + i, term, EntryKind::normal, share("x")});
  return start;
}

Raft leader_of_three() {
  Raft core({.self = 1, .seed = 1, .heartbeat_ticks = 2, .election_ticks = 10}, start_with(1, 1, 0));
  core.campaign();
  (void)core.take();
  core.receive({2, 1, 2, VoteReply{true, true}});
  core.persisted(core.take().sequence);
  core.receive({2, 1, 2, VoteReply{false, true}});
  core.persisted(core.take().sequence);
  (void)core.take();
  return core;
}

size_t appends_to(const Batch& batch, MemberId peer) {
  return static_cast<size_t>(std::count_if(
      batch.messages.begin(), batch.messages.end(),
      [&](const Message& m) { return m.to == peer && std::holds_alternative<Append>(m.body); }));
}

}  // namespace

TEST_CASE("a snapshot that was staged whole is installed at a restart, unless the log has overtaken it") {
  for (const bool overtaken : {false, true}) {
    CAPTURE(overtaken);
    // Acknowledged entries may follow it: to install it then would take them away (etcd pull request 1837).
    Start start = start_with(40, 3, overtaken ? 60 : 5);
    start.staged = Staged{{{50, 3}, kMembers}, "end", true};
    Raft core({.self = 1, .seed = 1}, start);
    const Batch batch = core.take();
    CHECK(batch.install.has_value() != overtaken);
    CHECK(batch.unstage == overtaken);
    CHECK(core.status().last == (overtaken ? 100 : 50));
    CHECK(core.status().commit == 50);
  }
}

TEST_CASE("a disk that says what cannot be") {
  CHECK(check(start_with(5, 2, 3)));
  CHECK(check(Start{}));
  Start hole = start_with(5, 2, 3);
  hole.tail[1].index = 9;
  CHECK(check(hole).error().code == Errc::corrupt);
  Start falling = start_with(5, 2, 3);
  falling.tail[2].term = 1;
  CHECK(check(falling).error().code == Errc::corrupt);
  Start ahead = start_with(5, 2, 3);
  ahead.hard_state.term = 1;
  CHECK(check(ahead).error().code == Errc::corrupt);
  Start nobody = start_with(5, 2, 0);
  nobody.membership = {};
  CHECK(check(nobody).error().code == Errc::corrupt);
  Start newer = start_with(5, 2, 1);
  newer.tail[0] = {6, 2, EntryKind::membership, share("\2future")};
  CHECK(check(newer).error().code == Errc::unsupported);
}

TEST_CASE(
    "a group of one: leadership, reads and what is agreed on wait for the disk, in whatever order it is "
    "asked") {
  Start start = start_with(1, 1, 0);
  start.membership = kAlone;
  Raft core({.self = 1, .seed = 1}, start);
  const auto early = core.read();
  REQUIRE(early);
  const Batch first = core.take();
  REQUIRE(first.sequence == 1);
  CHECK(first.apply.size() == 1);
  // The term may be lost yet, and another begin with the same number.
  CHECK_FALSE(first.standing);
  CHECK(first.reads.empty());
  CHECK(core.status().commit == 1);
  core.persisted(1);
  const Batch second = core.take();
  REQUIRE(second.standing);
  CHECK(second.standing->role == Role::leader);
  core.applied(2);
  CHECK(core.status().commit == 2);
  const auto late = core.read();
  REQUIRE(late);
  std::vector<ReadDone> done = second.reads;
  for (Batch batch = core.take(); !batch.empty(); batch = core.take()) {
    done.insert(done.end(), batch.reads.begin(), batch.reads.end());
  }
  REQUIRE(done.size() == 2);
  CHECK(done[0].id == *early);
  CHECK(done[1].id == *late);
  CHECK(done[1].index == 2);
}

TEST_CASE("reads without an end do not keep a lost Append from being sent again") {
  Raft core = leader_of_three();
  size_t repeated = 0;
  uint64_t round = 0;
  for (int tick = 0; tick < 30 && repeated == 0; ++tick) {
    (void)core.read();
    core.tick();
    const Batch batch = core.take();
    for (const Message& m : batch.messages) {
      if (const auto* heartbeat = std::get_if<Heartbeat>(&m.body)) round = heartbeat->round;
    }
    core.receive({2, 1, 2, HeartbeatReply{round}});
    repeated += appends_to(core.take(), 2);
  }
  CHECK(repeated > 0);
}

TEST_CASE("a part of a snapshot that comes while another is about to be installed waits") {
  Raft core({.self = 3, .seed = 1}, {});
  const auto chunk = [](Index index, bool last) {
    return Message{1, 3, 2, SnapshotChunk{{{index, 2}, kMembers}, "", "next", last, share("x")}};
  };
  core.receive(chunk(10, true));
  core.persisted(core.take().sequence);
  core.chunk_stored(true);
  core.receive(chunk(20, false));  // in the same turn of the loop
  const Batch batch = core.take();
  CHECK(batch.install.has_value());
  CHECK_FALSE(batch.stage.has_value());
}

TEST_CASE(
    "a staged snapshot that the log overtakes while its next part waits for the disk goes after that part") {
  Start start = start_with(5, 1, 1);
  start.staged = Staged{{{10, 1}, kMembers}, "half", false};
  Raft core({.self = 1, .seed = 1}, start);
  core.receive({2, 1, 1, Heartbeat{6, 0}});
  const Batch busy = core.take();
  REQUIRE(busy.apply.size() == 1);
  core.receive({2, 1, 1, SnapshotChunk{{{10, 1}, kMembers}, "half", "more", false, share("x")}});
  // Another leader's log goes on where this one ends.
  Append append{.prev_index = 6, .prev_term = 1, .commit = 12};
  for (Index i = 7; i <= 12; ++i) append.entries.push_back({i, 2, EntryKind::normal, share("y")});
  core.receive({3, 1, 2, append});
  core.applied(6);
  // What the part is put behind must not go in the same transaction.
  const Batch next = core.take();
  REQUIRE(next.stage);
  CHECK_FALSE(next.unstage);
  core.persisted(next.sequence);
  core.chunk_stored(true);
  CHECK(core.take().unstage);
}

TEST_CASE("what follows a snapshot that is installed at a start is applied after it, not with it") {
  Start start = start_with(5, 1, 1);
  start.staged = Staged{{{10, 1}, kMembers}, "all", true};
  Raft core({.self = 1, .seed = 1}, start);
  // It is heard before the host has come to take anything.
  core.receive({2, 1, 1, Append{10, 1, 11, {{11, 1, EntryKind::normal, share("x")}}}});
  const Batch first = core.take();
  CHECK(first.install);
  CHECK(first.append.size() == 1);
  CHECK(first.apply.empty());
  core.persisted(first.sequence);
  CHECK(core.take().apply.size() == 1);
}
