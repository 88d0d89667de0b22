// What a store says to whoever writes and reads while the lead of its group comes and goes.
#include <doctest/doctest.h>

#include "cluster.h"
#include "stalled_disk.h"

using namespace limpet;
using namespace limpet::store;
using namespace limpet::store::test;

namespace {

using Answer = std::optional<Result<Committed>>;

void commit(Cluster& c, size_t n, const std::string& key, Answer& answer, raft::Term term = 0) {
  c.durable(n).commit({{put(key, "x")}, term}, [&answer](Result<Committed> r) {
    REQUIRE_FALSE(answer);
    answer = std::move(r);
  });
}

bool says(const Answer& answer, Errc code, const std::string& words) {
  return answer && !*answer && answer->error().code == code &&
         answer->error().message.find(words) != std::string::npos;
}

// The two others of a group of three, played: they vote and store, as far as they are to.
class Played {
 public:
  explicit Played(Harness& h) : h_(h) {
    consensus().on_message([this](raft::MemberId to, std::string bytes) {
      const auto message = raft::decode_message(bytes, consensus().self(), to);
      REQUIRE(message);
      h_.loop().post([this, m = *message] { answer(m); });
    });
    const raft::Membership three{{2, 3, consensus().self()}, {}, {}};
    REQUIRE(consensus().reconfigure(three));
    REQUIRE(h_.turn_until([&] { return status().membership == three && status().commit == status().last; }));
  }
  void say(raft::MemberId from, raft::Term term, raft::Body body) {
    REQUIRE(consensus().receive(raft::encode(raft::Message{from, consensus().self(), term, std::move(body)}),
                                from));
  }
  Consensus& consensus() { return h_.store().consensus(); }
  raft::Status status() { return consensus().status(); }

  bool store = true, vote = true;

 private:
  void answer(const raft::Message& m) {
    if (const auto* v = std::get_if<raft::Vote>(&m.body); v && vote)
      say(m.to, m.term, raft::VoteReply{v->pre, true});
    if (!store) return;
    if (const auto* b = std::get_if<raft::Heartbeat>(&m.body))
      say(m.to, m.term, raft::HeartbeatReply{b->round});
    if (const auto* a = std::get_if<raft::Append>(&m.body))
      say(m.to, m.term, raft::AppendReply{.match = a->prev_index + a->entries.size()});
  }
  Harness& h_;
};

size_t other_than(const Cluster& c, size_t n) { return (n + 1) % c.size(); }

}  // namespace

TEST_CASE("what was decided in one term is not written in another") {
  Cluster c;
  c.join();
  c.join();
  const size_t old = c.leader();
  const raft::Term decided = c.consensus(old).leading()->term;
  Answer in_time, late, elsewhere, again;
  commit(c, old, "in-time", in_time, decided);
  REQUIRE(c.until([&] { return in_time.has_value(); }));
  CHECK(*in_time);

  // It is not heard of for a while, and leads again.
  c.cut.insert(c.id(old));
  REQUIRE(c.until([&] { return c.leader() != old; }));
  const size_t now = c.leader();
  c.cut.clear();
  REQUIRE(c.until([&] { return c.has_all(old); }));
  commit(c, now, "elsewhere", elsewhere, decided);
  c.lead(old);
  REQUIRE(c.consensus(old).leading()->term > decided);
  commit(c, old, "late", late, decided);
  const std::string words = strf("decided in term %llu", static_cast<unsigned long long>(decided));
  CHECK(says(late, Errc::unavailable, words));
  CHECK(says(elsewhere, Errc::unavailable, words));
  commit(c, old, "again", again, c.consensus(old).leading()->term);
  REQUIRE(c.until([&] { return again.has_value(); }));
  CHECK(*again);
  CHECK(c.value(old, "in-time") == "x");
  CHECK(c.value(old, "late") == "<none>");
  CHECK(c.value(old, "elsewhere") == "<none>");
  CHECK(c.fatal.empty());
}

TEST_CASE("a decision of a term waits for the disk, and is dropped when the term ends meanwhile") {
  Cluster c;
  c.join();
  c.join();
  const size_t old = c.leader();
  const raft::Term decided = c.consensus(old).leading()->term;
  Answer first, queued;
  {
    const StalledDisk stalled(c, old);
    commit(c, old, "first", first);
    c.pass(8);
    commit(c, old, "queued", queued, decided);  // the transaction before it is under way
    // Another one leads, since the disk stands still; it answers before its disk does.
    REQUIRE(c.until([&] { return queued.has_value(); }));
    CHECK(says(queued, Errc::unavailable, "not written"));
    REQUIRE(c.until([&] { return c.leader() != old; }));
    // The others agreed on the first one: the answer waits for the disk here, as the state does.
    CHECK_FALSE(first);
  }
  REQUIRE(c.until([&] { return first.has_value(); }));
  CHECK(*first);
  c.lead(old);
  CHECK(c.value(old, "queued") == "<none>");
  CHECK(c.value(old, "first") == "x");
}

