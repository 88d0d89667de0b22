// An agent and two servers in one process: control connections, streams on request, relays between servers.
#include "daemon/agent_link.h"

#include <doctest/doctest.h>

#include <optional>

#include "daemon/agent_streams.h"
#include "daemon/node_streams.h"
#include "http/server.h"
#include "peer/channel.h"

namespace limpet::daemon::test {
namespace {

constexpr peer::ControlOptions fast_agent{.ping_ms = 30, .silence_ms = 150};
constexpr peer::ControlOptions fast_server{.ping_ms = 0, .silence_ms = 150};

struct World;

struct ServerSide {
  World& w;
  std::string name;
  AgentStreams agents;
  NodeStreams streams;
  http::Server node_http;  // connections of kind node
  bool up = true;
  int controls = 0;
  std::vector<std::unique_ptr<loop::Stream>> deaf;  // accepted and not listened to
  bool hangs = false, ignores_streams = false;
  peer::Channel::Handle control;  // of the agent's connection

  ServerSide(World& world, std::string n);
  // What the peer room does with the connection of a device that is denied.
  void cut() {
    REQUIRE(*control != nullptr);
    (*control)->cut({Errc::permission_denied, "it was removed", 0});
  }
};

// Dials between everybody. The agents' node service answers "served by NAME" on each stream.
struct World {
  loop::Loop loop;
  SeededRandom random{5};
  std::map<std::string, std::unique_ptr<ServerSide>> servers;
  int64_t open_ms = 10'000;
  std::unique_ptr<http::Server> agent_http;
  std::vector<peer::ServerEntry> roll;
  std::unique_ptr<AgentLink> link;
  std::vector<std::unique_ptr<loop::Stream>> kept;
  bool agent_ignores = false;
  std::vector<uint64_t> ids;
  std::string agent_name = "edge-1";

  struct Dialling final : http::Dialer::Dial {
    loop::Timer timer;
    explicit Dialling(loop::Loop& l) : timer(l, "test-dial") {}
  };
  using Done = http::Dialer::Done;

