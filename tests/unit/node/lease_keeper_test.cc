// When a device says that it is alive.
#include "node/lease_keeper.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include "world.h"

using namespace limpet;
using namespace limpet::node;

namespace {

struct World {
  loop::Loop loop;
  SeededRandom random{3};
  test::FakeApi api{loop};
  int status = 204;
  std::vector<int64_t> beats;  // when
  std::string body;

  World() {
    api.instead = [this](const client::Call& call) -> std::optional<client::Reply> {
      CHECK(call.method == "POST");
      CHECK(call.path == "/limpet/v1/heartbeat");
      beats.push_back(loop.now_ms());
      body = call.body;
      return client::Reply{status, ""};
    };
  }
  bool until_beats(size_t n, int64_t limit_ms) {
    return loop.run_until([&] { return beats.size() >= n; }, limit_ms);
  }
};

// Takes every question and answers none.
struct Silent final : client::Client {
  int asked = 0, waiting = 0;
  struct Question final : client::Pending {
    explicit Question(int& n) : waiting(n) { ++waiting; }
    ~Question() override { --waiting; }
    int& waiting;
  };
  std::unique_ptr<client::Pending> call(client::Call, std::function<void(Result<client::Reply>)>) override {
    ++asked;
    return std::make_unique<Question>(waiting);
  }
  std::unique_ptr<client::Pending> stream(client::Call, Stream) override { return nullptr; }
};

}  // namespace

TEST_CASE("heartbeats fall on a grid, whatever each is late by") {
  World w;
  LeaseKeeper keeper(w.loop, w.random, w.api, {.interval_ms = 100, .lease_s = 40});
  keeper.start();
  REQUIRE(w.until_beats(6, 5000));
  CHECK(w.body == R"({"leaseDurationSeconds":40})");
  CHECK(w.beats[1] - w.beats[0] <= 150);  // the first at once, the second where the grid begins
  // The loop is held up: one beat is late, the next is on the grid again, and none is made up for.
  const int64_t grid = w.beats[5];
  const int64_t held_until = grid + 250;
  while (w.loop.now_ms() < held_until) w.loop.run_until([] { return false; }, 1), usleep(60'000);
  REQUIRE(w.until_beats(w.beats.size() + 2, 5000));
  const int64_t off = (w.beats.back() - grid) % 100;
  CHECK(std::min(off, 100 - off) <= 30);
}

TEST_CASE("a refusal is tried again soon, and the rhythm goes on after it") {
  World w;
  w.status = 503;
  LeaseKeeper keeper(w.loop, w.random, w.api, {.interval_ms = 60'000, .lease_s = 240});
  keeper.start();
  REQUIRE(w.until_beats(2, 5000));
  CHECK(w.beats[1] - w.beats[0] >= 1000);
  CHECK(w.beats[1] - w.beats[0] < 3000);
  w.status = 204;
  REQUIRE(w.until_beats(3, 6000));
  CHECK(w.beats[2] - w.beats[1] >= 2000);
  CHECK_FALSE(w.until_beats(4, 500));  // heard: the next is due in a minute
}

TEST_CASE("a server that says nothing is asked again after an interval, one question at a time") {
  World w;
  Silent silent;
  {
    LeaseKeeper keeper(w.loop, w.random, silent, {.interval_ms = 50, .lease_s = 10});
    keeper.start();
    REQUIRE(w.loop.run_until([&] { return silent.asked >= 4; }, 5000));
    CHECK(silent.waiting == 1);
  }
  CHECK(silent.waiting == 0);
}

TEST_CASE("nothing is asked once it is gone") {
  World w;
  {
    LeaseKeeper keeper(w.loop, w.random, w.api, {.interval_ms = 10, .lease_s = 10});
    keeper.start();
    REQUIRE(w.until_beats(2, 2000));
  }
  const size_t before = w.beats.size();
  w.loop.run_until([] { return false; }, 100);
  CHECK(w.beats.size() == before);
}

TEST_CASE("who keeps the Node hears of contact that is there again, and of a Node that is not") {
  World w;
  int again = 0, unknown = 0;
  LeaseKeeper::Hooks hooks;
  hooks.heard_again = [&] { ++again; };
  hooks.unknown = [&] { ++unknown; };
  LeaseKeeper keeper(w.loop, w.random, w.api, {.interval_ms = 60, .lease_s = 40}, std::move(hooks));
  CHECK(keeper.heard_ms() == -1);
  keeper.start();
  REQUIRE(w.until_beats(3, 5000));
  REQUIRE(w.loop.run_until([&] { return keeper.heard() >= 3; }, 1000));
  CHECK(again == 0);
  CHECK(keeper.heard_ms() >= w.beats[2]);
  CHECK(keeper.problem().empty());
  w.status = 503;
  REQUIRE(w.loop.run_until([&] { return keeper.failed() >= 2; }, 5000));
  CHECK(unknown == 0);
  CHECK_FALSE(keeper.problem().empty());
  w.status = 404;
  REQUIRE(w.loop.run_until([&] { return unknown >= 2; }, 5000));  // again with each answer
  CHECK(again == 0);
  w.status = 204;
  REQUIRE(w.loop.run_until([&] { return again > 0; }, 5000));
  CHECK(keeper.problem().empty());
  const uint64_t heard = keeper.heard();
  REQUIRE(w.loop.run_until([&] { return keeper.heard() >= heard + 2; }, 5000));
  CHECK(again == 1);
}
