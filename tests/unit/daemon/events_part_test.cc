// The last warnings, over stops and changes of the leader.
#include <doctest/doctest.h>

#include <map>
#include <memory>

#include "base/json.h"
#include "daemon/leadership.h"
#include "daemon/parts.h"
#include "fake_group.h"
#include "store/store.h"
#include "store/transient.h"

namespace limpet::daemon::test {
namespace {

// The volatile space of one member and its blobs; nothing durable.
struct FakeStore final : store::Store {
  store::Transient events;
  FakeGroup group;
  std::map<std::string, std::string> blobs;
  int saves = 0;
  bool stalled = false;  // the disk
  std::vector<loop::Task> waiting;

  explicit FakeStore(loop::Loop& loop) : events(loop) {}
  store::Space& durable() override { return events; }
  store::Space& transient() override { return events; }
  store::Consensus& consensus() override { return group; }
  void retain(const std::string&, store::Retention) override {}
  void save(const std::string& name, std::string bytes, std::function<void(Result<>)> done) override {
    const auto write = [this, name, bytes = std::move(bytes), done = std::move(done)] {
      ++saves;
      blobs[name] = bytes;
      done({});
    };
    if (!stalled) return write();
    waiting.emplace_back(write);
  }
  void load(const std::string& name, std::function<void(Result<std::optional<std::string>>)> done) override {
    const auto it = blobs.find(name);
    done(it == blobs.end() ? std::nullopt : std::optional(it->second));
  }
  void read_state(const std::string&, std::function<void(Result<store::StatePart>)>) override {}
  void close(std::function<void()> done) override { done(); }
  void on_fatal(std::function<void(Error)>) override {}
  void on_quiet(std::function<void()>) override {}
  store::Stats stats() const override { return {}; }
  std::string sqlite_version() const override { return ""; }
  int64_t last_commit_time() const override { return 0; }
};

std::string event(const std::string& message, const char* type = "Warning") {
  return R"({"kind":"Event","type":")" + std::string(type) + R"(","message":")" + message + "\"}";
}

// A server with the part; what is around it is played.
struct Server {
  loop::Loop loop;
  SystemClock clock;
  SeededRandom random{1};
  FakeStore store{loop};
  Leadership leadership{loop, store.group};
  Device device{.loop = loop,
                .clock = clock,
                .random = random,
                .config = check_config("").config,
                .paths = {},
                .node_name = "edge-1",
                .fatal = {},
                .starting_takes = {},
                .identity = {},
                .identity_changed = {}};
  std::unique_ptr<Part> part;
  int handed_over = 0;

  Server() {
    device.store = &store;
    device.leadership = &leadership;
    device.before_stop = [this](loop::Task done) {
      ++handed_over;
      if (!store.group.is_alone) {
        store.events.end();
        store.group.follow(store.group.state.standing.term + 1);
      }
      done();
    };
    part = make_events_part(device);
    REQUIRE(part->start().has_value());
  }
  ~Server() { stop(); }
  void stop() {
    if (!part) return;
    bool stopped = false;
    part->stop([&] { stopped = true; });
    CHECK(loop.run_until([&] { return stopped; }, 10'000));
    part.reset();
    CHECK(device.before_stop != nullptr);  // of whoever set it before
  }
  void leave() {
    bool left = false;
    device.before_stop([&] { left = true; });
    CHECK(loop.run_until([&] { return left; }, 10'000));
  }
  void turns() {
    loop.run_until([] { return false; }, 20);
  }
  void lead(raft::Term term) {
    store.events.begin(term);
    store.group.lead(term);
    turns();
    store.group.answer({});
    turns();
  }
  void lose(raft::Term term) {
    store.events.end();
    store.group.follow(term);
    turns();
  }
  void put(const std::string& key, const std::string& object) {
    store::Txn txn;
    txn.ops.push_back({store::Op::Type::put, "events/d/" + key, object, std::nullopt});
    store.events.commit(std::move(txn), [](Result<store::Committed> r) { CHECK(r.has_value()); });
  }
  std::map<std::string, std::string> all() {
    std::map<std::string, std::string> out;
    store.events.list("events/", "", 0, 0, [&](Result<store::Page> page) {
      REQUIRE(page);
      for (const store::Item& item : page->items)
        out[item.key.substr(9)] = json::Cursor(*item.value)["message"].str();
    });
    return out;
  }
};

using Messages = std::map<std::string, std::string>;

}  // namespace

TEST_CASE("events part: a leader that stops in good order saves its warnings before it hands over") {
  Server s;
  s.lead(3);
  s.put("a", event("back-off"));
  s.put("b", event("pulled", "Normal"));
  s.leave();
  CHECK(s.handed_over == 1);
  CHECK(s.store.saves == 1);
  s.stop();
  CHECK(s.store.saves == 1);  // nothing of what a follower does not have
  CHECK(s.store.blobs.at("warning-events").find("back-off") != std::string::npos);
  CHECK(s.store.blobs.at("warning-events").find("pulled") == std::string::npos);
}

TEST_CASE("events part: a new leader starts from what it saved, and what was said since is not doubled") {
  Server s;
  s.lead(3);
  s.put("a", event("three times"));
  s.put("b", event("once"));
  s.leave();
  s.turns();
  // It leads again: the device has said one of them anew before the saved ones are read.
  s.store.events.begin(9);
  s.put("a", event("four times"));
  s.store.group.lead(9);
  s.turns();
  CHECK(s.all() == Messages{{"a", "four times"}});  // not before its state is that of all
  s.store.group.answer({});
  s.turns();
  CHECK(s.all() == Messages{{"a", "four times"}, {"b", "once"}});
  s.lose(10);
  s.lead(11);
  CHECK(s.all() == Messages{{"a", "three times"}, {"b", "once"}});
}

TEST_CASE("events part: one that does not lead saves nothing over what it has") {
  Server s;
  s.store.blobs["warning-events"] = R"([{"key":"events/d/old","object":{"type":"Warning","message":"m"}}])";
  s.store.group.follow(4);
  s.leave();
  s.stop();
  CHECK(s.store.saves == 0);
  CHECK(s.handed_over == 1);
}

TEST_CASE("events part: a device alone saves once, when all has stopped") {
  Server s;
  s.store.group.is_alone = true;
  s.lead(1);
  s.put("a", event("before"));
  s.device.before_stop([] {});
  CHECK(s.store.saves == 0);
  s.put("b", event("while it stopped"));
  s.stop();
  CHECK(s.store.saves == 1);
  CHECK(s.store.blobs.at("warning-events").find("while it stopped") != std::string::npos);
}

TEST_CASE("events part: a disk that stalls does not keep the lead here") {
  Server s;
  s.lead(3);
  s.put("a", event("m"));
  s.store.stalled = true;
  s.leave();
  CHECK(s.handed_over == 1);
  CHECK(s.store.saves == 0);
  s.store.stalled = false;
  for (const auto& write : std::exchange(s.store.waiting, {})) write();
  CHECK(s.handed_over == 1);
}

}  // namespace limpet::daemon::test