  void add(const std::string& name) { servers[name] = std::make_unique<ServerSide>(*this, name); }
  std::unique_ptr<http::Dialer::Dial> later(std::function<void()> f) {
    auto d = std::make_unique<Dialling>(loop);
    d->timer.start(0, std::move(f));
    return d;
  }
  // What the peer room does on both ends.
  std::unique_ptr<http::Dialer::Dial> dial(const std::string& to, peer::Kind kind, uint64_t id, Done done) {
    return later([this, to, kind, id, done = std::move(done)] {
      const auto it = servers.find(to);
      if (it == servers.end() || !it->second->up) return done(fail(Errc::unavailable, "connection refused"));
      ServerSide& s = *it->second;
      auto pair = loop::stream_pair(loop);
      REQUIRE(pair);
      if (s.hangs) {
        s.deaf.push_back(std::move(pair->second));
      } else if (kind == peer::Kind::agent) {
        ++s.controls;
        auto channel = std::make_unique<peer::Channel>(loop, std::move(pair->second), "", nullptr);
        s.control = channel->handle();
        s.agents.connected(agent_name, std::move(channel));
      } else if (kind == peer::Kind::stream) {
        ids.push_back(id);
        if (s.ignores_streams) return done(fail(Errc::permission_denied, "nobody asked for this stream"));
        s.agents.arrived(agent_name, id, std::move(pair->second));
      } else {
        s.node_http.serve(std::move(pair->second), {});
      }
      done(std::move(pair->first));
    });
  }
  void start_agent(std::vector<std::string> names) {
    agent_http = std::make_unique<http::Server>(loop, http::ServerOptions{}, [this](http::ExchangePtr e) {
      e->respond({200, {}, "served by " + agent_name + e->request().path});
    });
    AgentLink::Hooks h;
    h.dial = [this](const peer::ServerEntry& s, peer::Kind k, uint64_t id, Done d) {
      return dial(s.name, k, id, std::move(d));
    };
    h.on_stream = [this](std::unique_ptr<loop::Stream> s) {
      agent_ignores ? kept.push_back(std::move(s)) : agent_http->serve(std::move(s), {});
    };
    h.on_roll = [this](const std::vector<peer::ServerEntry>& r) { roll = r; };
    link = std::make_unique<AgentLink>(loop, random, fast_agent, std::move(h));
    std::vector<peer::ServerEntry> known;
    for (const std::string& n : names) known.push_back({1, n, {"10.0.0.1:6444"}, 6443});
    link->set_servers(known);
  }
  bool until(const std::function<bool()>& f, int64_t ms = 10'000) { return loop.run_until(f, ms); }
  void spin(int64_t ms) {
    loop.run_until([] { return false; }, ms);
  }
  ServerSide& holder() {
    REQUIRE(until([&] { return !link->server().empty(); }));
    return *servers.at(link->server());
  }
  ServerSide& other() {
    for (auto& [name, s] : servers) {
      if (name != holder().name) return *s;
    }
    FAIL("one server only");
    return holder();
  }
  ~World() {
    link.reset();
    agent_http.reset();
    kept.clear();
    servers.clear();
    CHECK(loop.run_until([&] { return loop.live_handles() == 1; }, 10'000));
  }
};

ServerSide::ServerSide(World& world, std::string n)
    : w(world),
      name(std::move(n)),
      agents(w.loop, w.random, {.timing = fast_server, .open_ms = w.open_ms, .max_waiting = 3}),
      streams(w.loop, agents,
              {[this] {
                 std::vector<std::string> others;
                 for (auto& [other, s] : w.servers) {
                   if (other != name) others.push_back(other);
                 }
                 return others;
               },
               [this](const std::string& to, World::Done d) {
                 return w.dial(to, peer::Kind::node, 0, std::move(d));
               }},
              {.open_ms = 500, .max_relays = 2}),
      node_http(w.loop, http::ServerOptions{}, [this](http::ExchangePtr e) {
        if (NodeStreams::serves(e->request().path)) return streams.handle(e);
        e->respond({200, {}, "served by " + name + e->request().path});
      }) {}

struct Opened {
  std::optional<Result<std::unique_ptr<loop::Stream>>> result;
  std::unique_ptr<http::Dialer::Dial> dial;
  std::string got;
  bool over = false;
  Opened(ServerSide& s, const std::string& node) {
    dial = s.streams.open(node, [this](Result<std::unique_ptr<loop::Stream>> r) {
      CHECK_FALSE(result.has_value());
      result = std::move(r);
    });
    CHECK_FALSE(result.has_value());
  }
  bool done() const { return result.has_value(); }
  loop::Stream& stream() { return ***result; }
  void ask(const std::string& path) {
    stream().set_events({.on_read = [this](std::string_view b) { got.append(b); },
                         .on_eof = [this] { over = true; },
                         .on_error = [this](Error) { over = true; },
                         .on_drain = {}});
    stream().read_start();
    stream().write("GET " + path + " HTTP/1.1\r\nHost: h\r\n\r\n");
  }
};

}  // namespace

TEST_CASE("an agent is held by one server, learns the roll, and is reached through it") {
  World w;
  w.add("s1");
  w.servers["s1"]->agents.set_roll({{1, "s1", {"a:6444"}, 6443}, {2, "s2", {"b:6444"}, 6443}});
  w.start_agent({"s1"});
  ServerSide& s = w.holder();
  CHECK(s.agents.agents() == std::vector<std::string>{"edge-1"});
  CHECK(w.roll.size() == 2);
  s.agents.set_roll({{1, "s1", {"a:6444"}, 6443}});
  CHECK(w.until([&] { return w.roll.size() == 1; }));
  Opened o(s, "edge-1"), p(s, "edge-1");
  REQUIRE(w.until([&] { return o.done() && p.done(); }));
  REQUIRE((o.result->has_value() && p.result->has_value()));
  o.ask("/one");
  p.ask("/two");
  REQUIRE(w.until([&] {
    return o.got.find("served by edge-1/one") != std::string::npos &&
           p.got.find("served by edge-1/two") != std::string::npos;
  }));
  REQUIRE(w.ids.size() == 2);
  CHECK(w.ids[0] != w.ids[1]);
  CHECK_FALSE(s.agents.expects("edge-1", w.ids[0]));  // used up
  w.spin(300);
  CHECK(s.controls == 1);  // pings keep it, in both directions
  CHECK(s.agents.holds("edge-1"));
}

TEST_CASE("a server's own pods: a connection of kind node") {
  World w;
  w.add("s1");
  w.add("s2");
  Opened o(*w.servers["s1"], "s2");
  REQUIRE(w.until([&] { return o.done(); }));
  o.ask("/x");
  CHECK(w.until([&] { return o.got.find("served by s2/x") != std::string::npos; }));
  w.servers["s2"]->up = false;
  Opened down(*w.servers["s1"], "s2");
  REQUIRE(w.until([&] { return down.done(); }));
  CHECK(down.result->error().message == "connection refused");
}

TEST_CASE("a server that does not hold the agent goes through the one that does") {
  World w;
  for (const char* n : {"s1", "s2", "s3"}) w.add(n);
  w.start_agent({"s1", "s2"});
  ServerSide &holder = w.holder(), &other = w.other();
  w.servers["s3"]->up = false;
  Opened o(other, "edge-1");
  REQUIRE(w.until([&] { return o.done(); }));
  REQUIRE(o.result->has_value());
  CHECK(holder.streams.relays() == 1);
  o.ask("/through");
  REQUIRE(w.until([&] { return o.got.find("served by edge-1/through") != std::string::npos; }));
  o.result.reset();  // the caller leaves
  CHECK(w.until([&] { return holder.streams.relays() == 0; }));
  // And when the agent's side goes, the caller is told.
  Opened cut(other, "edge-1");
  REQUIRE(w.until([&] { return cut.done(); }));
  cut.ask("/x");
  REQUIRE(w.until([&] { return !cut.got.empty(); }));
  w.agent_http.reset();
  CHECK(w.until([&] { return cut.over; }));
  cut.result.reset();
  CHECK(w.until([&] { return holder.streams.relays() == 0; }));
}

TEST_CASE("relays carry what the slower side takes, and are bounded in number") {
  World w;
  w.add("s1");
  w.add("s2");
  w.agent_ignores = true;
  w.start_agent({"s1"});
  ServerSide &holder = w.holder(), &other = w.other();
  Opened o(other, "edge-1"), p(other, "edge-1");
  REQUIRE(w.until([&] { return o.done() && p.done() && w.kept.size() == 2; }));
  // Nobody reads at the agent: the relay stops reading, and what was written stays with the writer.
  loop::Stream& in = o.stream();
  in.set_events({});
  size_t written = 0;
  while (in.write_queue_size() < (1u << 20) && written < (64u << 20)) {
    in.write(std::string(64 * 1024, 'x'));
    written += 64 * 1024;
    w.spin(0);
  }
  CHECK(written < (8u << 20));
  size_t got = 0;
  for (auto& s : w.kept) {
    s->set_events({.on_read = [&](std::string_view b) { got += b.size(); },
                   .on_eof = {},
                   .on_error = {},
                   .on_drain = {}});
    s->read_start();
  }
  CHECK(w.until([&] { return got == written; }));
  Opened third(other, "edge-1");
  REQUIRE(w.until([&] { return third.done(); }));
  CHECK(third.result->error().message.find("too many streams") != std::string::npos);
  CHECK(holder.streams.relays() == 2);
}

TEST_CASE("an agent that no server holds") {
  World w;
  w.add("s1");
  Opened alone(*w.servers["s1"], "edge-9");
  REQUIRE(w.until([&] { return alone.done(); }));
  CHECK(alone.result->error().code == Errc::not_found);
  w.add("s2");
  w.add("s3");
  w.servers["s3"]->up = false;
  Opened o(*w.servers["s1"], "edge-9");
  REQUIRE(w.until([&] { return o.done(); }));
  CHECK(o.result->error().code == Errc::not_found);
  CHECK(o.result->error().message.find("s3: ") != std::string::npos);
  CHECK(o.result->error().message.find("connection refused") != std::string::npos);
  CHECK(o.result->error().message.find("s2") == std::string::npos);  // it said 404: that is no problem
}

TEST_CASE("an agent that does not open the stream, is cut off meanwhile, or is asked too often") {
  World w;
  w.open_ms = 100;
  w.add("s1");
  w.add("s2");
  w.servers["s1"]->ignores_streams = true;
  w.start_agent({"s1"});
  ServerSide& s = w.holder();
  Opened slow(s, "edge-1");
  Opened relayed(w.other(), "edge-1");
  REQUIRE(w.until([&] { return slow.done() && relayed.done(); }));
  CHECK(slow.result->error().code == Errc::timeout);
  CHECK(relayed.result->error().message.find("does not open the stream") != std::string::npos);
  CHECK(s.streams.relays() == 0);
  Opened a(s, "edge-1"), b(s, "edge-1"), c(s, "edge-1"), d(s, "edge-1");
  REQUIRE(w.until([&] { return d.done(); }));
  CHECK(d.result->error().code == Errc::exhausted);
  s.cut();
  REQUIRE(w.until([&] { return a.done() && b.done() && c.done(); }));
  CHECK(a.result->error().code == Errc::unavailable);
  // Given up by who asked: the stream that comes nevertheless is closed.
  REQUIRE(w.until([&] { return s.agents.holds("edge-1"); }));
  s.ignores_streams = false;
  const size_t before = w.ids.size();
  {
    Opened given_up(s, "edge-1");
    given_up.dial.reset();
  }
  CHECK(w.until([&] { return w.ids.size() > before; }));
  w.spin(20);
}

TEST_CASE("streams that were not asked for, or come from another device, are closed") {
  World w;
  w.add("s1");
  w.agent_ignores = true;
  w.servers["s1"]->ignores_streams = true;  // the ID becomes known, the agent's stream does not come
  w.start_agent({"s1"});
  ServerSide& s = w.holder();
  Opened o(s, "edge-1");
  REQUIRE(w.until([&] { return !w.ids.empty(); }));
  CHECK(s.agents.expects("edge-1", w.ids[0]));
  CHECK_FALSE(s.agents.expects("edge-2", w.ids[0]));
  CHECK_FALSE(s.agents.expects("edge-1", w.ids[0] + 1));
  for (const auto& [name, id] :
       {std::pair<const char*, uint64_t>{"edge-2", w.ids[0]}, {"edge-1", w.ids[0] + 1}, {"edge-1", 0}}) {
    auto pair = loop::stream_pair(w.loop);
    bool closed = false;
    pair->first->set_events(
        {.on_read = {}, .on_eof = [&] { closed = true; }, .on_error = {}, .on_drain = {}});
    pair->first->read_start();
    s.agents.arrived(name, id, std::move(pair->second));
    CHECK(w.until([&] { return closed; }));
    CHECK_FALSE(o.done());
  }
}

TEST_CASE("an agent goes to another server when its own dies, hangs or refuses") {
  for (const bool hangs : {false, true}) {
    World w;
    w.add("s1");
    w.add("s2");
    w.start_agent({"s1", "s2"});
    ServerSide &first = w.holder(), &second = w.other();
    const std::string name = first.name;
    if (hangs) {
      // Its side of the connection is open and says nothing more.
      first.hangs = true;
      first.cut();
    } else {
      first.up = false;
      first.cut();
    }
    REQUIRE(w.until([&] { return second.agents.holds("edge-1") && w.link->server() == second.name; }));
    Opened o(second, "edge-1");
    REQUIRE(w.until([&] { return o.done(); }));
    CHECK(o.result->has_value());
    CHECK(w.link->last_error().empty());
    CHECK(name != w.link->server());
  }
}

TEST_CASE(
    "with another certificate the control connection is made anew, and the agent is held all the time") {
  World w;
  w.add("s1");
  w.add("s2");
  w.start_agent({"s1", "s2"});
  ServerSide& s = w.holder();
  const peer::Channel::Handle before = s.control;
  w.link->renew();
  bool held = true;
  REQUIRE(w.until([&] {
    held = held && s.agents.holds("edge-1") && w.link->server() == s.name;
    return s.controls == 2 && *before == nullptr;
  }));
  w.spin(200);  // pings go on
  CHECK(held);
  CHECK(w.link->server() == s.name);
  CHECK(w.link->counts().failures == 0);
  CHECK(w.link->counts().connects == 1);
  Opened o(s, "edge-1");
  REQUIRE(w.until([&] { return o.done(); }));
  CHECK(o.result->has_value());

  SUBCASE("where that fails the one that there is stays") {
    s.up = false;
    w.link->renew();
    w.spin(200);
    CHECK(s.agents.holds("edge-1"));
    CHECK(w.link->server() == s.name);
    CHECK(s.controls == 2);
  }
  SUBCASE("where both fail another server is taken") {
    s.up = false;
    w.link->renew();
    s.cut();
    REQUIRE(w.until([&] { return w.link->server() != s.name && !w.link->server().empty(); }));
    CHECK(w.other().controls + w.holder().controls == 3);
  }
}

TEST_CASE("silence ends a control connection on either side") {
  World w;
  w.add("s1");
  w.servers["s1"]->hangs = true;
  w.start_agent({"s1"});
  REQUIRE(w.until([&] { return w.servers["s1"]->deaf.size() == 2; }));  // given up and dialled anew
  CHECK(w.link->server().empty());
  CHECK(w.link->last_error().find("s1: ") == 0);
  w.servers["s1"]->hangs = false;
  ServerSide& s = w.holder();
  w.link.reset();  // closes its side
  CHECK(w.until([&] { return !s.agents.holds("edge-1"); }));
  auto pair = loop::stream_pair(w.loop);
  s.agents.connected("edge-7", std::move(pair->second));
  pair->first->read_start();
  CHECK(s.agents.holds("edge-7"));
  CHECK(w.until([&] { return !s.agents.holds("edge-7"); }));
}

TEST_CASE("a second control connection of a name replaces the first") {
  World w;
  w.add("s1");
  ServerSide& s = *w.servers["s1"];
  auto one = loop::stream_pair(w.loop), two = loop::stream_pair(w.loop);
  bool closed = false;
  one->first->set_events(
      {.on_read = [](std::string_view) {}, .on_eof = [&] { closed = true; }, .on_error = {}, .on_drain = {}});
  one->first->read_start();
  s.agents.connected("edge-1", std::move(one->second));
  Opened waits(s, "edge-1");
  s.agents.connected("edge-1", std::move(two->second));
  REQUIRE(w.until([&] { return closed && waits.done(); }));
  CHECK(waits.result->error().message.find("connected anew") != std::string::npos);
  CHECK(s.agents.holds("edge-1"));
}

TEST_CASE("bytes that are no control messages end the connection") {
  World w;
  w.add("s1");
  ServerSide& s = *w.servers["s1"];
  for (const char* bytes : {"GET / HTTP/1.1\r\n\r\n", "\xff\xff\xff\xff\x10"}) {
    auto pair = loop::stream_pair(w.loop);
    s.agents.connected("edge-1", std::move(pair->second));
    pair->first->write(std::string(bytes));
    CHECK(w.until([&] { return !s.agents.holds("edge-1"); }, 100));  // before silence would
  }
}

}  // namespace limpet::daemon::test
