// The shell around the consensus core: what is written, what is spared, what waits for what.
#include "store/replica.h"

#include <doctest/doctest.h>

#include <deque>

#include "base/random.h"
#include "store/group.h"

using namespace limpet;
using namespace limpet::store;

namespace {

constexpr raft::MemberId kSelf = 7;

// Writes a line for each thing that it is asked; a transaction is done when the test says so.
class Script final : public Replica::Host {
 public:
  std::string told;
  std::deque<Replica::Done> writing;

  std::string take() { return std::exchange(told, ""); }
  void done(Result<> result = {}) {
    const auto next = std::move(writing.front());
    writing.pop_front();
    next(std::move(result));
  }

  bool prepare(const std::vector<raft::Entry>& entries) override {
    for (const raft::Entry& e : entries) {
      if (e.kind == raft::EntryKind::normal && e.bytes->starts_with("set")) return true;
    }
    return false;
  }
  void write(const Transaction& t, Replica::Done done) override {
    told += "write";
    if (t.hard_state) told += strf(" term %llu", (unsigned long long)t.hard_state->term);
    if (t.base) told += strf(" base %llu", (unsigned long long)t.base->index);
    if (t.log) {
      for (const raft::Entry& e : t.append) told += strf(" log %llu", (unsigned long long)e.index);
    }
    for (const raft::Entry& e : t.apply) told += strf(" apply %llu", (unsigned long long)e.index);
    told += t.sync ? " sync\n" : "\n";
    writing.push_back(std::move(done));
  }
  void applied() override { told += "applied\n"; }
  void withdrawn(raft::Index first, const Error&) override {
    told += strf("withdrawn from %llu\n", (unsigned long long)first);
  }
  void no_room(const Error&) override { told += "no room\n"; }
  void installed(const raft::SnapshotMeta&) override { told += "installed\n"; }
  void send(raft::Message m) override { told += strf("send to %llu\n", (unsigned long long)m.to); }
  void read_entries(const raft::EntriesWanted&) override { told += "read entries\n"; }
  void read_chunk(const raft::ChunkWanted&) override { told += "read chunk\n"; }
  void read_done(const raft::ReadDone& r) override {
    told += strf("read at %llu\n", (unsigned long long)r.index);
  }
  void standing(const raft::Standing& s) override {
    told += s.role == raft::Role::leader ? "leads\n" : "follows\n";
  }
  void complaint(const std::string& what) override { told += "complaint: " + what + "\n"; }
};

struct Sole {
  Script host;
  Replica replica;
  explicit Sole(raft::Membership membership = {{kSelf}, {}, {}}, std::vector<raft::Entry> tail = {})
      : replica({.self = kSelf, .seed = 1}, {{1, 0}, {1, 1}, std::move(membership), 1, std::move(tail), {}},
                host) {
    replica.pump();
  }
  void propose(const char* what) {
    REQUIRE(replica.core().propose(share(what)));
    replica.pump();
  }
  void reconfigure(raft::Membership wanted) {
    REQUIRE(replica.core().reconfigure(wanted));
    replica.pump();
  }
};

const Error kFull{Errc::exhausted, "the disk is full", ENOSPC};

}  // namespace

TEST_CASE("a group of one leads without writing, and spares what does nothing") {
  Sole g;
  CHECK(g.host.take() == "applied\nleads\n");
  g.propose("nothing");
  CHECK(g.host.take() == "applied\n");
  CHECK_FALSE(g.replica.busy());
  // What was spared goes with the first thing that counts, and is not said twice.
  g.propose("set a");
  CHECK(g.host.take() == "write term 2 apply 4 sync\n");
  g.host.done();
  CHECK(g.host.take() == "applied\n");
  g.propose("set b");
  CHECK(g.host.take() == "write apply 5 sync\n");
}

TEST_CASE("one transaction is under way; what comes meanwhile is the next one") {
  Sole g;
  g.propose("set a");
  g.propose("set b");
  g.propose("set c");
  CHECK(g.host.take() == "applied\nleads\nwrite term 2 apply 3 sync\n");
  g.host.done();
  CHECK(g.host.take() == "applied\nwrite apply 4 apply 5 sync\n");
  g.host.done();
  CHECK(g.host.take() == "applied\n");
  CHECK(g.replica.applied() == raft::SnapshotPoint{5, 2});
}

