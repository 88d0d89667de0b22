// What no correct member sends: told of, never followed, never the end of this one.
#include <doctest/doctest.h>

#include "raft/raft.h"

using namespace limpet;
using namespace limpet::raft;

namespace {

constexpr uint64_t kHuge = ~uint64_t{0};
const Membership kMembers{{1, 2, 3}, {}, {}};

Entry entry(Index index, Term term, const char* bytes = "x") {
  return {index, term, EntryKind::normal, share(bytes)};
}

struct Row {
  const char* name;
  Message message;
  bool complained = true;
};

std::vector<Row> rows() {
  const Entry no_membership{2, 1, EntryKind::membership, share("junk")};
  return {
      {"for another member", {2, 3, 1, Heartbeat{1, 0}}},
      {"from itself", {1, 1, 1, Heartbeat{1, 0}}},
      {"from nobody", {0, 1, 1, Heartbeat{1, 0}}},
      {"term 0", {2, 1, 0, Heartbeat{1, 0}}},
      {"a term at the end of numbers", {2, 1, kHuge, Heartbeat{1, 0}}},
      {"a vote for it", {2, 1, kHuge, Vote{false, true, 9, 9}}},
      {"a term far ahead", {2, 1, uint64_t{1} << 40, Heartbeat{1, 0}}},
      {"entries at the end of numbers", {2, 1, 2, Append{kHuge, 1, 1, {entry(0, 1)}}}},
      {"a gap between entries", {2, 1, 2, Append{1, 1, 1, {entry(2, 1), entry(4, 1)}}}},
      {"terms that fall", {2, 1, 2, Append{1, 1, 1, {entry(2, 2), entry(3, 1)}}}},
      {"an entry of a later term", {2, 1, 2, Append{1, 1, 1, {entry(2, 3)}}}},
      {"a membership that is none", {2, 1, 2, Append{1, 1, 1, {no_membership}}}},
      {"an entry without bytes", {2, 1, 2, Append{1, 1, 1, {{2, 1, EntryKind::normal, nullptr}}}}},
      {"a commit beyond what was acknowledged", {2, 1, 2, Heartbeat{kHuge, 0}}},
      {"a snapshot of nothing", {2, 1, 2, SnapshotChunk{{{0, 0}, kMembers}, "", "", true, share("")}}},
      {"a snapshot at the end of numbers",
       {2, 1, 2, SnapshotChunk{{{kHuge, 1}, kMembers}, "", "", true, share("")}}},
      {"a snapshot of nobody", {2, 1, 2, SnapshotChunk{{{9, 1}, {}}, "", "", true, share("")}}},
      {"entries from before the first state", {2, 1, 2, Append{0, 0, 1, {entry(1, 2)}}}},
      {"an answer to nothing", {2, 1, 1, AppendReply{kHuge, 0, 0, 0}}, false},
      {"a vote that was not asked for", {2, 1, 1, VoteReply{false, true}}, false},
      {"a read that was not asked for", {2, 1, 1, ReadIndexReply{4, kHuge}}, false},
      {"an order to lead from nobody", {2, 1, 1, TimeoutNow{}}, false},
  };
}

Raft fresh() { return Raft({.self = 1, .seed = 1}, {{1, 0}, {1, 1}, kMembers, 1, {}, {}}); }

}  // namespace

TEST_CASE("messages that no correct member sends") {
  for (const Row& row : rows()) {
    CAPTURE(row.name);
    Raft core = fresh();
    core.receive(row.message);
    const Batch batch = core.take();
    CHECK(batch.complaints.empty() != row.complained);
    CHECK(batch.append.empty());
    CHECK(batch.apply.empty());
    CHECK(core.status().commit == 1);
    CHECK(core.status().last == 1);
    CHECK(core.standing().term < 9);
  }
}

TEST_CASE("two leaders of one term: the second is not followed") {
  Raft core = fresh();
  core.receive({2, 1, 2, Append{1, 1, 1, {entry(2, 2, "a")}}});
  core.receive({3, 1, 2, Append{1, 1, 1, {entry(2, 2, "b")}}});
  const Batch batch = core.take();
  REQUIRE(batch.append.size() == 1);
  CHECK(*batch.append[0].bytes == "a");
  CHECK(batch.complaints.size() == 1);
  CHECK(core.standing().leader == 2);
}

TEST_CASE("what a leader keeps is bounded: without a majority, and with a disk that stores nothing") {
  for (const bool majority : {false, true}) {
    Raft core({.self = 1, .seed = 1, .max_pending_bytes = 10000}, {{1, 0}, {1, 1}, kMembers, 1, {}, {}});
    core.campaign();
    (void)core.take();
    core.receive({2, 1, 2, VoteReply{true, true}});
    core.persisted(core.take().sequence);
    core.receive({2, 1, 2, VoteReply{false, true}});
    REQUIRE(core.standing().role == Role::leader);
    size_t bytes = 0;
    while (core.propose(share(std::string(100, 'x')))) {
      bytes += 100;
      REQUIRE(bytes < 100000);
      (void)core.take();
      if (!majority) continue;
      core.receive({2, 1, 2, AppendReply{.match = core.status().last}});
      core.receive({3, 1, 2, AppendReply{.match = core.status().last}});
    }
    CHECK(bytes > 5000);
    CHECK((core.status().commit > 10) == majority);
  }
}

TEST_CASE("what is kept for a peer is bounded, however much it is sent") {
  Raft core = fresh();
  core.receive({2, 1, 2, Heartbeat{1, 0}});
  (void)core.take();  // its disk never answers
  for (int i = 0; i < 10000; ++i) core.receive({2, 1, 2, Heartbeat{1, 0}});
  core.persisted(1);
  CHECK(core.take().messages.size() <= 4096);
  for (int i = 0; i < 100; ++i) core.receive({2, 3, 1, Heartbeat{1, 0}});
  CHECK(core.take().complaints.size() <= 16);
}
