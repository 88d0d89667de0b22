#include "daemon/leadership.h"

#include <doctest/doctest.h>

#include <string>

#include "fake_group.h"

using namespace limpet;
using daemon::Leadership;
using daemon::test::FakeGroup;

namespace {

struct Fixture {
  loop::Loop loop;
  FakeGroup group;
  std::string journal;

  Leadership::Work work(const std::string& name) {
    return {[this, name](uint64_t term) { journal += name + " begins in " + std::to_string(term) + "\n"; },
            [this, name] { journal += name + " ends\n"; }};
  }
  void turn() {
    loop.run_until([] { return false; }, 5);
  }
  std::string told() {
    turn();
    return std::exchange(journal, "");
  }
};

}  // namespace

TEST_CASE("leadership: work begins when the term is up to date, and ends with it") {
  Fixture f;
  f.group.follow(3);
  Leadership leadership(f.loop, f.group);
  auto work = leadership.follow(f.work("a"));
  CHECK_EQ(f.told(), "");
  f.group.lead(4);
  CHECK_EQ(f.told(), "");
  CHECK_EQ(leadership.term(), 0);
  f.group.answer({});
  CHECK_EQ(leadership.term(), 4);
  CHECK_EQ(f.told(), "a begins in 4\n");
  auto later = leadership.follow(f.work("b"));
  CHECK_EQ(f.told(), "b begins in 4\n");
  f.group.follow(5);
  CHECK_EQ(f.told(), "a ends\nb ends\n");
  CHECK_EQ(leadership.term(), 0);
  f.group.lead(6);
  f.turn();
  later.reset();
  f.group.answer({});
  CHECK_EQ(f.told(), "a begins in 6\n");
  work.reset();
  CHECK_EQ(f.told(), "a ends\n");
}

TEST_CASE("leadership: a new term of the same leader is another one") {
  Fixture f;
  f.group.lead(1);
  Leadership leadership(f.loop, f.group);
  auto work = leadership.follow(f.work("a"));
  f.group.answer({});
  CHECK_EQ(f.told(), "a begins in 1\n");
  f.group.lead(2);
  CHECK_EQ(f.told(), "a ends\n");
  f.group.answer({});
  CHECK_EQ(f.told(), "a begins in 2\n");
}

TEST_CASE("leadership: a barrier of an older term counts for nothing, one that fails is asked again") {
  Fixture f;
  f.group.lead(1);
  Leadership leadership(f.loop, f.group);
  auto work = leadership.follow(f.work("a"));
  auto old = std::move(f.group.barriers);
  f.group.barriers.clear();
  f.group.lead(2);
  f.turn();
  for (const auto& done : old) done({});
  CHECK_EQ(f.told(), "");
  f.group.answer(fail(Errc::unavailable, "not yet"));
  CHECK(f.loop.run_until([&] { return !f.group.barriers.empty(); }, 10'000));
  f.group.answer({});
  CHECK_EQ(f.told(), "a begins in 2\n");
}

TEST_CASE("leadership: whoever leaves before it was told hears nothing") {
  Fixture f;
  f.group.lead(1);
  auto leadership = std::make_unique<Leadership>(f.loop, f.group);
  auto work = leadership->follow(f.work("a"));
  auto other = leadership->follow(f.work("b"));
  f.group.answer({});
  work.reset();
  CHECK_EQ(f.told(), "b begins in 1\n");
  leadership.reset();
  CHECK_EQ(f.told(), "b ends\n");
  other.reset();
  CHECK_EQ(f.told(), "");
}
