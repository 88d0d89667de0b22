// The control connection of an agent, both ends.
#include "peer/control.h"
#include "support.h"

using namespace limpet;
using namespace limpet::peer_test;

namespace {

struct End {
  std::unique_ptr<Control> control;
  std::vector<ControlMessage> got;
  std::string ended;
  Errc code = Errc::internal;
  int ends = 0;

  void start(loop::Loop& loop, std::unique_ptr<loop::Stream> stream, ControlOptions options) {
    control = std::make_unique<Control>(loop, std::move(stream), options,
                                        Control::Events{[this](const ControlMessage& m) { got.push_back(m); },
                                                        [this](const Error& error) {
                                                          ++ends;
                                                          ended = error.message;
                                                          code = error.code;
                                                        }});
  }
};

std::pair<std::unique_ptr<loop::Stream>, std::unique_ptr<loop::Stream>> pair_of(loop::Loop& loop) {
  return std::move(loop::stream_pair(loop).value());
}

}  // namespace

TEST_CASE("messages arrive whole, both ways; pings are answered and not handed on") {
  loop::Loop loop;
  auto ends = pair_of(loop);
  End server, agent;
  server.start(loop, std::move(ends.first), ControlOptions::server_lan());
  agent.start(loop, std::move(ends.second), {.ping_ms = 1, .silence_ms = 0});
  const Servers roll{{{1, "a", {"10.0.0.1:6444"}, 6443}}};
  REQUIRE(server.control->send(roll));
  REQUIRE(server.control->send(OpenStream{7, Purpose::node_service}));
  REQUIRE(loop.run_until([&] { return agent.got.size() == 2; }, limit_ms));
  CHECK((agent.got[0] == ControlMessage(roll)));
  CHECK((agent.got[1] == ControlMessage(OpenStream{7, Purpose::node_service})));
  REQUIRE(agent.control->send(Servers{}));
  REQUIRE(loop.run_until([&] { return server.got.size() == 1; }, limit_ms));
  CHECK(agent.ends + server.ends == 0);
  server.control.reset();
  REQUIRE(loop.run_until([&] { return agent.ends == 1; }, limit_ms));
  CHECK_FALSE(agent.ended.empty());  // closed, or reset when a ping was under way
  CHECK(agent.control->send(Ping{}).error().code == Errc::unavailable);
}

TEST_CASE("pings keep a control connection, silence ends it") {
  loop::Loop loop;
  auto ends = pair_of(loop);
  size_t pings = 0;
  std::string bytes;
  ends.first->set_events({.on_read =
                              [&](std::string_view b) {
                                FrameReader reader(Kind::agent);
                                reader.add(b);
                                while (auto next = reader.next().value()) {
                                  pings += next->type == FrameType::ping ? 1 : 0;
                                }
                              },
                          .on_eof = {},
                          .on_error = {},
                          .on_drain = {}});
  ends.first->read_start();
  End agent;
  agent.start(loop, std::move(ends.second), {.ping_ms = 5, .silence_ms = 200});
  REQUIRE(loop.run_until([&] { return agent.ends == 1; }, limit_ms));
  CHECK(agent.code == Errc::timeout);
  CHECK(agent.ended == "nothing came on the control connection for 200 ms");
  CHECK(pings >= 1);
}

TEST_CASE("what is no control message ends the connection") {
  using namespace std::string_literals;
  struct Row {
    const char* what;
    std::string bytes;
    Errc code;
  };
  std::string many;
  for (int i = 0; i < 17; ++i) many += "\x40" + std::string(64, 'a');
  for (const Row& row : {
           Row{"garbage", std::string(100, '\xff'), Errc::corrupt},
           Row{"length 0", std::string(5, '\0'), Errc::corrupt},
           Row{"raft", frame(FrameType::raft, "x"), Errc::unsupported},
           Row{"of a newer version", "\0\0\0\1\x15"s, Errc::unsupported},
           Row{"malformed", frame(FrameType::open_stream, "\1\2"), Errc::corrupt},
           Row{"no authorities", frame(FrameType::authorities, "\0"s), Errc::corrupt},
           Row{"too many authorities", frame(FrameType::authorities, "\x11" + many), Errc::corrupt},
           Row{"fewer than it says", frame(FrameType::authorities, "\2" + many.substr(0, 65)), Errc::corrupt},
           Row{"more than it says", frame(FrameType::authorities, "\1" + many), Errc::corrupt},
           Row{"half a hash", frame(FrameType::authorities, "\1\x20" + std::string(32, 'a')), Errc::corrupt},
           Row{"no hash", frame(FrameType::authorities, "\1\x40" + std::string(64, 'g')), Errc::corrupt},
       }) {
    CAPTURE(row.what);
    loop::Loop loop;
    auto ends = pair_of(loop);
    End end;
    end.start(loop, std::move(ends.first), {});
    ends.second->write(encode(ControlMessage(OpenStream{1})) + row.bytes +
                       encode(ControlMessage(OpenStream{2})));
    REQUIRE(loop.run_until([&] { return end.ends == 1; }, limit_ms));
    CHECK(end.code == row.code);
    CHECK(end.got.size() == 1);
  }
}

TEST_CASE("the queue of one that does not read is bounded") {
  loop::Loop loop;
  auto ends = pair_of(loop);
  End server;
  server.start(loop, std::move(ends.first), {});
  Servers large;
  for (int i = 0; i < 60; ++i)
    large.servers.push_back({1, "name", std::vector<std::string>(8, std::string(100, 'a')), 1});
  Result<> sent;
  size_t count = 0;
  while (sent && count < 1000) {
    sent = server.control->send(large);
    ++count;
  }
  REQUIRE_FALSE(sent);
  CHECK(sent.error().code == Errc::exhausted);
}

TEST_CASE("a Control may be destroyed from inside its callbacks") {
  for (const bool at_end : {false, true}) {
    loop::Loop loop;
    auto ends = pair_of(loop);
    std::unique_ptr<Control> control;
    int calls = 0;
    const auto gone = [&] {
      ++calls;
      control.reset();
    };
    control = std::make_unique<Control>(
        loop, std::move(ends.first), ControlOptions{},
        Control::Events{[&](const ControlMessage&) { gone(); }, [&](const Error&) { gone(); }});
    const std::string message = encode(ControlMessage(OpenStream{1}));
    ends.second->write(at_end ? std::string(10, '\xff') : message + message);
    REQUIRE(loop.run_until([&] { return calls == 1; }, limit_ms));
    loop.run_until([] { return false; }, 10);
    CHECK(calls == 1);
  }
}
