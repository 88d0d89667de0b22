// Several real stores as one raft group, on one loop in one process.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "harness.h"
#include "raft/codec.h"
#include "store/consensus.h"

namespace limpet::store::test {

// Stores on one loop, with messages that take a turn of it. A member that is down is not there for them.
class Cluster {
 public:
  explicit Cluster(size_t log_bytes = 4u << 20, int64_t tick_ms = 5) {
    dir_ = std::make_unique<TempDir>();
    place_ = dir_->path();
    shape.log_bytes = log_bytes;
    shape.history_revisions = 1000;
    shape.tick_ms = tick_ms;
    // The loop waits for nothing in these tests; whoever wants to see it sets it lower.
    shape.unknown_ticks = 100000;
    start(add(""));
    REQUIRE(until([&] { return leads(0); }));
  }
  // In a directory that stays, with what is there.
  Cluster(const Options& of_each, const std::string& dir) : shape(of_each), place_(dir) {
    add("");
    start(0);
  }

  size_t add(const std::string& join) {
    Options o = shape;
    o.path = place_ + strf("/%zu.db", members_.size());
    o.join_cluster = join;
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
      if (cut.contains(from) || cut.contains(to) || deaf.contains(to)) return;
      const auto message = raft::decode_message(bytes, from, to);
      REQUIRE(message);
      ++sent[message->body.index()];
      sent_bytes += bytes.size();
      loop_.post([this, from, to, bytes = std::move(bytes)] {
        for (Member& m : members_) {
          if (m.id == to && m.store) (void)m.store->consensus().receive(bytes, from);
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
      // What is not agreed on yet goes with its leader.
      const raft::Status now = consensus(n).status();
      if (now.membership == wanted) return now.commit >= now.membership_index;
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
  // False when it never was, or a store has stopped without which the test does not go on.
  bool until(const std::function<bool()>& done) {
    const auto stopped = [this] { return !goes_on_without && !fatal.empty(); };
    return loop_.run_until([&] { return stopped() || done(); }, 60000) && !stopped();
  }

  Store& store(size_t n) { return *members_[n].store; }
  const Options& options(size_t n) const { return members_[n].options; }
  loop::Loop& loop() { return loop_; }
  size_t size() const { return members_.size(); }
  // Gives the lead to it, however often that takes.
  void lead(size_t n) {
    REQUIRE(until([&] {
      (void)consensus(leader()).transfer(id(n));
      pass(1);
      return leads(n) && leader() == n && consensus(n).leading();
    }));
  }
  template <class Body>
  size_t count() {
    return sent[raft::Body(Body{}).index()];
  }

  Options shape;  // of those that are added
  std::set<raft::MemberId> cut;
  std::set<raft::MemberId> deaf;  // what is sent to it is lost
  std::map<size_t, size_t> sent;  // messages, by the place of their body in raft::Body
  size_t sent_bytes = 0;
  std::vector<std::string> fatal;  // of the stores that stopped
  bool goes_on_without = true;

 private:
  struct Member {
    Options options;
    std::unique_ptr<Store> store;
    raft::MemberId id = 0;
  };
  std::unique_ptr<TempDir> dir_;
  std::string place_;
  ManualClock clock_;
  loop::Loop loop_;
  std::vector<Member> members_;
};

}  // namespace limpet::store::test