TEST_CASE("what comes while the leader's disk is at work is with the others at once") {
  Cluster c(4u << 20, 400);  // the disk may take half a tick
  c.join();
  c.join();
  const size_t old = c.leader();
  const raft::Term term = c.consensus(old).leading()->term;
  Answer first, second;
  {
    const StalledDisk stalled(c, old);
    commit(c, old, "first", first);
    c.pass(5);
    commit(c, old, "second", second);
    // Without the leader's disk: the others are a majority.
    REQUIRE(c.until([&] { return c.consensus(old).status().commit == c.consensus(old).status().last; }));
    CHECK(c.consensus(old).leading()->term == term);
    CHECK_FALSE(second);
  }
  REQUIRE(c.until([&] { return second.has_value(); }));
  CHECK(*first);
  CHECK(*second);
  REQUIRE(c.until([&] { return c.has_all(other_than(c, old)); }));
  CHECK(c.value(other_than(c, old), "second") == "x");
}

TEST_CASE("who does not lead says so at once, whatever its disk does") {
  Cluster c;
  c.join();
  c.join();
  const size_t follower = other_than(c, c.leader());
  Answer led, stalled, alone;
  commit(c, follower, "a", led);
  CHECK(says(led, Errc::unavailable, "another server leads"));  // before the call returned
  {
    const StalledDisk disk(c, follower);
    c.pass(20);
    commit(c, follower, "a", stalled);
    CHECK(says(stalled, Errc::unavailable, "another server leads"));
  }
  c.cut.insert(c.id(follower));
  REQUIRE(c.until([&] { return c.consensus(follower).status().standing.leader == 0; }));
  commit(c, follower, "a", alone);
  CHECK(says(alone, Errc::unavailable, "no server leads"));
  c.cut.clear();
  REQUIRE(c.until([&] { return c.has_all(follower); }));
  CHECK(c.value(follower, "a") == "<none>");
}

TEST_CASE("while the lead is handed over nothing is proposed") {
  Cluster c;
  c.join();
  c.join();
  const size_t leader = c.leader();
  const size_t next = other_than(c, leader);
  c.cut.insert(c.id(next));  // it never takes it
  REQUIRE(c.consensus(leader).transfer(c.id(next)));
  Answer answer;
  commit(c, leader, "a", answer);
  REQUIRE(c.until([&] { return answer.has_value(); }));
  CHECK(says(answer, Errc::unavailable, "handed over"));
  CHECK(c.value(leader, "a") == "<none>");
  // The transfer is given up, and writing goes on.
  c.cut.clear();
  CHECK(c.write({put("a", "1")}));
}

TEST_CASE("what became of a proposal is unknown once its leader has long lost the lead") {
  Cluster c;
  c.shape.unknown_ticks = 5;
  c.join();
  c.join();
  const size_t old = 1;  // of that shape
  c.lead(old);
  Answer answer, after;
  c.cut.insert(c.id(old));
  commit(c, old, "a", answer);
  REQUIRE(c.until([&] { return answer.has_value(); }));
  CHECK(says(answer, Errc::timeout, "unknown"));
  CHECK_FALSE(c.leads(old));  // not before
  commit(c, old, "a", after);
  CHECK(says(after, Errc::unavailable, "no server leads"));
  REQUIRE(c.write({put("b", "1")}));
  c.cut.clear();
  REQUIRE(c.until([&] { return c.has_all(old); }));  // a second answer would fail the test
}

TEST_CASE("what the others agreed on without its leader is acknowledged by it when it hears of that") {
  Cluster c;
  c.join();
  c.join();
  const size_t old = c.leader();
  Answer answer;
  c.deaf.insert(c.id(old));  // what it sends arrives
  commit(c, old, "a", answer);
  REQUIRE(c.until([&] { return !c.leads(old); }));
  CHECK_FALSE(answer);
  c.deaf.clear();
  REQUIRE(c.until([&] { return answer.has_value(); }));
  REQUIRE(*answer);
  CHECK(c.value(old, "a") == "x");
}

TEST_CASE("whoever subscribes is told who leads until it lets go; a leader is ready when a barrier says so") {
  Cluster c;
  CHECK(c.consensus(0).leading()->ready);  // nobody else can have written anything
  c.join();
  c.join();
  const size_t old = c.leader();
  std::vector<raft::Standing> one, two;
  std::vector<std::pair<bool, bool>> at_barrier;  // leads, is ready
  Consensus::Subscription first, second;
  for (size_t n = 0; n < 3; ++n) {
    if (n == old) continue;
    Consensus& group = c.consensus(n);
    CHECK_FALSE(group.leading());
    if (first) continue;
    first = group.on_standing([&](const raft::Standing& s) {
      one.push_back(s);
      if (s.role != raft::Role::leader) return;
      CHECK(group.leading()->term == s.term);
      CHECK_FALSE(group.leading()->ready);  // nothing of this term is applied
      group.barrier([&](const Result<>& r) {
        at_barrier.emplace_back(r.has_value(), group.leading() && group.leading()->ready);
      });
    });
    second = group.on_standing([&](const raft::Standing& s) { two.push_back(s); });
  }
  const size_t next = old == 0 ? 1 : 0;
  c.lead(next);
  REQUIRE(c.until([&] { return !at_barrier.empty(); }));
  CHECK(at_barrier.front() == std::pair(true, true));
  CHECK(one.back().role == raft::Role::leader);
  CHECK(one == two);
  second.reset();
  const size_t told = two.size();
  c.lead(old);
  REQUIRE(c.until([&] { return one.back().role == raft::Role::follower; }));
  CHECK_FALSE(c.consensus(next).leading());
  CHECK(two.size() == told);
  // It may outlive the store.
  c.stop(next);
}

