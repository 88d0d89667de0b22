#include <optional>

#include "base/sha256.h"
#include "support.h"

using namespace limpet;
using limpet::tls_test::Bench;

namespace {

struct Connected : Bench {
  std::unique_ptr<tls::Stream> server;
  std::unique_ptr<tls::Stream> client;
  Connected() {
    auto s = tls::ServerContext::make(engine, server_options());
    auto c = tls::ClientContext::make(engine, client_options());
    auto out = connect(**s, **c, "device-1");
    server = std::move(out.server);
    client = std::move(out.client);
    REQUIRE(server);
    REQUIRE(client);
  }
};

// Hands on what it reads in pieces of a few bytes, each in its own turn.
class Chopped final : public loop::Stream {
 public:
  Chopped(loop::Loop& loop, std::unique_ptr<loop::Stream> below, size_t piece)
      : below_(std::move(below)), piece_(piece), timer_(loop, "chopped") {}
  void set_events(Events events) override {
    events_ = std::make_shared<Events>(std::move(events));
    Events mine;
    mine.on_read = [this](std::string_view bytes) {
      held_ += bytes;
      below_->read_stop();
      hand_on();
    };
    mine.on_eof = [this] {
      ended_ = true;
      hand_on();
    };
    auto copy = events_;
    mine.on_error = [copy](Error e) {
      if (copy->on_error) copy->on_error(std::move(e));
    };
    mine.on_drain = [copy] {
      if (copy->on_drain) copy->on_drain();
    };
    below_->set_events(std::move(mine));
  }
  void read_start() override {
    reading_ = true;
    hand_on();
  }
  void read_stop() override {
    reading_ = false;
    below_->read_stop();
  }
  void write(std::string bytes) override { below_->write(std::move(bytes)); }
  void shutdown() override { below_->shutdown(); }
  size_t write_queue_size() const override { return below_->write_queue_size(); }
  std::string peer() const override { return "chopped"; }

 private:
  void hand_on() {
    if (!reading_) return;
    if (held_.empty() && !ended_) return below_->read_start();
    timer_.start(0, [this] {
      if (!reading_) return;
      auto events = events_;
      if (held_.empty()) {
        reading_ = false;
        if (events->on_eof) events->on_eof();
        return;
      }
      std::string piece = held_.substr(0, piece_);
      held_.erase(0, piece_);
      hand_on();
      if (events->on_read) events->on_read(piece);
    });
  }
  std::unique_ptr<loop::Stream> below_;
  size_t piece_;
  loop::Timer timer_;
  std::shared_ptr<Events> events_;
  std::string held_;
  bool reading_ = false;
  bool ended_ = false;
};

std::string pattern(size_t n) {
  std::string s(n, '\0');
  for (size_t i = 0; i < n; i++) s[i] = static_cast<char>(i * 31 + (i >> 9));
  return s;
}

}  // namespace

