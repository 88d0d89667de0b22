// Connections for the API, the node service and agents.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "support.h"

using namespace limpet;
using namespace limpet::peer_test;

namespace {

struct Result_ {
  bool done = false;
  std::string error;
  Errc code = Errc::internal;
  About about;
  std::unique_ptr<loop::Stream> stream;

  DialDone take() {
    return [this](Result<Dialled> dialled) {
      CHECK_FALSE(done);
      done = true;
      if (!dialled) {
        error = dialled.error().message;
        code = dialled.error().code;
        return;
      }
      about = dialled->about;
      stream = std::move(dialled->stream);
    };
  }
};

std::string listen_to(loop::Stream& stream, std::string& into) {
  loop::Stream::Events events;
  events.on_read = [&into](std::string_view bytes) { into += bytes; };
  stream.set_events(std::move(events));
  stream.read_start();
  return into;
}

}  // namespace

// The connections of this process that are probed after so many seconds of silence.
static int probed_after(int seconds) {
  int found = 0;
  for (int fd = 0; fd < 256; ++fd) {
    int idle = 0;
    tcp_info info{};
    socklen_t size = sizeof idle, info_size = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, &size) != 0) continue;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &info_size) != 0) continue;
    found += info.tcpi_state == TCP_ESTABLISHED && idle == seconds;
  }
  return found;
}

// What the kernel waits for on the one of these; -1: there is none.
static int unacknowledged_for_ms(int seconds) {
  for (int fd = 0; fd < 256; ++fd) {
    int idle = 0, limit = 0;
    socklen_t size = sizeof idle;
    if (getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, &size) != 0 || idle != seconds) continue;
    if (getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit, &size) == 0) return limit;
  }
  return -1;
}

TEST_CASE("a silent connection is probed on both ends, as often as the profile says") {
  CHECK(Timing::lan().keep.limit_s() <= 40);
  CHECK(Timing::metered().keep.limit_s() <= 600);
  Site site;
  PeersOptions of_a = site.options(1, "a"), of_b = site.options(2, "b");
  of_a.timing.keep = {.idle_s = 17, .interval_s = 5, .count = 4};
  of_b.timing.keep = {.idle_s = 19, .interval_s = 5, .count = 4};
  Device a(site, of_a), b(site, of_b);
  Result_ result;
  auto dial = a.peers->dial(
      {.member = 2, .name = "b", .addresses = {b.address()}, .kind = Kind::node, .stream = 0}, result.take());
  REQUIRE(site.until([&] { return result.done && !b.streams.empty(); }));
  REQUIRE_MESSAGE(result.stream, result.error);
  CHECK(probed_after(17) == 1);
  CHECK(probed_after(19) == 1);
}

