// Several real stores as one raft group: what one acknowledges all have, whoever joins is sent the state, and
// whoever was away catches up.
#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "base/failpoint.h"
#include "base/random.h"
#include "harness.h"
#include "store/consensus.h"

using namespace limpet;
using namespace limpet::store;
using namespace limpet::store::test;

namespace {

// Stores on one loop, with messages that take a turn of it. A member that is down is not there for them.
class Cluster {
 public:
  explicit Cluster(size_t log_bytes = 4u << 20) : log_bytes_(log_bytes) {
    start(add(""));
    const size_t first = 0;
    REQUIRE(until([&] { return leads(first); }));
  }

  size_t add(const std::string& join) {
    Options o{.path = dir_ / strf("%zu.db", members_.size()), .history_revisions = 1000};
    o.join_cluster = join;
    o.log_bytes = log_bytes_;
    o.tick_ms = 5;
    members_.push_back({o, nullptr, 0});
    return members_.size() - 1;
  }
  void start(size_t n) {
    auto opened = Store::open(loop_, members_[n].options, clock_);
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    members_[n].store = std::move(*opened);
    Consensus& c = members_[n].store->consensus();
    members_[n].id = c.self();
    members_[n].store->on_fatal([this](Error e) { fatal.push_back(e.message); });
    c.on_message([this, from = c.self()](raft::MemberId to, std::string bytes) {
      if (cut.contains(from) || cut.contains(to)) return;
      loop_.post([this, to, bytes = std::move(bytes)] {
        for (Member& m : members_) {
          if (m.id == to && m.store) (void)m.store->consensus().receive(bytes);
        }
      });
    });
  }
  void stop(size_t n) { members_[n].store.reset(); }  // as the end of a process would
  // A learner with an empty file, then a voter.
  size_t join() {
    const size_t leader = this->leader();
    const size_t n = add(consensus(leader).cluster());
    start(n);
    auto wanted = consensus(leader).status().membership;
    wanted.learners.push_back(id(n));
    std::sort(wanted.learners.begin(), wanted.learners.end());
    REQUIRE(reconfigure(wanted));
    REQUIRE(until([&] { return has_all(n); }));
    wanted.learners.clear();
    wanted.voters.push_back(id(n));
    std::sort(wanted.voters.begin(), wanted.voters.end());
    REQUIRE(reconfigure(wanted));
    REQUIRE(until([&] { return consensus(n).status().membership == wanted && has_all(n); }));
    return n;
  }
  bool reconfigure(const raft::Membership& wanted) {
    return until([&] {
      const size_t n = leader();
      const raft::Membership now = consensus(n).status().membership;
      if (now == wanted) return true;
      (void)consensus(n).reconfigure(wanted);
      return false;
    });
  }