TEST_CASE("who joins makes the rest be written: nobody hears of a term that could begin again") {
  Sole g;
  g.propose("nothing");
  g.host.take();
  g.reconfigure({{kSelf}, {}, {9}});
  // The log begins where the state is. The message waits, though the core takes the term for stable.
  CHECK(g.host.take() == "write term 2 base 3 log 4 apply 4 sync\n");
  g.host.done();
  CHECK(g.host.take() == "send to 9\napplied\n");
  // From here on all is kept, also what does nothing.
  g.propose("nothing");
  CHECK(g.host.take().find("write log 5 apply 5 sync\n") != std::string::npos);
}

// Found by the simulator: a member that crashed had told a learner of an entry that was another one
// afterwards.
TEST_CASE("who joins hears nothing of entries that were spared before they are owed no more") {
  Sole g;
  g.host.take();
  // A stranger made the term stable; the entry that began it is not, nor the one after it.
  g.replica.core().receive({9, kSelf, 1, raft::Vote{false, false, 1, 1}});
  g.replica.pump();
  g.host.done();
  CHECK(g.host.take() == "write term 2 sync\nsend to 9\n");
  g.propose("nothing");
  SUBCASE("at once") {
    g.host.take();
    g.reconfigure({{kSelf}, {}, {9}});
    CHECK(g.host.take() == "write base 3 log 4 apply 4 sync\n");
    g.host.done();
    CHECK(g.host.take() == "send to 9\napplied\n");
  }
  SUBCASE("while something else is written") {
    g.propose("set a");
    g.host.take();
    g.reconfigure({{kSelf}, {}, {9}});
    CHECK(g.host.take() == "");
    g.host.done();  // without the log
    CHECK(g.host.take() == "applied\nwrite base 4 log 5 apply 5 sync\n");
    g.host.done();
    CHECK(g.host.take() == "send to 9\napplied\n");
  }
}

// Found by the simulator: the log went on after an entry that the file did not have, and could not be read
// any more at the next start.
TEST_CASE("who is left alone spares what does nothing, and the log that is kept again begins after that") {
  Sole g({{kSelf}, {9}, {}});
  const raft::Membership alone{{kSelf}, {}, {}};
  g.replica.core().receive(
      {9, kSelf, 1,
       raft::Append{1, 1, 1, {{2, 1, raft::EntryKind::membership, share(raft::encode(alone))}}}});
  g.replica.pump();
  CHECK(g.host.take() == "follows\nwrite log 2 sync\n");
  g.host.done();
  g.replica.core().receive({9, kSelf, 1, raft::Heartbeat{2, 1}});
  g.replica.pump();
  g.host.take();
  g.host.done();
  g.replica.core().receive({9, kSelf, 1, raft::TimeoutNow{}});
  g.replica.pump();
  CHECK(g.host.take().ends_with("leads\n"));
  CHECK(g.host.writing.empty());
  CHECK(g.replica.applied() == raft::SnapshotPoint{3, 2});
  g.reconfigure({{kSelf}, {}, {9}});
  CHECK(g.host.take() == "write term 2 base 3 log 4 apply 4 sync\n");
}

TEST_CASE("a stranger who asks is answered once the term is stable") {
  Sole g;
  g.host.take();
  g.replica.core().receive({9, kSelf, 1, raft::Vote{false, false, 1, 1}});
  g.replica.pump();
  CHECK(g.host.take() == "write term 2 sync\n");
  g.host.done();
  CHECK(g.host.take() == "send to 9\n");
  // With no room for it nobody is answered, and writes are told that there is none.
  Sole full;
  full.host.take();
  full.replica.core().receive({9, kSelf, 1, raft::Vote{false, false, 1, 1}});
  full.replica.pump();
  full.host.take();
  full.host.done(std::unexpected(kFull));
  CHECK(full.host.take() == "");
  full.propose("set a");
  CHECK(full.host.take() == "write term 2 apply 3 sync\n");
}

TEST_CASE("with no room a group of one takes its entries back, and goes on when there is some") {
  Sole g;
  g.propose("set a");
  g.propose("set b");
  g.host.take();
  g.host.done(std::unexpected(kFull));
  CHECK(g.host.take() == "withdrawn from 3\n");
  CHECK_FALSE(g.replica.busy());
  CHECK(g.replica.core().status().last == 2);
  g.propose("set b");
  CHECK(g.host.take() == "write term 2 apply 3 sync\n");
  g.host.done();
  CHECK(g.replica.applied() == raft::SnapshotPoint{3, 2});
}