TEST_CASE("who asks the API of another server looks often whether it is there, until it answers") {
  CHECK(Timing::lan().awaited.limit_s() <= 5);
  CHECK(Timing::metered().awaited.limit_s() <= 60);
  for (const Kind kind : {Kind::api, Kind::node}) {
    CAPTURE(kind_name(kind));
    Site site;
    PeersOptions of_a = site.options(1, "a");
    of_a.timing.keep = {.idle_s = 17, .interval_s = 5, .count = 4};
    of_a.timing.awaited = {.idle_s = 3, .interval_s = 1, .count = 2};
    Device a(site, of_a), b(site, 2, "b");
    Result_ result;
    auto dial = a.peers->dial(
        {.member = 2, .name = "b", .addresses = {b.address()}, .kind = kind, .stream = 0}, result.take());
    REQUIRE(site.until([&] { return result.done && !b.streams.empty(); }));
    REQUIRE_MESSAGE(result.stream, result.error);
    CHECK(probed_after(17) == 1);
    std::string asked, answer;
    listen_to(*b.streams[0].second, asked);
    listen_to(*result.stream, answer);
    for (const char* text : {"first", "second"}) {
      asked.clear();
      answer.clear();
      result.stream->write(text);
      REQUIRE(site.until([&] { return asked == text; }));
      CHECK(probed_after(3) == (kind == Kind::api ? 1 : 0));  // whoever reads a log may stop reading
      CHECK(unacknowledged_for_ms(3) == (kind == Kind::api ? 5'000 : -1));
      b.streams[0].second->write("yes");
      REQUIRE(site.until([&] { return answer == "yes"; }));
      CHECK(probed_after(3) == 0);
      CHECK(probed_after(17) == 1);
      CHECK(unacknowledged_for_ms(17) == 37'000);
    }
  }
}

TEST_CASE("a connection of each kind is handed over with who is there, and carries bytes both ways") {
  Site site;
  Device a(site, 1, "a"), b(site, 2, "b");
  a.peers->set_members({b.member()});
  for (const Kind kind : {Kind::api, Kind::node, Kind::agent, Kind::stream}) {
    CAPTURE(kind_name(kind));
    Result_ result;
    auto dial =
        a.peers->dial({.member = 2, .name = "", .addresses = {}, .kind = kind, .stream = 77}, result.take());
    CHECK_FALSE(result.done);
    REQUIRE(site.until([&] { return result.done && !b.streams.empty(); }));
    REQUIRE_MESSAGE(result.stream, result.error);
    CHECK(result.about.name == "b");
    CHECK(result.about.member == 2);
    const Caller caller = b.streams[0].first;
    CHECK(caller.kind == kind);
    CHECK(caller.about.name == "a");
    CHECK(caller.about.member == 1);
    CHECK(caller.stream == 77);
    CHECK(caller.server);
    CHECK(caller.certificate.subject.common_name == "system:node:a");
    CHECK(caller.address == b.streams[0].second->peer());
    CHECK(b.peers->stats().open[static_cast<size_t>(kind)] == 1);

    std::string at_a, at_b;
    listen_to(*result.stream, at_a);
    listen_to(*b.streams[0].second, at_b);
    result.stream->write("GET / HTTP/1.1\r\n\r\n");
    b.streams[0].second->write("HTTP/1.1 200 OK\r\n\r\n");
    REQUIRE(site.until([&] { return at_a.size() == 19 && at_b.size() == 18; }));
    CHECK(at_a == "HTTP/1.1 200 OK\r\n\r\n");
    bool ended = false;
    loop::Stream::Events events;
    events.on_eof = [&] { ended = true; };
    b.streams[0].second->set_events(std::move(events));
    result.stream->shutdown();
    REQUIRE(site.until([&] { return ended; }));
    b.streams.clear();
    CHECK(b.peers->stats().open[static_cast<size_t>(kind)] == 0);
  }
}

TEST_CASE("what came along with the hello, or with its answer, is read first") {
  Site site;
  Device a(site, 1, "a");
  Raw raw(site, a.peers->port(), site.credentials("b"), "a");
  raw.write(encode(hello_of(2, "b", Kind::api)) + "GET /");
  REQUIRE(site.until([&] { return a.streams.size() == 1; }));
  std::string got;
  auto& stream = *a.streams[0].second;
  stream.read_start();
  stream.read_stop();
  site.settle();
  listen_to(stream, got);
  CHECK(got == "");  // not from inside
  raw.write("livez");
  REQUIRE(site.until([&] { return got.size() == 10; }));
  CHECK(got == "GET /livez");

  RawServer talkative(site, site.credentials("c"), [&](tls::Stream& accepted) {
    accepted.write(encode(Answer{1, {3, 1, "c", "", 1, {}}, std::nullopt}) + "GET /logs");
  });
  Result_ result;
  auto dial = a.peers->dial(
      {.member = 0, .name = "c", .addresses = {talkative.address()}, .kind = Kind::stream}, result.take());
  REQUIRE(site.until([&] { return result.done; }));
  REQUIRE_MESSAGE(result.stream, result.error);
  CHECK(result.about.member == 3);
  std::string from;
  listen_to(*result.stream, from);
  REQUIRE(site.until([&] { return from == "GET /logs"; }));
}

TEST_CASE("an agent dials servers by name and does not listen") {
  Site site;
  Device b(site, 2, "b");
  PeersOptions options = site.options(0, "agent-7");
  options.listen = false;
  options.credentials = site.credentials("agent-7", false);
  auto agent = std::move(Peers::make(site.loop, site.engine, site.clock, site.random, options, {}).value());
  CHECK(agent->port() == 0);
  Result_ result;
  auto dial =
      agent->dial({.member = 0, .name = "b", .addresses = {"127.0.0.1:1", b.address()}, .kind = Kind::agent},
                  result.take());
  REQUIRE(site.until([&] { return result.done && b.streams.size() == 1; }));
  CHECK(result.about.member == 2);
  CHECK_FALSE(b.streams[0].first.server);
  CHECK(b.streams[0].first.about.name == "agent-7");
  CHECK(b.streams[0].first.about.port == 0);

  Result_ refused;
  auto other =
      agent->dial({.member = 0, .name = "b", .addresses = {b.address()}, .kind = Kind::api}, refused.take());
  REQUIRE(site.until([&] { return refused.done; }));
  CHECK(refused.code == Errc::permission_denied);
  CHECK(refused.error ==
        "device b refused (not_a_server): device agent-7 has the certificate of an agent; connections of "
        "kind api are "
        "for servers");
  agent->pause_raft(true);
  agent->recheck();
  agent->send(2, "nothing");
  CHECK(agent->stats().peers.empty());
}

TEST_CASE("who was dialled is judged, too, at first and later") {
  Site site;
  Device a(site, 1, "a"), b(site, 2, "b");
  bool denied = true;
  a.judge = [&](const Caller& who) -> std::optional<Refusal> {
    CHECK(who.dialled);
    CHECK(who.server);
    CHECK(who.kind == Kind::node);
    CHECK(who.about.name == "b");
    CHECK(who.address == b.address());
    CHECK(who.certificate.subject.common_name == "system:node:b");
    if (!denied) return std::nullopt;
    return Refusal{Reason::denied, "b was removed"};
  };
  const auto dial = [&](Result_& result) {
    return a.peers->dial({.member = 0, .name = "b", .addresses = {b.address()}, .kind = Kind::node},
                         result.take());
  };
  Result_ refused;
  const auto first = dial(refused);
  REQUIRE(site.until([&] { return refused.done; }));
  CHECK(refused.code == Errc::permission_denied);
  CHECK(refused.error == "it may not be spoken to: b was removed");

  denied = false;
  Result_ good;
  const auto second = dial(good);
  REQUIRE(site.until([&] { return good.done; }));
  REQUIRE_MESSAGE(good.stream, good.error);
  std::string error;
  loop::Stream::Events events;
  events.on_error = [&](const Error& e) { error = e.message; };
  good.stream->set_events(std::move(events));
  good.stream->read_start();
  a.peers->recheck();
  site.settle();
  CHECK(error == "");
  denied = true;
  a.peers->set_members({});
  REQUIRE(site.until([&] { return !error.empty(); }));
  CHECK(error == "the connection was cut: b was removed");
  good.stream.reset();
  a.peers->recheck();  // nothing is left of it
}

TEST_CASE("a dial that cannot be says why") {
  Site site;
  PeersOptions options = site.options(1, "a");
  options.timing.hello_ms = 1'000;
  Device a(site, options);
  RawServer mute(site, site.credentials("b")), other(site, site.credentials("z"));
  struct Row {
    Target target;
    Errc code;
    std::string error;
  };
  for (const Row& row : {
           Row{{.member = 9, .name = "", .addresses = {}},
               Errc::not_found,
               "no address of a device is known"},
           Row{{.member = 9, .name = "", .addresses = {"127.0.0.1:1"}},
               Errc::not_found,
               "no address of a device is known"},
           Row{{.member = 0, .name = "b", .addresses = {}},
               Errc::not_found,
               "no address of device b is known"},
           Row{{.member = 0, .name = "b", .addresses = {"127.0.0.1:1"}},
               Errc::unavailable,
               "127.0.0.1:1: connect to 127.0.0.1 port 1: connect: Connection refused"},
           // That somebody else is there says more than that nobody is.
           Row{{.member = 0, .name = "b", .addresses = {other.address(), "127.0.0.1:1"}},
               Errc::unauthenticated,
               other.address() + ": certificate of b.servers.limpet is for z, z.servers.limpet, not for "
                                 "b.servers.limpet"},
           Row{{.member = 0, .name = "b", .addresses = {"no/address"}},
               Errc::invalid_argument,
               "no/address: 'no/address' is no address of a device: the host is no name and no IP address"},
           Row{{.member = 0, .name = "b", .addresses = {mute.address()}},
               Errc::timeout,
               mute.address() + ": device b took the connection and did not answer the hello within 1000 ms"},
       }) {
    CAPTURE(row.error);
    Result_ result;
    auto dial = a.peers->dial(row.target, result.take());
    REQUIRE(site.until([&] { return result.done; }));
    CHECK(result.error == row.error);
    CHECK(result.code == row.code);
  }
}

TEST_CASE("a dial that is given up, or outlives Peers, calls nobody") {
  Site site;
  Device b(site, 2, "b");
  auto a = std::make_unique<Device>(site, 1, "a");
  a->peers->set_members({b.member()});
  const Target target{.member = 2, .name = "", .addresses = {}};
  // At every point of the way.
  for (int turns = 0; turns < 40; ++turns) {
    auto dial = a->peers->dial(target, [](auto) {});
    for (int i = 0; i < turns; ++i) site.loop.run_until([] { return false; }, 0);
    dial.reset();
  }
  bool called = false;
  auto dial = a->peers->dial(target, [&](auto) { called = true; });
  a->peers->stop();
  auto late = a->peers->dial(target, [&](auto) { called = true; });
  a.reset();
  site.loop.run_until([] { return false; }, 50);
  CHECK_FALSE(called);
  dial.reset();
}

TEST_CASE("streams outlive the Peers that handed them over") {
  Site site;
  auto a = std::make_unique<Device>(site, 1, "a");
  auto b = std::make_unique<Device>(site, 2, "b");
  a->peers->set_members({b->member()});
  Result_ result;
  auto dial = a->peers->dial({.member = 2, .name = "", .addresses = {}}, result.take());
  REQUIRE(site.until([&] { return result.done && !b->streams.empty(); }));
  auto accepted = std::move(b->streams[0].second);
  dial.reset();
  a.reset();
  b.reset();
  site.settle();
  std::string got;
  listen_to(*accepted, got);
  result.stream->write("still");
  REQUIRE(site.until([&] { return got == "still"; }));
}