  Consensus& consensus(size_t n) { return members_[n].store->consensus(); }
  Space& durable(size_t n) { return members_[n].store->durable(); }
  raft::MemberId id(size_t n) const { return members_[n].id; }
  bool running(size_t n) const { return members_[n].store != nullptr; }
  bool leads(size_t n) { return running(n) && consensus(n).status().standing.role == raft::Role::leader; }
  // Among those that run and are not cut off, the one of the newest term.
  size_t leader() {
    std::optional<size_t> best;
    REQUIRE(until([&] {
      best.reset();
      for (size_t n = 0; n < members_.size(); ++n) {
        if (!leads(n) || cut.contains(id(n))) continue;
        if (!best || consensus(n).status().standing.term > consensus(*best).status().standing.term) best = n;
      }
      return best.has_value();
    }));
    return *best;
  }
  bool has_all(size_t n) {
    const size_t l = leader();
    return durable(n).revision() == durable(l).revision() &&
           consensus(n).status().commit == consensus(l).status().last;
  }
  // At the leader, again where it was certainly not done. `io`: it was never answered.
  Result<Committed> write(std::vector<Op> ops) {
    const int64_t until_ms = loop_.now_ms() + 60000;
    std::optional<Result<Committed>> out;
    do {
      out.reset();
      durable(leader()).commit({ops}, [&](Result<Committed> r) { out = std::move(r); });
      if (!until([&] { return out.has_value(); })) return fail(Errc::io, "no answer");
      if (*out || out->error().code != Errc::unavailable) return *out;
      pass(2);
    } while (loop_.now_ms() < until_ms);
    return *out;
  }
  void pass(int64_t ms) {
    (void)loop_.run_until([] { return false; }, ms);
  }
  bool close(size_t n) {
    bool closed = false;
    members_[n].store->close([&] { closed = true; });
    return until([&] { return closed; });
  }
  std::string value(size_t n, const std::string& key) {
    std::optional<std::string> out;
    durable(n).get(key, [&](Result<std::optional<Item>> r) { out = r && *r ? *(*r)->value : "<none>"; });
    REQUIRE(until([&] { return out.has_value(); }));
    return *out;
  }
  Result<> barrier(size_t n) {
    std::optional<Result<>> out;
    consensus(n).barrier([&](Result<> r) { out = std::move(r); });
    REQUIRE(until([&] { return out.has_value(); }));
    return *out;
  }
  bool until(const std::function<bool()>& done) { return loop_.run_until(done, 60000); }

  std::set<raft::MemberId> cut;
  std::vector<std::string> fatal;

 private:
  struct Member {
    Options options;
    std::unique_ptr<Store> store;
    raft::MemberId id = 0;
  };
  TempDir dir_;
  ManualClock clock_;
  loop::Loop loop_;
  size_t log_bytes_;
  std::vector<Member> members_;
};

}  // namespace

TEST_CASE("whoever joins is sent the state, and what is acknowledged from then on is everywhere") {
  Cluster c;
  // More than one chunk, a deletion that is the newest row, and values that are large.
  for (int i = 0; i < 300; ++i) REQUIRE(c.write({put(strf("k%03d", i), std::string(500, 'a'))}));
  REQUIRE(c.write({put("large", std::string(200 << 10, 'b'))}));
  REQUIRE(c.write({del("k007")}));
  const Revision before = c.durable(0).revision();
  const size_t second = c.join();
  const size_t third = c.join();
  CHECK(c.consensus(0).status().membership.voters.size() == 3);
  for (const size_t n : {second, third}) {
    CHECK(c.durable(n).revision() == before);
    CHECK(c.durable(n).count("") == 300);
    CHECK(c.value(n, "large").size() == 200 << 10);
    CHECK(c.value(n, "k007") == "<none>");
    CHECK(c.value(n, "k008").size() == 500);
    // What was before is history that it does not have.
    CHECK(c.durable(n).compacted_revision() == before);
  }
  for (int i = 0; i < 20; ++i) REQUIRE(c.write({put("k008", std::to_string(i))}));
  for (const size_t n : {second, third}) {
    REQUIRE(c.until([&] { return c.has_all(n); }));
    CHECK(c.value(n, "k008") == "19");
  }
  CHECK(c.fatal.empty());
}

TEST_CASE("a write is acknowledged by a majority or not at all, and a leader that is lost is replaced") {
  Cluster c;
  c.join();
  c.join();
  REQUIRE(c.write({put("a", "1")}));
  const size_t old = c.leader();
  std::optional<Result<Committed>> lost;
  c.cut.insert(c.id(old));
  c.durable(old).commit({{put("b", "by nobody")}}, [&](Result<Committed> r) { lost = std::move(r); });
  REQUIRE(c.write({put("a", "2")}));
  const size_t now = c.leader();
  CHECK(now != old);
  CHECK_FALSE(lost);  // nobody knows yet
  c.cut.clear();
  REQUIRE(c.until([&] { return c.has_all(old); }));
  REQUIRE(c.until([&] { return lost.has_value(); }));
  REQUIRE_FALSE(*lost);
  CHECK(lost->error().code == Errc::unavailable);  // certainly not done
  for (const size_t n : {old, now}) {
    CHECK(c.value(n, "a") == "2");
    CHECK(c.value(n, "b") == "<none>");
  }
  // A follower refuses, with no doubt about it.
  std::optional<Result<Committed>> refused;
  c.durable(old).commit({{put("c", "x")}}, [&](Result<Committed> r) { refused = std::move(r); });
  REQUIRE(c.until([&] { return refused.has_value(); }));
  CHECK(refused->error().code == Errc::unavailable);
  CHECK(c.fatal.empty());
}