TEST_CASE("a thousand reads at once are one question") {
  Cluster c;
  c.join();
  c.join();
  const size_t leader = c.leader();
  for (const size_t n : {leader, other_than(c, leader)}) {
    CAPTURE(n == leader);
    int done = 0;
    c.sent.clear();
    for (int i = 0; i < 1000; ++i) {
      c.consensus(n).barrier([&](const Result<>& r) {
        CHECK(r);
        ++done;
      });
    }
    CHECK(c.count<raft::ReadIndex>() == 0);
    REQUIRE(c.until([&] { return done == 1000; }));
    CHECK(c.count<raft::ReadIndex>() == (n == leader ? 0 : 1));
    // A heartbeat to each of two others, and what ticks send meanwhile.
    CHECK(c.count<raft::Heartbeat>() < 100);
  }
}

TEST_CASE("a question that is under way does not answer those who ask later") {
  Cluster c;
  c.join();
  c.join();
  const size_t reader = other_than(c, c.leader());
  std::vector<int> done;
  c.sent.clear();
  c.consensus(reader).barrier([&](const Result<>&) { done.push_back(1); });
  REQUIRE(c.until([&] { return c.count<raft::ReadIndex>() == 1; }));
  c.consensus(reader).barrier([&](const Result<>&) { done.push_back(2); });
  c.consensus(reader).barrier([&](const Result<>&) { done.push_back(3); });
  REQUIRE(c.until([&] { return done.size() == 3; }));
  CHECK(done == std::vector{1, 2, 3});
  CHECK(c.count<raft::ReadIndex>() == 2);
}

TEST_CASE("alone a barrier is done when the call returns and costs nothing") {
  TempDir dir;
  Harness h({.path = dir / "state.db"});
  h.must_open();
  h.must_put("a", "1");
  const uint64_t syncs = h.store().stats().fsyncs;
  int done = 0;
  h.store().consensus().on_message([](raft::MemberId, const std::string&) { FAIL("a message"); });
  for (int i = 0; i < 1000; ++i) h.store().consensus().barrier([&](const Result<>& r) { done += r ? 1 : 0; });
  CHECK(done == 1000);
  h.turn();
  CHECK(h.store().stats().fsyncs == syncs);
}

// What was overwritten here may be in the log of a member that leads later, until what took its place is
// agreed on.
TEST_CASE("what was overwritten by what is not agreed on is unknown, and not certainly undone") {
  TempDir dir;
  Options o;
  o.path = dir / "l.db";
  o.tick_ms = 5;
  o.unknown_ticks = 100000;
  Harness h(o);
  h.must_open();
  Played others(h);
  others.store = others.vote = false;
  const raft::Status before = others.status();
  Answer answers[3], last;
  for (int i = 0; i < 3; ++i) {
    h.durable().commit({{put(strf("w%d", i), "x")}},
                       [&answers, i](Result<Committed> r) { answers[i] = std::move(r); });
    REQUIRE(h.turn_until([&] { return others.status().last == before.last + 1 + static_cast<size_t>(i); }));
  }
  // A leader of the next term has one entry, which this member alone is told of.
  const raft::Term term = before.standing.term + 1;
  const raft::Entry entry{before.last + 1, term, raft::EntryKind::normal, share("")};
  others.say(2, term, raft::Append{before.last, before.standing.term, before.commit, {entry}});
  REQUIRE(others.status().last == before.last + 1);
  // It leads again, and what it proposes gets the number of the third one.
  others.vote = true;
  REQUIRE(h.turn_until([&] { return others.consensus().leading().has_value(); }));
  h.durable().commit({{put("last", "x")}}, [&last](Result<Committed> r) { last = std::move(r); });
  REQUIRE(h.turn_until([&] { return others.status().last == before.last + 3; }));
  CHECK(says(answers[2], Errc::timeout, "unknown"));
  CHECK_FALSE(answers[0]);
  // Now it is agreed on: the others are certainly undone.
  others.store = true;
  REQUIRE(h.turn_until([&] { return last.has_value() && answers[0] && answers[1]; }));
  CHECK(*last);
  CHECK(says(answers[0], Errc::unavailable, "another server leads"));
  CHECK(says(answers[1], Errc::unavailable, "another server leads"));
  CHECK(h.value("w2") == "<none>");
}
