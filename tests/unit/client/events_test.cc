// The recorder of events: repeats are counted, queues are bounded, and neither a silent nor a broken server
// makes it busy.
#include "client/events.h"

#include <doctest/doctest.h>

#include <vector>

#include "base/json.h"

namespace limpet::client::test {
namespace {

struct Call1 final : Pending {
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);
  ~Call1() override { *alive = false; }
};

class Server final : public Client {
 public:
  explicit Server(loop::Loop& loop) : loop_(loop) {}
  std::vector<Call> calls;
  int status = 201;  // 0: no answer comes
  std::unique_ptr<Pending> call(Call call, std::function<void(Result<Reply>)> done) override {
    calls.push_back(std::move(call));
    auto pending = std::make_unique<Call1>();
    loop_.defer([this, alive = pending->alive, done = std::move(done)] {
      if (!*alive) return;
      if (status == 0) return done(fail(Errc::unavailable, "no route"));
      done(Reply{status, "{}"});
    });
    return pending;
  }
  std::unique_ptr<Pending> stream(Call, Stream) override { return nullptr; }

 private:
  loop::Loop& loop_;
};

struct Rig {
  loop::Loop loop;
  ManualClock clock;
  SeededRandom random{1};
  Server server{loop};
  EventRecorder events{loop, clock, random, server, "kubelet", "n"};
  void settle() {
    for (int i = 0; i < 20; i++) {
      loop::Timer wake(loop, "test");
      bool over = false;
      wake.start(1, [&] { over = true; });
      (void)loop.run_until([&] { return over; }, 1000);
    }
  }
};

const ObjectRef kPod{"Pod", "d", "web", "u1", "spec.containers{app}"};

}  // namespace

TEST_CASE("repeats raise the count of one event, for ten minutes") {
  Rig r;
  for (int i = 0; i < 3; i++) {
    r.events.warning(kPod, "BackOff", "again");
    r.settle();
  }
  REQUIRE(r.server.calls.size() == 3);
  CHECK(r.server.calls[0].method == "POST");
  CHECK(json::Cursor(r.server.calls[0].body)["involvedObject"]["fieldPath"].str() == "spec.containers{app}");
  CHECK(r.server.calls[2].method == "PATCH");
  CHECK(json::Cursor(r.server.calls[2].body)["count"].integer() == 3);
  r.clock.advance_ms(600'001);
  r.events.warning(kPod, "BackOff", "again");
  r.settle();
  CHECK(r.server.calls.back().method == "POST");
}

TEST_CASE("an event that expired on the server is made anew at the next repeat") {
  Rig r;
  r.events.warning(kPod, "BackOff", "again");
  r.settle();
  r.server.status = 404;
  r.events.warning(kPod, "BackOff", "again");
  r.settle();
  r.server.status = 201;
  r.events.warning(kPod, "BackOff", "again");
  r.settle();
  CHECK(r.server.calls.back().method == "POST");
}

TEST_CASE("names and messages keep within what the API takes") {
  Rig r;
  const std::string longest(253, 'a');
  for (const std::string& name :
       {longest, std::string(235, 'a') + "-" + std::string(17, 'b'), std::string("web")}) {
    ObjectRef about = kPod;
    about.name = name;
    about.uid = name;  // another pod each time, so that none is a repeat
    r.events.normal(about, "Pulled", std::string(5000, 'm'));
    r.settle();
    const json::Cursor event(r.server.calls.back().body);
    const std::string made = event["metadata"]["name"].str();
    CAPTURE(made);
    CHECK(made.size() <= 253);
    CHECK(made.find("-.") == std::string::npos);
    CHECK(event["involvedObject"]["name"].str() == name);
    CHECK(event["message"].str().size() == 1024);
  }
}

TEST_CASE("a server that does not answer is asked now and then, and the queue is bounded") {
  Rig r;
  r.server.status = 0;
  for (int i = 0; i < 2000; i++) r.events.warning(kPod, "Failed", "message " + std::to_string(i));
  r.settle();
  CHECK(r.server.calls.size() == 1);
}

}  // namespace limpet::client::test
