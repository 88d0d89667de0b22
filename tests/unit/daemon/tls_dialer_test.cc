// The API client of an agent against HTTPS servers on loopback: the device's certificate is shown, a server
// of another authority or name is not spoken to.
#include "daemon/tls_dialer.h"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <list>

#include "../tls/support.h"
#include "client/remote.h"
#include "http/server.h"

namespace limpet::daemon::test {
namespace {

struct HttpsServer {
  tls_test::Bench& bench;
  std::unique_ptr<tls::ServerContext> context;
  http::Server http;
  std::list<std::unique_ptr<tls::Handshake>> handshakes;
  std::unique_ptr<loop::Listener> listener;
  std::string seen_subject;  // of the client's certificate
  int requests = 0;

  HttpsServer(tls_test::Bench& b, tls_test::Ca& ca, const pki::Names& names)
      : bench(b), http(b.loop, {}, [this](http::ExchangePtr e) {
          ++requests;
          const auto certificate = pki::parse_certificate(e->request().peer.client_certificate_der);
          if (certificate) seen_subject = certificate->subject.common_name;
          e->respond({200, {}, "{}"});
        }) {
    const tls_test::Pair own = ca.issue({"server", {}}, names, pki::Use::server);
    context = std::move(
        *tls::ServerContext::make(bench.engine, {.certificate_pem = own.certificate,
                                                 .key_pem = own.key,
                                                 .client_ca_pem = bench.ca.authority.certificate_pem}));
    listener =
        std::move(*loop::Listener::tcp(b.loop, "127.0.0.1", 0, [this](std::unique_ptr<loop::Stream> s) {
          const auto slot = handshakes.emplace(handshakes.end());
          *slot =
              tls::wrap_server(*context, std::move(s), [this, slot](Result<std::unique_ptr<tls::Stream>> r) {
                if (r) {
                  http::Peer peer;
                  peer.client_certificate_der = (*r)->peer_certificate();
                  http.serve(std::move(*r), std::move(peer));
                }
                handshakes.erase(slot);
              });
        }));
  }
  client::Server place() const { return {"127.0.0.1", listener->port()}; }
};

struct Rig {
  tls_test::Bench bench;
  SeededRandom random{1};
  std::unique_ptr<tls::ClientContext> context;
  std::unique_ptr<TlsDialer> dialer;
  std::unique_ptr<client::RemoteClient> client;

  Rig() {
    const tls_test::Pair own =
        bench.ca.issue({"system:node:edge-1", {"system:nodes"}}, {{"edge-1"}, {}}, pki::Use::peer);
    tls::ClientOptions o = bench.client_options();
    o.certificate_pem = own.certificate;
    o.key_pem = own.key;
    context = std::move(*tls::ClientContext::make(bench.engine, o));
    dialer = std::make_unique<TlsDialer>(*context, keep_alive_lan);
    client = std::make_unique<client::RemoteClient>(bench.loop, *dialer, random);
  }
  Result<client::Reply> get() {
    std::optional<Result<client::Reply>> got;
    auto p = client->call({.path = "/api/v1/pods"}, [&](Result<client::Reply> r) { got = std::move(r); });
    REQUIRE(bench.loop.run_until([&] { return got.has_value(); }, 30'000));
    return std::move(*got);
  }
};

const pki::Names kLoopback{{}, {"127.0.0.1"}};

}  // namespace

TEST_CASE("the device shows its certificate, and one connection carries its calls") {
  Rig rig;
  HttpsServer server(rig.bench, rig.bench.ca, kLoopback);
  rig.client->set_servers({server.place()}, {});
  for (int i = 0; i < 3; ++i) {
    const auto reply = rig.get();
    REQUIRE(reply);
    CHECK(reply->status == 200);
  }
  CHECK(server.requests == 3);
  CHECK(server.seen_subject == "system:node:edge-1");
  CHECK(rig.bench.engine.stats().connections == 2);  // both ends of one
  rig.client.reset();
}

TEST_CASE("a server of another authority, or with another name, is passed over") {
  Rig rig;
  tls_test::Ca other("another cluster");
  HttpsServer foreign(rig.bench, other, kLoopback), misnamed(rig.bench, rig.bench.ca, {{"elsewhere"}, {}});
  rig.client->set_servers({foreign.place(), misnamed.place()}, {});
  const auto refused = rig.get();
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::unavailable);
  CHECK(refused.error().message.find("127.0.0.1") != std::string::npos);
  HttpsServer good(rig.bench, rig.bench.ca, kLoopback);
  rig.client->set_servers({foreign.place(), misnamed.place()}, {good.place()});
  REQUIRE(rig.get());
  CHECK(rig.client->server() == good.place().text());
  CHECK(foreign.requests + misnamed.requests == 0);
  rig.client.reset();
}

TEST_CASE("connections of an agent are probed soon enough") {
  CHECK(keep_alive_lan.limit_s() <= 40);
  CHECK(keep_alive_metered.limit_s() <= 600);
  Rig rig;
  HttpsServer server(rig.bench, rig.bench.ca, kLoopback);
  std::unique_ptr<loop::Stream> stream;
  http::Origin origin;
  origin.host = "127.0.0.1";
  origin.port = server.place().port;
  auto dial = rig.dialer->connect(rig.bench.loop, origin, 5'000,
                                  [&](Result<std::unique_ptr<loop::Stream>> s) { stream = std::move(*s); });
  REQUIRE(rig.bench.loop.run_until([&] { return stream != nullptr; }, 10'000));
  int idle = 0;
  socklen_t size = sizeof idle;
  REQUIRE(getsockopt(stream->fd(), IPPROTO_TCP, TCP_KEEPIDLE, &idle, &size) == 0);
  CHECK(idle == keep_alive_lan.idle_s);
  stream.reset();
  rig.client.reset();
}

}  // namespace limpet::daemon::test
