// Flash that stands still for a while: who has it goes on speaking, and another one leads.
#include <doctest/doctest.h>

#include "stalled_disk.h"

using namespace limpet;
using namespace limpet::store;
using namespace limpet::store::test;

namespace {
constexpr size_t kTicks = 150;  // thirty seconds at the usual pace
// A leader sends one to each of two others at every second tick.
constexpr size_t heartbeats_in(size_t ticks) { return 2 * ticks / 2; }
}  // namespace

TEST_CASE("a follower whose disk stands still is heard, elects nobody, and holds a bounded part of the log") {
  Cluster c;
  c.join();
  c.join();
  const size_t leader = c.leader();
  const size_t slow = (leader + 1) % 3;
  REQUIRE(c.until([&] { return c.has_all(slow); }));
  const raft::Term term = c.consensus(leader).leading()->term;
  const raft::Index before = c.consensus(slow).status().last;
  constexpr size_t kValue = 64 << 10;
  int written = 0;
  {
    const StalledDisk stalled(c, slow);
    c.sent.clear();
    while (c.count<raft::Heartbeat>() < heartbeats_in(kTicks)) {
      if (written < 64) {
        REQUIRE(c.write({put(strf("k%d", written), std::string(kValue, 'x'))}));
        ++written;
      } else {
        c.pass(5);
      }
    }
    CHECK(c.leads(leader));
    CHECK(c.consensus(leader).leading()->term == term);
    CHECK(c.consensus(slow).status().standing.leader == c.id(leader));
    CHECK(c.count<raft::Vote>() == 0);
    // Both others answer.
    CHECK(c.count<raft::HeartbeatReply>() + 20 > heartbeats_in(kTicks));
    // What it was sent and did not acknowledge is one window, and was not sent again and again.
    const size_t held = c.consensus(slow).status().last - before;
    CHECK(held * kValue <= (512u << 10) + kValue);
    CHECK(c.count<raft::Append>() < 10 * kTicks);
    CHECK(c.durable(slow).revision() < c.durable(leader).revision());
  }
  REQUIRE(c.until([&] { return c.has_all(slow); }));
  CHECK(c.durable(slow).count("k") == written);
  CHECK(c.fatal.empty());
}

TEST_CASE("a leader whose disk stands still hands the lead over within about an election timeout") {
  Cluster c;
  c.join();
  c.join();
  const size_t slow = c.leader();
  REQUIRE(c.write({put("a", "1")}));
  REQUIRE(c.until([&] { return c.has_all((slow + 1) % 3) && c.has_all((slow + 2) % 3); }));
  std::optional<Result<Committed>> answer;
  {
    const StalledDisk stalled(c, slow);
    c.sent.clear();
    c.durable(slow).commit({{put("a", "2")}}, [&](Result<Committed> r) { answer = std::move(r); });
    REQUIRE(c.until([&] { return !c.leads(slow); }));
    CHECK(c.count<raft::TimeoutNow>() == 1);
    // Twice the timeout is the time that a hand-over may take.
    CHECK(c.count<raft::Heartbeat>() <= heartbeats_in(2 * c.shape.election_ticks + 2));
    // Writes go on meanwhile.
    REQUIRE(c.write({put("b", "1")}));
    CHECK(c.leader() != slow);
    CHECK_FALSE(answer);
  }
  REQUIRE(c.until([&] { return answer.has_value(); }));
  CHECK(*answer);
  REQUIRE(c.until([&] { return c.has_all(slow); }));
  CHECK(c.value(slow, "a") == "2");
  CHECK(c.fatal.empty());
}