TEST_CASE("with no room what was agreed on before a member was alone is not taken back") {
  // It left the other one, which it knows from its log, and has not applied that yet.
  Sole g({{kSelf, 8}, {}, {}}, {{2, 1, raft::EntryKind::membership, share(raft::encode({{kSelf}, {}, {}}))}});
  CHECK(g.host.take() == "write term 2 apply 2 apply 3 sync\n");
  g.host.done(std::unexpected(kFull));
  CHECK(g.host.take() == "no room\n");
  CHECK(g.replica.waits_for_room());
  g.replica.retry();
  CHECK(g.host.take() == "write term 2 apply 2 apply 3 sync\n");
  g.host.done();
  CHECK(g.host.take() == "applied\nleads\n");
}

TEST_CASE("the log begins anew after entries that a member, alone meanwhile, did not write") {
  Sole g({{kSelf, 8}, {}, {}});
  const auto membership = [](raft::Index index, const raft::Membership& m) {
    return raft::Entry{index, 2, raft::EntryKind::membership, share(raft::encode(m))};
  };
  g.replica.core().receive(
      {8, kSelf, 2,
       raft::Append{1, 1, 3, {membership(2, {{kSelf}, {kSelf, 8}, {}}), membership(3, {{kSelf}, {}, {}})}}});
  g.replica.pump();
  CHECK(g.host.take() == "follows\nwrite term 2 log 2 log 3 apply 2 apply 3 sync\n");
  g.host.done();
  g.replica.core().receive({8, kSelf, 2, raft::TimeoutNow{}});
  g.replica.pump();
  CHECK(g.host.take().find("write") == std::string::npos);
  g.reconfigure({{kSelf, 9}, {}, {}});
  CHECK(g.host.take().find("write term 3 base 4 log 5 sync\n") != std::string::npos);
}

TEST_CASE("with no room what others may have is written when there is some") {
  Sole g({{kSelf}, {}, {9}});
  CHECK(g.host.take() == "write term 2 log 2 apply 2 sync\n");
  g.host.done(std::unexpected(kFull));
  CHECK(g.host.take() == "no room\n");
  CHECK(g.replica.busy());
  g.replica.retry();
  CHECK(g.host.take() == "write term 2 log 2 apply 2 sync\n");
  g.replica.retry();  // it is under way
  CHECK(g.host.take() == "");
  g.host.done();
  CHECK(g.host.take().starts_with("applied\n"));
}

TEST_CASE("after a write of which nobody knows, nothing is done any more") {
  Sole g;
  g.propose("set a");
  g.host.take();
  g.host.done(fail(Errc::io, "the device fails"));
  CHECK(g.replica.stopped());
  (void)g.replica.core().propose(share("set b"));
  g.replica.pump();
  CHECK(g.host.take() == "");
}

TEST_CASE("the record of the group says what was put in, and nothing else is taken for one") {
  SeededRandom random(4);
  for (const raft::Index index : {raft::Index{0}, raft::Index{1}, raft::Index{40}}) {
    const Group g = Group::begin(random, index);
    CHECK(g.applied.index == std::max<raft::Index>(index, 1));
    CHECK(g.membership.all() == std::vector{g.self});
    CHECK(raft::check(raft::Start{g.hard_state, g.applied, g.membership, g.membership_index, {}, {}}));
    const std::string bytes = encode(g);
    CHECK(*decode_group(bytes) == g);
    for (size_t n = 0; n < bytes.size(); ++n) CHECK_FALSE(decode_group(bytes.substr(0, n)));
    CHECK_FALSE(decode_group(bytes + "x"));
    std::string newer = bytes;
    newer[0] = 2;
    CHECK(decode_group(newer).error().code == Errc::unsupported);
  }
  CHECK(Group::begin(random, 0).self != Group::begin(random, 0).self);
  CHECK(Group::begin(random, 0).cluster != Group::begin(random, 0).cluster);
  Group waiting = Group::begin(random, 0);
  waiting.membership = {};
  CHECK(decode_group(encode(waiting))->membership.all().empty());
}
