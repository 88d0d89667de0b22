// What strangers on the network can make a server hold: counted, not timed.
#include <doctest/doctest.h>

#include <vector>

#include "base/failpoint.h"
#include "support.h"

using namespace limpet;
using limpet::tls_test::Bench;

namespace {

// The first bytes of a ClientHello: enough to be heard, not enough to go on.
const std::string hello_begins("\x16\x03\x01\x02\x00\x01", 6);

struct Flood {
  explicit Flood(Bench& b, tls::Engine::Limits l = {}) : bench(b), limits(l) {
    server = tls::ServerContext::make(bench.engine, bench.server_options()).value();
    client = tls::ClientContext::make(bench.engine, bench.client_options()).value();
  }

  void connect(const std::string& bytes = "") {
    auto pair = loop::stream_pair(bench.loop);
    REQUIRE(pair);
    if (!bytes.empty()) pair->second->write(bytes);
    ends.push_back(std::move(pair->second));
    handshakes.push_back(tls::wrap_server(*server, std::move(pair->first), [this](auto result) {
      if (!result) errors.push_back(result.error());
    }));
  }
  // Until so many of them have failed.
  bool failed(size_t n) {
    return bench.loop.run_until([&] { return errors.size() >= n; }, 20'000);
  }
  bool settles(const std::function<bool()>& f) { return bench.loop.run_until(f, 20'000); }
  tls::Stats stats() const { return bench.engine.stats(); }

  Bench& bench;
  tls::Engine::Limits limits;
  std::unique_ptr<tls::ServerContext> server;
  std::unique_ptr<tls::ClientContext> client;
  std::vector<std::unique_ptr<loop::Stream>> ends;
  std::vector<std::unique_ptr<tls::Handshake>> handshakes;
  std::vector<Error> errors;
};

}  // namespace

TEST_CASE("silent connections cost no session, and the longest silent ones give way") {
  tls::Engine::Limits limits;
  limits.max_open = 20;
  limits.silence_ms = limits.deadline_ms = 3'600'000;
  Bench bench(limits);
  Flood flood(bench);
  for (int i = 0; i < 500; i++) flood.connect();
  CHECK(flood.stats().server_handshakes == 20);
  CHECK(flood.stats().handshakes_silent == 20);
  CHECK(flood.stats().connections == 0);
  CHECK(flood.errors.empty());  // never from inside wrap_server
  REQUIRE(flood.failed(480));
  CHECK(flood.errors.size() == 480);
  CHECK(flood.stats().handshakes_refused == 480);
  CHECK(flood.errors[0].code == Errc::exhausted);
  // In the middle of it somebody who speaks is served.
  auto out = bench.connect(*flood.server, *flood.client, "device-1");
  CHECK(out.client_error == "");
  CHECK(out.server != nullptr);
  CHECK(flood.stats().server_handshakes == 19);
  CHECK(flood.stats().connections == 2);
}

TEST_CASE("handshakes that begin and stop hold a bounded number of sessions, and end") {
  tls::Engine::Limits limits;
  limits.max_sessions = 4;
  limits.max_waiting = 100;
  limits.deadline_ms = 3'600'000;
  limits.silence_ms = 60'000;
  limits.yield_ms = 1;
  Bench bench(limits);
  Flood flood(bench);
  int64_t most = 0;
  for (int i = 0; i < 60; i++) flood.connect(hello_begins);
  // They give way to those behind them until nobody is behind.
  REQUIRE(flood.settles([&] {
    most = std::max(most, flood.stats().connections);
    return flood.errors.size() == 56;
  }));
  CHECK(most == 4);
  REQUIRE(flood.settles([&] { return flood.stats().handshakes_waiting == 0; }));
  CHECK(flood.stats().connections == 4);
  auto out = bench.connect(*flood.server, *flood.client, "device-1");
  CHECK(out.client_error == "");
  out = {};
  flood.handshakes.clear();
  REQUIRE(flood.settles([&] { return flood.stats().connections == 0; }));
  CHECK(flood.stats().server_handshakes == 0);
}

TEST_CASE("beyond the bound nobody is let in when all have begun; too much at once is no TLS") {
  tls::Engine::Limits limits;
  limits.max_open = 5;
  limits.deadline_ms = limits.silence_ms = 3'600'000;
  Bench bench(limits);
  Flood flood(bench);
  for (int i = 0; i < 5; i++) flood.connect(hello_begins);
  REQUIRE(flood.settles([&] { return flood.stats().handshakes_silent == 0; }));
  flood.connect();
  REQUIRE(flood.failed(1));
  CHECK(flood.errors[0].message.ends_with("too many connections are in the handshake"));
  CHECK(flood.stats().server_handshakes == 5);
  flood.handshakes.clear();
  CHECK(flood.stats().server_handshakes == 0);
  flood.connect(std::string(60'000, '\x16'));
  REQUIRE(flood.failed(2));
  CHECK(flood.errors[1].message.ends_with("what it sent is not TLS"));
  CHECK(
      flood.settles([&] { return flood.stats().connections == 0; }));  // steps on the pool end by themselves
}

TEST_CASE("a client that keeps a server waiting is let go, before and after its first bytes") {
  for (const std::string& bytes : {std::string(), hello_begins}) {
    tls::Engine::Limits limits;
    limits.deadline_ms = 3'600'000;
    limits.silence_ms = 20;
    limits.yield_ms = 10;
    Bench bench(limits);
    Flood flood(bench);
    flood.connect(bytes);
    REQUIRE(flood.failed(1));
    CHECK(flood.errors[0].code == Errc::timeout);
    CHECK(flood.errors[0].message.ends_with("it said nothing for 20 ms"));
    CHECK(flood.stats().connections == 0);
  }
}

TEST_CASE("what has begun comes to its end before all of the others begin") {
  Bench bench;
  tls::ServerOptions server_options = bench.server_options();
  tls::ClientOptions client_options = bench.client_options();
  server_options.urgent = client_options.urgent = true;
  const auto server = tls::ServerContext::make(bench.engine, server_options).value();
  const auto client = tls::ClientContext::make(bench.engine, client_options).value();
  constexpr int64_t many = 24;
  std::vector<std::unique_ptr<tls::Handshake>> handshakes;
  std::vector<std::unique_ptr<tls::Stream>> streams;
  int64_t at_the_first = 0;
  for (int64_t i = 0; i < many; i++) {
    auto pair = loop::stream_pair(bench.loop);
    REQUIRE(pair);
    const auto done = [&](Result<std::unique_ptr<tls::Stream>> result) {
      REQUIRE_MESSAGE(result, result.error().message);
      if (streams.empty()) at_the_first = bench.engine.stats().connections;
      streams.push_back(std::move(*result));
    };
    handshakes.push_back(tls::wrap_server(*server, std::move(pair->first), done));
    handshakes.push_back(tls::wrap_client(*client, std::move(pair->second), "device-1", done));
  }
  REQUIRE(bench.loop.run_until([&] { return streams.size() == 2 * many; }, 60'000));
  // All clients have begun by then: they were there first. Of the servers a few.
  CHECK(at_the_first < many + many / 2);
}

TEST_CASE("a context may have more patience than the engine, with those who have begun") {
  tls::Engine::Limits limits;
  limits.deadline_ms = 50;
  limits.silence_ms = 20;
  limits.yield_ms = 10;
  Bench bench(limits);
  tls::ServerOptions options = bench.server_options();
  options.deadline_ms = 3'600'000;
  options.silence_ms = 200;
  Flood flood(bench);
  flood.server = tls::ServerContext::make(bench.engine, options).value();
  flood.connect();
  flood.connect(hello_begins);
  REQUIRE(flood.failed(2));
  CHECK(flood.errors[0].message.ends_with("it said nothing for 20 ms"));
  CHECK(flood.errors[1].message.ends_with("it said nothing for 200 ms"));
}

#ifdef LIMPET_FAILPOINTS
TEST_CASE("nothing is done for one who has left before his turn came") {
  Bench bench;
  Flood flood(bench);
  failpoint::arm("tls.session=error");  // where his session would be made
  flood.connect(hello_begins);
  flood.ends.clear();
  CHECK(flood.failed(1));
  failpoint::arm("");
  CHECK(flood.errors.at(0).message.ends_with("the connection was closed"));
}

TEST_CASE("a session that cannot be made, a step that fails, a certificate that cannot be swapped") {
  struct Row {
    const char* point;
    const char* error;
  };
  for (const Row& row : {Row{"tls.session", "failpoint tls.session"},
                         Row{"tls.handshake.step", "failpoint tls.handshake.step"}}) {
    Bench bench;
    Flood flood(bench);
    failpoint::arm(std::string(row.point) + "=error@1");
    flood.connect(hello_begins);
    CHECK(flood.failed(1));
    failpoint::arm("");
    CHECK(flood.errors.at(0).message.find(row.error) != std::string::npos);
    CHECK(flood.stats().connections == 0);
    CHECK(bench.connect(*flood.server, *flood.client, "device-1").client_error == "");
  }
  Bench bench;
  Flood flood(bench);
  failpoint::arm("tls.certificate.swap=error");
  CHECK_FALSE(flood.server->replace(bench.server_options({{"device-2"}, {}})));
  failpoint::arm("");
  CHECK(bench.connect(*flood.server, *flood.client, "device-1").client_error == "");  // the old one stays
  REQUIRE(flood.server->replace(bench.server_options({{"device-2"}, {}})));
  CHECK(bench.connect(*flood.server, *flood.client, "device-2").client_error == "");
}
#endif
