// A certificate that is denied, or whose authority is replaced, ends what goes on under it at once, in every
// form that a long request has.
#include "daemon/client_connections.h"

#include <doctest/doctest.h>

#include <memory>

#include "../tls/support.h"
#include "http/server.h"
#include "pki/certificate.h"
#include "pki/trust.h"

namespace limpet::daemon::test {
namespace {

// An API that answers nothing by itself: what is asked stays open.
struct Rig {
  loop::Loop loop;
  tls_test::Ca ca{"cluster"};
  std::vector<http::ExchangePtr> open;
  std::unique_ptr<http::WebSocket> socket;
  std::unique_ptr<loop::Stream> taken;
  int gone = 0, closed = 0, failed = 0, handled = 0;
  ClientConnections connections{loop};
  std::unique_ptr<http::Server> server = std::make_unique<http::Server>(
      loop, http::ServerOptions{}, [this](http::ExchangePtr e) { serve(std::move(e)); });

  ~Rig() {
    open.clear();
    socket.reset();
    taken.reset();
    server.reset();
    CHECK(loop.run_until([&] { return loop.live_handles() == 1; }, 10'000));
    CHECK(connections.held() == 0);
  }
  std::string certificate(const std::string& user, std::vector<std::string> groups) {
    return certificate(ca, user, std::move(groups));
  }
  std::string certificate(tls_test::Ca& by, const std::string& user, std::vector<std::string> groups) {
    const auto made = by.issue({user, std::move(groups)}, {}, pki::Use::client);
    return pki::parse_certificate(made.certificate)->der;
  }
  void serve(http::ExchangePtr e) {
    ++handled;
    if (e->request().path == "/socket") {
      auto up = e->upgrade("");
      REQUIRE(up);
      socket = std::move(*up);
      http::WebSocket::Events events;
      events.on_close = [this](int, std::string_view) { ++closed; };
      socket->set_events(std::move(events));
    } else if (e->request().path == "/stream") {
      auto up = e->take_over("SPDY/3.1", {});
      REQUIRE(up);
      taken = std::move(*up);
      loop::Stream::Events events;
      events.on_error = [this](const Error&) { ++failed; };
      taken->set_events(std::move(events));
      taken->read_start();
    } else {
      e->on_gone([this] { ++gone; });
      e->begin(200, {});
      e->write("{\"type\":\"ADDED\"}\n");
      open.push_back(std::move(e));
    }
  }
  bool until(const std::function<bool()>& f) { return loop.run_until(f, 10'000); }
};

struct Client {
  std::unique_ptr<loop::Stream> stream;
  std::string got;
  bool over = false;

  Client(Rig& rig, const std::string& der, const std::string& path, const std::string& more = "") {
    auto pair = loop::stream_pair(rig.loop);
    REQUIRE(pair);
    stream = std::move(pair->first);
    stream->set_events({.on_read = [this](std::string_view s) { got += s; },
                        .on_eof = [this] { over = true; },
                        .on_error = [this](const Error&) { over = true; },
                        .on_drain = {}});
    stream->read_start();
    http::Peer peer;
    peer.kind = http::Peer::Kind::tls;
    peer.client_certificate_der = der;
    rig.server->serve(rig.connections.hold(std::move(pair->second), der), peer);
    stream->write("GET " + path + " HTTP/1.1\r\nHost: h\r\n" + more + "\r\n");
    REQUIRE(rig.until([this] { return !got.empty(); }));
  }
};

constexpr const char* websocket =
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

}  // namespace

TEST_CASE("the connections of a denied key end at once, those of others go on") {
  Rig rig;
  const std::string stolen = rig.certificate("system:node:stolen", {"system:nodes"});
  const std::string good = rig.certificate("system:node:good", {"system:nodes"});
  const std::string key = pki::parse_certificate(stolen)->spki_sha256();
  Client watch(rig, stolen, "/watch"), socket(rig, stolen, "/socket", websocket),
      stream(rig, stolen, "/stream", "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"),
      other(rig, good, "/watch");
  CHECK(rig.connections.held() == 4);

  rig.connections.cut_denied([](const std::string&) { return false; });
  const int handled = rig.handled;
  rig.connections.cut_denied([&](const std::string& one) { return one == key; });
  // What it says after that is not heard.
  watch.stream->write("GET /watch HTTP/1.1\r\nHost: h\r\n\r\n");
  rig.connections.cut_denied([&](const std::string& one) { return one == key; });
  REQUIRE(rig.until([&] { return watch.over && socket.over && stream.over; }));
  CHECK(rig.until([&] { return rig.gone == 1 && rig.closed == 1 && rig.failed == 1; }));
  CHECK(rig.handled == handled);
  rig.open.front()->write("a later event");  // to nobody
  CHECK(watch.got.find("later") == std::string::npos);

  rig.open.back()->write("still here\n");
  REQUIRE(rig.until([&] { return other.got.find("still here") != std::string::npos; }));
  CHECK_FALSE(other.over);
  rig.socket.reset();
  rig.taken.reset();
  CHECK(rig.connections.held() == 1);
}

TEST_CASE("an administrator's watch ends with the authority that signed for him, others go on") {
  Rig rig;
  tls_test::Ca next{"cluster-2"};
  pki::Trust trust;
  CHECK_FALSE(trust.replace(rig.ca.authority.certificate_pem));
  Client before(rig, rig.certificate("kubernetes-admin", {"system:masters"}), "/watch"),
      after(rig, rig.certificate(next, "kubernetes-admin", {"system:masters"}), "/watch");
  REQUIRE(rig.connections.held() == 2);

  CHECK_FALSE(trust.replace(next.authority.certificate_pem + rig.ca.authority.certificate_pem));
  rig.connections.cut_distrusted(trust);
  rig.open.front()->write("an event");
  REQUIRE(rig.until([&] { return before.got.find("an event") != std::string::npos; }));
  CHECK_FALSE(before.over);

  CHECK(trust.replace(next.authority.certificate_pem));
  rig.connections.cut_distrusted(trust);
  rig.connections.cut_distrusted(trust);  // once is enough
  REQUIRE(rig.until([&] { return before.over && rig.gone == 1; }));
  rig.open.back()->write("still here");
  REQUIRE(rig.until([&] { return after.got.find("still here") != std::string::npos; }));
  CHECK_FALSE(after.over);
}

TEST_CASE("who shows no certificate is asked for none") {
  Rig rig;
  const pki::Trust nobody;
  for (const std::string& der : {std::string(), std::string("no certificate")}) {
    Client client(rig, der, "/watch");
    CHECK(rig.connections.held() == 0);
    rig.connections.cut_denied([](const std::string&) { return true; });
    rig.connections.cut_distrusted(nobody);
    rig.open.back()->write("still here");
    REQUIRE(rig.until([&] { return client.got.find("still here") != std::string::npos; }));
    CHECK_FALSE(client.over);
  }
}

TEST_CASE("what is held may outlive who holds it") {
  Rig rig;
  std::unique_ptr<loop::Stream> stream;
  {
    ClientConnections connections(rig.loop);
    auto pair = loop::stream_pair(rig.loop);
    REQUIRE(pair);
    stream = connections.hold(std::move(pair->first), rig.certificate("system:node:a", {"system:nodes"}));
    CHECK(connections.held() == 1);
  }
  stream.reset();
}

}  // namespace limpet::daemon::test