TEST_CASE("writes that were overwritten are answered, though nothing else is written") {
  Cluster c;
  c.join();
  c.join();
  const size_t old = c.leader();
  std::vector<Errc> answers;
  c.cut.insert(c.id(old));
  for (int i = 0; i < 3; ++i) {
    c.durable(old).commit({{put(strf("lost%d", i), "x")}}, [&](Result<Committed> r) {
      REQUIRE_FALSE(r);
      answers.push_back(r.error().code);
    });
    c.pass(1);  // an entry each
  }
  REQUIRE(c.until([&] { return c.leader() != old; }));
  c.cut.clear();
  REQUIRE(c.until([&] { return answers.size() == 3; }));
  CHECK(answers == std::vector(3, Errc::unavailable));
  CHECK(c.value(old, "lost0") == "<none>");
}

TEST_CASE("whoever leads after being sent a snapshot sends one, with nothing written since") {
  Cluster c;
  for (int i = 0; i < 100; ++i) REQUIRE(c.write({put(strf("k%03d", i), std::string(2000, 'a'))}));
  const size_t second = c.join();
  REQUIRE(c.until([&] {
    (void)c.consensus(0).transfer(c.id(second));
    return c.leads(second);
  }));
  const Revision before = c.durable(second).revision();
  const size_t third = c.join();
  CHECK(c.durable(third).count("") == 100);
  CHECK(c.durable(third).revision() == before);
}

TEST_CASE("a member that stops tells whoever waits, and hears nothing more") {
  Cluster c;
  const size_t second = c.join();
  c.join();
  const size_t leader = c.leader();
  c.cut.insert(c.id(leader));
  std::vector<Errc> answers;
  c.durable(leader).commit({{put("a", "x")}},
                           [&](Result<Committed> r) { answers.push_back(r ? Errc::io : r.error().code); });
  c.consensus(leader).barrier([&](Result<> r) { answers.push_back(r ? Errc::io : r.error().code); });
  c.pass(1);
  REQUIRE(c.close(leader));
  std::sort(answers.begin(), answers.end());
  std::vector<Errc> wanted{Errc::timeout, Errc::unavailable};
  std::sort(wanted.begin(), wanted.end());
  CHECK(answers == wanted);
  c.cut.clear();
  REQUIRE(c.until([&] { return c.leads(second) || c.leader() != leader; }));
  c.pass(30);  // messages and ticks of others come meanwhile
  c.stop(leader);
  c.start(leader);
  REQUIRE(c.until([&] { return c.has_all(leader); }));
  CHECK(c.fatal.empty());
}

TEST_CASE("a device with a state of its own does not become one more server by mistake") {
  TempDir dir;
  const std::string path = dir / "state.db";
  Harness first({.path = path});
  first.must_open();
  first.close();
  Harness joins({.path = path, .join_cluster = "0123456789abcdef"});
  const auto opened = joins.open();
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == Errc::invalid_argument);
  CHECK(opened.error().message.find("limpet reset") != std::string::npos);
}

