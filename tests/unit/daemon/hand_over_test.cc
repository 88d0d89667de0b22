#include "daemon/hand_over.h"

#include <doctest/doctest.h>

#include "base/log.h"
#include "fake_group.h"

namespace limpet::daemon::test {
namespace {

struct Fixture {
  loop::Loop loop;
  FakeGroup group;
  HandOver hand_over{loop, group};
  int done = 0;

  Fixture() {
    log::set_sink([](log::Level, std::string_view) {});
    group.lead(3);
    group.state.membership.voters = {1, 2, 3, 4};
    group.state.membership.learners = {5};
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
  f.group.follow(4, 0);  // nobody leads yet
  f.turn();
  CHECK_EQ(f.done, 0);
  f.group.follow(4, 3);
  CHECK_EQ(f.done, 0);  // not from inside
  f.group.follow(4, 2);
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
      {"alone", [](FakeGroup& g) { g.is_alone = true; }},
      {"a follower",
       [](FakeGroup& g) {
         g.peer(2, 90, true);
         g.follow(4, 2);
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
  f.group.follow(4, 2);
  f.turn();
  CHECK_EQ(f.done, 1);
}

}  // namespace limpet::daemon::test
