// Many watches over one connection: the API client of an agent against the service of a server, with a
// scripted API behind it.
#include "daemon/stream_service.h"

#include <doctest/doctest.h>

#include <map>
#include <optional>

#include "client/bundle_wire.h"
#include "client/remote.h"
#include "http/server.h"
#include "loop/stream.h"

namespace limpet::daemon::test {
namespace {

struct Rig final : http::Dialer {
  loop::Loop loop;
  SeededRandom random{3};
  std::vector<http::ExchangePtr> asked;
  std::unique_ptr<StreamService> service = std::make_unique<StreamService>(loop);
  std::unique_ptr<http::Server> server = std::make_unique<http::Server>(
      loop, http::ServerOptions{},
      service->over([this](http::ExchangePtr e) { asked.push_back(std::move(e)); }));
  std::string certificate = "a device's";
  int dials = 0;
  std::unique_ptr<client::RemoteClient> client =
      std::make_unique<client::RemoteClient>(loop, *this, random, client::RemoteOptions{.answer_ms = 300});

  Rig() { client->set_servers({{"s", 6443}}, {}); }
  ~Rig() override {
    client.reset();
    asked.clear();
    service.reset();
    server.reset();
    CHECK(loop.run_until([&] { return loop.live_handles() == 1; }, 10'000));
  }
  std::unique_ptr<Dial> connect(loop::Loop&, const http::Origin&, int64_t, Done done) override {
    ++dials;
    auto pair = loop::stream_pair(loop);
    REQUIRE(pair);
    http::Peer peer;
    peer.kind = http::Peer::Kind::tls;
    peer.client_certificate_der = certificate;
    server->serve(std::move(pair->second), peer);
    return later(std::move(pair->first), std::move(done));
  }
  std::unique_ptr<Dial> secure(loop::Loop&, std::unique_ptr<loop::Stream> s, const http::Origin&,
                               Done done) override {
    return later(std::move(s), std::move(done));
  }
  struct Later final : Dial {
    loop::Timer timer;
    std::unique_ptr<loop::Stream> stream;
    Later(loop::Loop& l, std::unique_ptr<loop::Stream> s, Done d) : timer(l, "dial"), stream(std::move(s)) {
      timer.start(0, [this, done = std::move(d)] { done(std::move(stream)); });
    }
  };
  std::unique_ptr<Dial> later(std::unique_ptr<loop::Stream> s, Done done) {
    return std::make_unique<Later>(loop, std::move(s), std::move(done));
  }
  bool until(const std::function<bool()>& f) { return loop.run_until(f, 10'000); }
  void spin(int64_t ms = 20) {
    loop.run_until([] { return false; }, ms);
  }
  http::Exchange* find(const std::string& path) {
    for (const auto& e : asked) {
      if (e->request().path == path) return e.get();
    }
    return nullptr;
  }
};

struct Watched {
  std::vector<std::string> events;
  std::optional<Result<>> end;
  std::unique_ptr<client::Pending> pending;
  Watched(Rig& rig, const std::string& path, const std::string& query = "watch=true&resourceVersion=7") {
    pending = rig.client->stream({.path = path, .query = query},
                                 {[this](std::string_view e) { events.emplace_back(e); },
                                  [this](Result<> r) {
                                    CHECK_FALSE(end.has_value());
                                    end = std::move(r);
                                  }});
  }
};

}  // namespace

TEST_CASE("watches share a connection, and each has its own events and end") {
  Rig rig;
  Watched a(rig, "/api/v1/pods"), b(rig, "/apis/apps/v1/deployments"), c(rig, "/api/v1/nodes");
  REQUIRE(rig.until([&] { return rig.asked.size() == 3; }));
  CHECK(rig.dials == 1);
  CHECK(rig.service->bundles() == 1);
  for (const auto& e : rig.asked) {
    CHECK(e->request().peer.client_certificate_der == "a device's");
    CHECK(e->request().peer.kind == http::Peer::Kind::tls);
    CHECK(e->request().query.get("resourceVersion") == "7");
    CHECK(e->request().method == "GET");
  }
  http::Exchange &pods = *rig.find("/api/v1/pods"), &deployments = *rig.find("/apis/apps/v1/deployments");
  pods.begin(200, {});
  pods.write("{\"n\":1}\n{\"n\"");
  deployments.begin(200, {});
  const std::string large(3 << 20, 'x');
  deployments.write("\"" + large + "\"\n");
  pods.write(":2}\n");
  REQUIRE(rig.until([&] { return a.events.size() == 2 && b.events.size() == 1; }));
  CHECK(a.events[1] == "{\"n\":2}");
  CHECK(b.events[0] == "\"" + large + "\"");
  pods.end();
  deployments.abort();
  rig.find("/api/v1/nodes")->respond({410, {}, R"({"message":"too old"})"});
  REQUIRE(rig.until([&] { return a.end && b.end && c.end; }));
  CHECK(a.end->has_value());
  CHECK(b.end->error().code == Errc::unavailable);
  CHECK(c.end->error().code == Errc::expired);
  CHECK(c.end->error().message == "too old");
}

TEST_CASE("who lets go of a watch is heard of, and the others go on") {
  Rig rig;
  Watched a(rig, "/api/v1/pods"), b(rig, "/api/v1/nodes");
  REQUIRE(rig.until([&] { return rig.asked.size() == 2; }));
  bool gone = false;
  for (const auto& e : rig.asked) e->begin(200, {});
  rig.find("/api/v1/pods")->on_gone([&] { gone = true; });
  rig.find("/api/v1/nodes")->on_gone([] { FAIL("the other one"); });
  rig.spin();
  a.pending.reset();
  REQUIRE(rig.until([&] { return gone; }));
  rig.find("/api/v1/pods")->write("nobody reads this\n");
  rig.find("/api/v1/nodes")->write("{}\n");
  CHECK(rig.until([&] { return b.events.size() == 1; }));
  CHECK(a.events.empty());
  rig.find("/api/v1/nodes")->on_gone([] {});
}

TEST_CASE("a handler that drops its exchange, and one that lets a watch wait") {
  Rig rig;
  Watched dropped(rig, "/api/v1/pods");
  REQUIRE(rig.until([&] { return rig.asked.size() == 1; }));
  rig.asked.clear();
  REQUIRE(rig.until([&] { return dropped.end.has_value(); }));
  CHECK_FALSE(dropped.end->has_value());
  Watched waits(rig, "/api/v1/pods");
  REQUIRE(rig.until([&] { return waits.end.has_value(); }));  // answer_ms
  CHECK(waits.end->error().message.find("timed out") != std::string::npos);
  CHECK(waits.end->error().code == Errc::unavailable);
}

TEST_CASE("when the connection breaks all its watches end, and new ones get a new one") {
  Rig rig;
  Watched a(rig, "/api/v1/pods"), b(rig, "/api/v1/nodes");
  REQUIRE(rig.until([&] { return rig.asked.size() == 2; }));
  for (const auto& e : rig.asked) e->begin(200, {});
  rig.spin();
  bool gone = false;
  rig.asked[0]->on_gone([&] { gone = true; });
  rig.service.reset();
  REQUIRE(rig.until([&] { return a.end && b.end && gone; }));
  CHECK(a.end->error().code == Errc::unavailable);
  CHECK(b.end->error().code == Errc::unavailable);
  rig.asked.clear();
  rig.service = std::make_unique<StreamService>(rig.loop);
  rig.server = std::make_unique<http::Server>(
      rig.loop, http::ServerOptions{},
      rig.service->over([&rig](http::ExchangePtr e) { rig.asked.push_back(std::move(e)); }));
  Watched again(rig, "/api/v1/pods");
  CHECK(rig.until([&] { return rig.asked.size() == 1; }));
  CHECK(rig.dials == 2);
}

TEST_CASE("only watches, only devices") {
  {
    Rig rig;
    for (const auto& [path, query] :
         {std::pair{"/api/v1/pods", ""}, std::pair{"/api/v1/pods", "watch=false"},
          std::pair{"/limpet/v1/join", "watch=true"}, std::pair{"/metrics", "watch=true"}}) {
      CAPTURE(path);
      Watched w(rig, path, query);
      REQUIRE(rig.until([&] { return w.end.has_value(); }));
      CHECK(w.end->error().code == Errc::invalid_argument);
    }
    CHECK(rig.asked.empty());
  }
  Rig rig;
  rig.certificate.clear();
  Watched w(rig, "/api/v1/pods");
  REQUIRE(rig.until([&] { return w.end.has_value(); }));
  CHECK(w.end->error().message.find("401") != std::string::npos);
  CHECK(rig.asked.empty());
}

TEST_CASE("messages that are none, ids used twice and too many streams") {
  Rig rig;
  http::Client raw(rig.loop, rig);
  http::ClientRequest r;
  r.origin.host = "s";
  r.target = client::bundle_path;
  for (const std::string& last : {std::string("hello"), std::string("open 0 /api/v1/pods?watch=true"),
                                  std::string("open 1 /api/v1/pods?watch=true")}) {
    CAPTURE(last);
    std::unique_ptr<http::WebSocket> socket;
    int code = 0;
    auto call = raw.websocket(r, client::bundle_protocol, [&](Result<std::unique_ptr<http::WebSocket>> s) {
      REQUIRE(s);
      socket = std::move(*s);
      socket->set_events(
          {.on_message = {}, .on_close = [&](int c, std::string_view) { code = c; }, .on_drain = {}});
    });
    REQUIRE(rig.until([&] { return socket != nullptr; }));
    socket->send(client::encode_open(1, "/api/v1/pods?watch=true"), false);
    socket->send(last, false);
    REQUIRE(rig.until([&] { return code != 0; }));
    CHECK((code == 1003 || code == 1008));
    CHECK(rig.until([&] { return rig.service->bundles() == 0; }));
  }
  rig.asked.clear();
  std::vector<std::unique_ptr<Watched>> many;
  for (size_t i = 0; i <= StreamService::max_streams; ++i)
    many.push_back(std::make_unique<Watched>(rig, "/api/v1/pods"));
  REQUIRE(rig.until([&] { return many.back()->end.has_value(); }));
  CHECK(many.back()->end->error().code == Errc::exhausted);
  CHECK(rig.asked.size() == StreamService::max_streams);
}

TEST_CASE("a device that does not read: its watches see the queue, and at the bound it is cut off") {
  Rig rig;
  http::Client raw(rig.loop, rig);
  http::ClientRequest r;
  r.origin.host = "s";
  r.target = client::bundle_path;
  std::unique_ptr<http::WebSocket> socket;
  size_t got = 0;
  auto call = raw.websocket(r, client::bundle_protocol, [&](Result<std::unique_ptr<http::WebSocket>> s) {
    socket = std::move(*s);
    socket->set_events(
        {.on_message = [&](std::string_view m, bool) { got += m.size(); }, .on_close = {}, .on_drain = {}});
  });
  REQUIRE(rig.until([&] { return socket != nullptr; }));
  socket->send(client::encode_open(1, "/api/v1/pods?watch=true"), false);
  REQUIRE(rig.until([&] { return rig.asked.size() == 1; }));
  http::Exchange& e = *rig.asked[0];
  bool drained = false, gone = false;
  e.on_drain([&] { drained = true; });
  e.on_gone([&] { gone = true; });
  e.begin(200, {});
  socket->pause_reading(true);
  while (e.write_queue_size() < (1u << 20)) {
    e.write(std::string(64 * 1024, 'x'));
    rig.spin(0);
  }
  CHECK_FALSE(drained);
  socket->pause_reading(false);
  REQUIRE(rig.until([&] { return drained; }));
  CHECK(e.write_queue_size() == 0);
  socket->pause_reading(true);
  for (size_t i = 0; i < 1000 && !gone; ++i) {
    e.write(std::string(64 * 1024, 'x'));
    rig.spin(0);
  }
  CHECK(gone);
  CHECK(rig.until([&] { return rig.service->bundles() == 0; }));
}

TEST_CASE("messages of bundles as bytes") {
  const auto open = client::decode_ask(client::encode_open(4294967295u, "/api/v1/pods?watch=true"));
  REQUIRE(open);
  CHECK(open->id == 4294967295u);
  CHECK(open->target == "/api/v1/pods?watch=true");
  const auto close = client::decode_ask(client::encode_close(3));
  REQUIRE(close);
  CHECK(close->id == 3);
  CHECK(close->target.empty());
  const std::string bad_asks[] = {"",
                                  "open",
                                  "open ",
                                  "open 1",
                                  "open 1 ",
                                  "open 1 api",
                                  "open x /a",
                                  "open 0 /a",
                                  "open -1 /a",
                                  "open 4294967296 /a",
                                  "open  1 /a",
                                  "close",
                                  "close ",
                                  "close 1 /a",
                                  "close 0",
                                  "OPEN 1 /a",
                                  "open 1 /" + std::string(client::max_bundle_target, 'a')};
  for (const std::string& bad : bad_asks) {
    CAPTURE(bad);
    CHECK_FALSE(client::decode_ask(bad));
  }
  const std::string head = client::encode_head(0x01020304, 200);
  CHECK(head == "\x01\x02\x03\x04h200");
  CHECK(client::decode_piece(head)->status == 200);
  CHECK(client::decode_piece(head)->id == 0x01020304);
  const std::string data = client::encode_piece(9, client::BundleKind::data, "bytes");
  CHECK(client::decode_piece(data)->bytes == "bytes");
  CHECK(client::decode_piece(client::encode_piece(9, client::BundleKind::end))->kind ==
        client::BundleKind::end);
  for (const std::string_view bad :
       {std::string_view("", 0), std::string_view("\0\0\0\1", 4), std::string_view("\0\0\0\1x", 5),
        std::string_view("\0\0\0\1h", 5), std::string_view("\0\0\0\1h20x", 8),
        std::string_view("\0\0\0\1h99", 7), std::string_view("\0\0\0\1h1000", 9)}) {
    CHECK_FALSE(client::decode_piece(bad));
  }
}

}  // namespace limpet::daemon::test