TEST_CASE("a barrier makes a follower's state as new as what was acknowledged before it") {
  Cluster c;
  const size_t second = c.join();
  c.join();
  const size_t reader = c.leads(second) ? 0 : second;
  for (int i = 0; i < 30; ++i) {
    REQUIRE(c.write({put("a", std::to_string(i))}));
    while (!c.barrier(reader)) {
    }
    CHECK(c.value(reader, "a") == std::to_string(i));
  }
  // One that is cut off says that it does not know.
  c.cut.insert(c.id(reader));
  CHECK(c.barrier(reader).error().code == Errc::unavailable);
}

TEST_CASE("who was away catches up by the log, or by a snapshot when that is gone; watches are told") {
  for (const bool by_log : {true, false}) {
    CAPTURE(by_log);
    Cluster c(by_log ? 4u << 20 : 20 << 10);
    c.join();
    const size_t away = c.join();
    REQUIRE(c.write({put("a", "1")}));
    REQUIRE(c.until([&] { return c.has_all(away); }));
    Seen seen;
    if (by_log) {
      c.cut.insert(c.id(away));
    } else {
      c.stop(away);
    }
    for (int i = 0; i < 200; ++i)
      REQUIRE(c.write({put(strf("k%d", i % 20), std::string(2000, 'x') + std::to_string(i))}));
    if (by_log) {
      seen.watch = *c.durable(away).watch("", c.durable(away).revision(), seen.sink());
      c.cut.clear();
    } else {
      c.start(away);
    }
    REQUIRE(c.until([&] { return c.has_all(away); }));
    CHECK(c.value(away, "k19") == std::string(2000, 'x') + "199");
    CHECK(c.durable(away).count("") == 21);
    CHECK(c.durable(away).compacted_revision() == (by_log ? 0 : 201));
    if (by_log) {
      REQUIRE(c.until([&] { return seen.events.size() == 200; }));
      CHECK_FALSE(seen.lost);
    }
    CHECK(c.fatal.empty());
  }
}

TEST_CASE("a snapshot goes on after a restart of who receives it, and of who sends it") {
  Cluster c(20 << 10);
  c.join();
  c.join();
  for (int i = 0; i < 400; ++i) REQUIRE(c.write({put(strf("k%03d", i), std::string(2000, 'x'))}));
  const size_t late = c.add(c.consensus(c.leader()).cluster());
  c.start(late);
  auto wanted = c.consensus(c.leader()).status().membership;
  wanted.learners = {c.id(late)};
  REQUIRE(c.reconfigure(wanted));
  int restarts = 0;
  for (int i = 0; i < 6 && c.durable(late).revision() == 0; ++i) {
    c.pass(2 + i);
    const size_t who = i % 2 == 0 ? late : c.leader();
    c.stop(who);
    c.start(who);
    ++restarts;
  }
  MESSAGE("restarts while it was sent: ", restarts);
  REQUIRE(c.until([&] { return c.has_all(late); }));
  CHECK(c.durable(late).count("k") == 400);
  CHECK(c.fatal.empty());
}

TEST_CASE("whatever is stopped and started, what was acknowledged is there") {
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    CAPTURE(seed);
    SeededRandom random(seed);
    Cluster c(8 << 10);
    c.join();
    c.join();
    int acknowledged = 0;
    for (int step = 0; step < 60; ++step) {
      const size_t n = random.below(3);
      switch (random.below(4)) {
        case 0:
          if (c.running(n)) c.stop(n), c.start(n);
          break;
        case 1:
          c.cut = {c.id(n)};
          break;
        case 2:
          c.cut.clear();
          break;
        default:
          break;
      }
      const auto r =
          c.write({put("n", std::to_string(step)), put(strf("k%d", step % 7), std::string(700, 'x'))});
      if (r) acknowledged = step;
      REQUIRE((r || r.error().code == Errc::timeout || r.error().code == Errc::unavailable));
    }
    c.cut.clear();
    for (size_t n = 0; n < 3; ++n) {
      REQUIRE(c.until([&] { return c.has_all(n); }));
      CHECK(std::stoi(c.value(n, "n")) >= acknowledged);
    }
    CHECK(c.fatal.empty());
  }
}
