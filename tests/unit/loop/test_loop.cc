// Loop, Timer, Work, Signal, Poll: order, cancellation, destruction inside the own callback, no handle left.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <vector>

#include "base/unique_fd.h"
#include "loop/loop.h"
#include "loop/poll.h"
#include "loop/signal.h"
#include "loop/turns.h"

using namespace limpet;
using namespace limpet::loop;

namespace {
bool settled(Loop& loop) {
  return loop.run_until([&] { return loop.live_handles() == 1; }, 5000);  // 1: the guard timer of run_until
}
}  // namespace

TEST_CASE("deferred tasks run in order, and one deferred by them later") {
  Loop loop;
  std::vector<int> seen;
  loop.defer([&] {
    seen.push_back(1);
    loop.defer([&] { seen.push_back(3); });
  });
  loop.defer([&] { seen.push_back(2); });
  loop.run();
  CHECK(seen == std::vector<int>{1, 2, 3});
  CHECK(loop.live_handles() == 0);
}

TEST_CASE("a turn is as long as its callbacks keep it, and waiting makes none") {
  Loop loop;
  loop.defer([] { usleep(20'000); });
  loop.run();
  const TurnStats busy = turn_stats(loop);
  CHECK(busy.turns >= 1);
  CHECK(busy.longest_s >= 0.02);
  CHECK(busy.busy_s >= busy.longest_s);
  CHECK(busy.turns - busy.within[2] >= 1);  // of more than 10 ms
  CHECK(busy.within.back() <= busy.turns);
  // Nothing but one timer far away: one turn to find that out, one when it fires.
  Timer timer(loop, "far");
  timer.start(60, [] {});
  loop.run();
  CHECK(turn_stats(loop).turns - busy.turns <= 3);
}

TEST_CASE("posts of another thread arrive in order") {
  Loop loop;
  std::vector<int> seen;
  struct Shared {
    Loop* loop;
    std::vector<int>* seen;
  } shared{&loop, &seen};
  pthread_t thread;
  REQUIRE(pthread_create(
              &thread, nullptr,
              [](void* arg) -> void* {
                auto* s = static_cast<Shared*>(arg);
                for (int i = 0; i < 1000; ++i) s->loop->post([s, i] { s->seen->push_back(i); });
                return nullptr;
              },
              &shared) == 0);
  CHECK(loop.run_until([&] { return seen.size() == 1000; }, 10000));
  pthread_join(thread, nullptr);
  for (int i = 0; i < 1000; ++i) CHECK(seen[static_cast<size_t>(i)] == i);
}

TEST_CASE("a loop that is destroyed drops posted and deferred tasks with what they own") {
  auto owned = std::make_shared<int>(1);
  {
    Loop loop;
    loop.post([owned] {});
    loop.defer([owned] {});
    CHECK(owned.use_count() == 3);
  }
  CHECK(owned.use_count() == 1);
}

TEST_CASE("timers: one shot, repeat, re-arm and stop inside the task") {
  Loop loop;
  {
    Timer once(loop, "once"), every(loop, "every");
    int shots = 0, ticks = 0;
    once.start(1, [&] {
      if (++shots < 3) once.start(1, [&] { ++shots; });
    });
    every.repeat(1, [&] {
      if (++ticks == 5) every.stop();
    });
    loop.run();
    CHECK(shots == 2);
    CHECK(ticks == 5);
    CHECK_FALSE(once.active());
    CHECK_FALSE(every.active());
    CHECK(std::string(every.name()) == "every");
  }
  CHECK(settled(loop));
}

TEST_CASE("a timer may be destroyed by its own task") {
  Loop loop;
  auto timer = std::make_unique<Timer>(loop, "suicide");
  const std::string captured(100, 'x');
  std::string copy;
  timer->repeat(1, [&timer, captured, &copy] {
    timer.reset();
    copy = captured;  // the capture outlives the timer
  });
  loop.run();
  CHECK(copy == captured);
  CHECK(loop.live_handles() == 0);
}

TEST_CASE("re-arming a timer replaces the task") {
  Loop loop;
  Timer timer(loop, "t");
  int first = 0, second = 0;
  timer.start(1, [&] { ++first; });
  timer.start(2, [&] { ++second; });
  loop.run();
  CHECK(first == 0);
  CHECK(second == 1);
}

TEST_CASE("pool work comes back on the loop; a forgotten result is dropped") {
  Loop loop;
  int result = 0;
  bool on_loop = false;
  Work work;
  auto value = std::make_shared<int>(0);
  work.start(
      loop, [value] { *value = 42; },
      [&, value] {
        result = *value;
        on_loop = loop.in_loop_thread();
      });
  CHECK(work.busy());
  loop.run();
  CHECK(result == 42);
  CHECK(on_loop);
  CHECK_FALSE(work.busy());

  bool late = false;
  {
    Work dropped;
    dropped.start(loop, [] { usleep(1000); }, [&] { late = true; });
  }
  loop.run();
  CHECK_FALSE(late);
  CHECK(loop.live_handles() == 0);

  // Restart and destruction from inside done().
  auto again = std::make_unique<Work>();
  int rounds = 0;
  Task next;
  next = [&] {
    if (++rounds < 3) {
      again->start(loop, [] {}, next);
    } else {
      again.reset();
    }
  };
  again->start(loop, [] {}, next);
  loop.run();
  CHECK(rounds == 3);
}

TEST_CASE("a loop waits at its end for work that nobody wants any more") {
  bool ran = false;
  {
    Loop loop;
    Work work;
    work.start(
        loop,
        [&ran] {
          usleep(2000);
          ran = true;
        },
        [] {});
    usleep(1000);
  }
  (void)ran;  // it ran or was cancelled before it began; the point is that nothing crashes
}

TEST_CASE("signals arrive on the loop") {
  Loop loop;
  std::unique_ptr<Signal> signal;
  auto made = Signal::make(loop, SIGUSR1, [&] { signal.reset(); });
  REQUIRE(made);
  signal = std::move(*made);
  kill(getpid(), SIGUSR1);
  loop.run();
  CHECK(signal == nullptr);
  CHECK(loop.live_handles() == 0);
  CHECK_FALSE(Signal::make(loop, SIGKILL, [] {}));
  CHECK(settled(loop));
}

TEST_CASE("poll reports readiness of a foreign descriptor and may be destroyed in its callback") {
  Loop loop;
  int fds[2];
  REQUIRE(pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0);
  UniqueFd reader(fds[0]), writer(fds[1]);
  auto made = Poll::make(loop, reader.get());
  REQUIRE(made);
  auto poll = std::move(*made);
  int calls = 0;
  std::string got;
  poll->start(true, false, [&](PollEvents e) {
    ++calls;
    CHECK(e.error == 0);
    char c = 0;
    while (read(reader.get(), &c, 1) == 1) got += c;
    if (e.hangup || got == "ab") poll.reset();
  });
  REQUIRE(write(writer.get(), "a", 1) == 1);
  CHECK(loop.run_until([&] { return got == "a"; }, 5000));
  REQUIRE(write(writer.get(), "b", 1) == 1);
  loop.run();
  CHECK(got == "ab");
  CHECK(calls >= 2);
  CHECK(loop.live_handles() == 0);
}
