#include "daemon/hand_over.h"

#include <doctest/doctest.h>

#include <set>

#include "base/log.h"

namespace limpet::daemon::test {
namespace {

// A leader, member 1, of a group whose standing and peers the test sets.
class FakeGroup final : public store::Consensus {
 public:
  FakeGroup() {
    status_.standing = {3, raft::Role::leader, 1};
    status_.membership.voters = {1, 2, 3, 4};
    status_.membership.learners = {5};
  }
  raft::MemberId self() const override { return 1; }
  const std::string& cluster() const override { return cluster_; }
  raft::Status status() const override { return status_; }
  void on_message(std::function<void(raft::MemberId, std::string)>) override {}
  Result<> receive(std::string_view, raft::MemberId) override { return {}; }
  void unreachable(raft::MemberId) override {}
  Subscription on_standing(std::function<void(const raft::Standing&)> f) override {
    told_ = std::move(f);
    return std::shared_ptr<void>(this, [this](void*) { told_ = nullptr; });
  }
  std::optional<Leading> leading() const override { return std::nullopt; }
  bool alone() const override { return alone_; }
  Result<> reconfigure(const raft::Membership&) override { return {}; }
  Result<> transfer(raft::MemberId to) override {
    asked.push_back(to);
    if (unwilling.contains(to)) return fail(Errc::unavailable, "no");
    return {};
  }
  void barrier(std::function<void(Result<>)> done) override { done({}); }

  void peer(raft::MemberId id, raft::Index match, bool active) {
    raft::PeerStatus p;
    p.id = id;
    p.match = match;
    p.active = active;
    status_.peers.push_back(p);
  }
  void become(raft::Role role, raft::MemberId leader) {
    status_.standing = {4, role, leader};
    const auto told = told_;
    if (told) told(status_.standing);
  }
  bool listened_to() const { return told_ != nullptr; }

  bool alone_ = false;
  std::set<raft::MemberId> unwilling;
  std::vector<raft::MemberId> asked;

 private:
  raft::Status status_;
  std::string cluster_ = std::string(16, 'c');
  std::function<void(const raft::Standing&)> told_;
};

struct Fixture {
  loop::Loop loop;
  FakeGroup group;
  HandOver hand_over{loop, group};
  int done = 0;

  Fixture() {
    log::set_sink([](log::Level, std::string_view) {});
  }
  ~Fixture() { log::set_sink(nullptr); }
  void start() {
    hand_over.start([this] { done++; });
  }
  void turn() {
    (void)loop.run_until([] { return false; }, 10);
  }
};

}  // namespace

TEST_CASE("hand over: the voter that answers and lacks the least is asked, and its lead awaited") {
  Fixture f;
  f.group.peer(2, 90, true);
  f.group.peer(3, 100, true);
  f.group.peer(4, 110, false);
  f.group.peer(5, 120, true);  // has no vote
  f.start();
  CHECK_EQ(f.group.asked, std::vector<raft::MemberId>{3});
  f.group.become(raft::Role::follower, 0);  // nobody leads yet
  f.turn();
  CHECK_EQ(f.done, 0);
  f.group.become(raft::Role::follower, 3);
  CHECK_EQ(f.done, 0);  // not from inside
  f.group.become(raft::Role::follower, 2);
  f.turn();
  CHECK_EQ(f.done, 1);
  CHECK_FALSE(f.group.listened_to());
}

TEST_CASE("hand over: one that cannot take it is passed over") {
  Fixture f;
  f.group.peer(2, 90, true);
  f.group.peer(3, 100, true);
  f.group.unwilling = {3};
  f.start();
  CHECK_EQ(f.group.asked, std::vector<raft::MemberId>{3, 2});
  CHECK_EQ(f.done, 0);
}

TEST_CASE("hand over: nothing to wait for") {
  struct Row {
    const char* what;
    std::function<void(FakeGroup&)> set;
  };
  const Row rows[] = {
      {"alone", [](FakeGroup& g) { g.alone_ = true; }},
      {"a follower",
       [](FakeGroup& g) {
         g.peer(2, 90, true);
         g.become(raft::Role::follower, 2);
       }},
      {"nobody answers", [](FakeGroup& g) { g.peer(2, 90, false); }},
      {"nobody is willing",
       [](FakeGroup& g) {
         g.peer(2, 90, true);
         g.unwilling = {2};
       }},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    Fixture f;
    row.set(f.group);
    f.start();
    CHECK_EQ(f.done, 1);
    CHECK_FALSE(f.group.listened_to());
  }
}

TEST_CASE("hand over: one that never takes it keeps nobody") {
  Fixture f;
  f.group.peer(2, 90, true);
  f.start();
  const int64_t began = f.loop.now_ms();
  CHECK(f.loop.run_until([&] { return f.done != 0; }, 5'000));
  CHECK(f.loop.now_ms() - began >= HandOver::limit_ms - 50);
  f.group.become(raft::Role::follower, 2);
  f.turn();
  CHECK_EQ(f.done, 1);
}

}  // namespace limpet::daemon::test