TEST_CASE_FIXTURE(Connected, "bytes of every length arrive whole and in order, both ways") {
  for (size_t n :
       {size_t{1}, size_t{16'383}, size_t{16'384}, size_t{16'385}, size_t{200'000}, size_t{3'000'000}}) {
    CAPTURE(n);
    std::string sent = pattern(n);
    std::string got;
    std::string back;
    loop::Stream::Events at_server;
    at_server.on_read = [&](std::string_view bytes) {
      got += bytes;
      server->write(std::string(bytes));
    };
    loop::Stream::Events at_client;
    at_client.on_read = [&](std::string_view bytes) {
      back += bytes;
      if (back.size() == n) loop.stop();
    };
    server->set_events(std::move(at_server));
    client->set_events(std::move(at_client));
    server->read_start();
    client->read_start();
    for (size_t at = 0; at < n;) {  // in writes of differing length
      size_t piece = std::min(n - at, 1 + at % 70'000);
      client->write(sent.substr(at, piece));
      at += piece;
    }
    loop.run();
    CHECK(sha256_hex(got) == sha256_hex(sent));
    CHECK(sha256_hex(back) == sha256_hex(sent));
  }
}

TEST_CASE_FIXTURE(Connected, "a stopped reader holds the writer back, and on_drain says when to go on") {
  std::string sent = pattern(4'000'000);
  int drained = 0;
  bool stuck = false;
  std::string got;
  loop::Stream::Events at_client;
  at_client.on_drain = [&] { drained++; };
  client->set_events(std::move(at_client));
  loop::Stream::Events at_server;
  at_server.on_read = [&](std::string_view bytes) {
    got += bytes;
    server->read_stop();
    loop.defer([&] { server->read_start(); });
    if (got.size() == sent.size()) loop.stop();
  };
  server->set_events(std::move(at_server));
  client->write(sent);
  CHECK(client->write_queue_size() > 1'000'000);
  loop::Timer timer(loop, "test");
  timer.start(50, [&] {
    stuck = drained == 0 && client->write_queue_size() > 1'000'000 && got.empty();
    server->read_start();
  });
  loop.run();
  CHECK(stuck);
  CHECK(sha256_hex(got) == sha256_hex(sent));
  if (drained == 0) {
    timer.start(20, [&] { loop.stop(); });
    loop.run();
  }
  CHECK(drained == 1);
  CHECK(client->write_queue_size() == 0);
  client->write("x");
  CHECK(client->write_queue_size() == 0);  // and then no on_drain
}

TEST_CASE_FIXTURE(Connected, "shutdown ends one direction only, after what was written") {
  std::string sent = pattern(1'000'000);
  std::string got;
  std::string reply;
  bool eof_at_client = false;
  loop::Stream::Events at_server;
  at_server.on_read = [&](std::string_view bytes) { got += bytes; };
  at_server.on_eof = [&] {
    server->write("goodbye");
    server->shutdown();
  };
  server->set_events(std::move(at_server));
  loop::Stream::Events at_client;
  at_client.on_read = [&](std::string_view bytes) { reply += bytes; };
  at_client.on_eof = [&] {
    eof_at_client = true;
    loop.stop();
  };
  client->set_events(std::move(at_client));
  server->read_start();
  client->read_start();
  client->write(sent);
  client->shutdown();
  client->write("too late");
  loop.run();
  CHECK(eof_at_client);
  CHECK(got == sent);
  CHECK(reply == "goodbye");
}

TEST_CASE_FIXTURE(Connected, "a cut without close_notify is an error, once") {
  int errors = 0;
  std::string message;
  loop::Stream::Events events;
  events.on_eof = [] { FAIL("an eof"); };
  events.on_error = [&](Error e) {
    errors++;
    message = e.message;
    loop.stop();
  };
  server->set_events(std::move(events));
  server->read_start();
  client.reset();
  loop.run();
  CHECK(errors == 1);
  // A reset where the client had not read everything (tickets of TLS 1.3).
  bool cut = message.find("was cut") != std::string::npos || message.find("reset") != std::string::npos;
  CHECK_MESSAGE(cut, message);
}

TEST_CASE_FIXTURE(Connected, "destroying the stream in each of its callbacks is safe") {
  SUBCASE("on_read") {
    loop::Stream::Events events;
    events.on_read = [&](std::string_view) {
      server.reset();
      loop.stop();
    };
    server->set_events(std::move(events));
    server->read_start();
    client->write(pattern(100'000));
    loop.run();
  }
  SUBCASE("on_eof") {
    loop::Stream::Events events;
    events.on_eof = [&] {
      server.reset();
      loop.stop();
    };
    server->set_events(std::move(events));
    server->read_start();
    client->shutdown();
    loop.run();
  }
  SUBCASE("on_error") {
    loop::Stream::Events events;
    events.on_error = [&](const Error&) {
      server.reset();
      loop.stop();
    };
    server->set_events(std::move(events));
    server->read_start();
    client.reset();
    loop.run();
  }
  SUBCASE("on_drain") {
    loop::Stream::Events events;
    events.on_drain = [&] {
      client.reset();
      loop.stop();
    };
    client->set_events(std::move(events));
    client->write(pattern(3'000'000));
    server->read_start();
    loop.run();
  }
  CHECK((server == nullptr || client == nullptr));
}

TEST_CASE("a connection in crumbs works as well") {
  for (size_t piece : {size_t{1}, size_t{7}, size_t{1000}}) {
    CAPTURE(piece);
    Bench bench;
    auto s = tls::ServerContext::make(bench.engine, bench.server_options());
    auto c = tls::ClientContext::make(bench.engine, bench.client_options());
    auto ends = loop::stream_pair(bench.loop);
    auto out = bench.connect(**s, **c, "10.0.0.5",
                             std::make_unique<Chopped>(bench.loop, std::move(ends->first), piece),
                             std::make_unique<Chopped>(bench.loop, std::move(ends->second), piece));
    REQUIRE_MESSAGE(out.server, out.server_error);
    std::string got;
    std::string sent = pattern(40 * piece + 20'000 / (piece == 1 ? 10 : 1));
    loop::Stream::Events events;
    events.on_read = [&](std::string_view bytes) {
      got += bytes;
      out.server->read_stop();
      out.server->read_start();
    };
    events.on_eof = [&] { bench.loop.stop(); };
    out.server->set_events(std::move(events));
    out.client->write(sent);
    out.client->shutdown();
    out.server->read_start();
    bench.loop.run();
    CHECK(got == sent);
  }
}

TEST_CASE_FIXTURE(Connected, "a record that was tampered with ends the stream") {
  // A second connection whose bytes pass through our hands.
  auto s = tls::ServerContext::make(engine, server_options());
  auto c = tls::ClientContext::make(engine, client_options());
  auto left = loop::stream_pair(loop);
  auto right = loop::stream_pair(loop);
  bool tamper = false;
  auto bridge = [&tamper](loop::Stream* from, loop::Stream* to) {
    loop::Stream::Events events;
    events.on_read = [&tamper, to](std::string_view bytes) {
      std::string copy(bytes);
      if (tamper) copy.back() = static_cast<char>(copy.back() ^ 1);
      to->write(std::move(copy));
    };
    from->set_events(std::move(events));
    from->read_start();
  };
  bridge(left->second.get(), right->second.get());
  bridge(right->second.get(), left->second.get());
  auto out = connect(**s, **c, "device-1", std::move(left->first), std::move(right->first));
  REQUIRE(out.server);
  tamper = true;
  std::string message;
  loop::Stream::Events events;
  events.on_read = [](std::string_view) { FAIL("read a forged record"); };
  events.on_error = [&](Error e) {
    message = e.message;
    loop.stop();
  };
  out.server->set_events(std::move(events));
  out.server->read_start();
  out.client->write("hello");
  loop.run();
  CHECK(message.find("TLS") != std::string::npos);
}
