// What a server says of a client's certificate once the client is through with the handshake, as it is in TLS
// 1.3. Here the alert is sent by hand, whatever version there is.
#include <doctest/doctest.h>

#include <optional>
#include <utility>

#include "support.h"
#include "tls/context.h"
#include "tls/session.h"

using namespace limpet;
using limpet::tls_test::Bench;
using limpet::tls_test::now;

namespace {

// Both ends of a connection, in memory.
struct Sessions {
  std::shared_ptr<tls::Session> server, client;

  Sessions(Bench& bench, tls::ServerContext& s, tls::ClientContext& c)
      : server(bench.engine.impl().new_session(s.impl().config)),
        client(bench.engine.impl().new_session(c.impl().config)) {
    REQUIRE(server->set_up("a client"));
    REQUIRE(client->set_up("device-1"));
  }
  // The same on both sides.
  static bool goes_on(tls::Session& one, tls::Session& other, bool& done) {
    if (done) return true;
    const auto step = one.handshake(now);
    done = step == tls::Session::Step::done;
    other.in += std::exchange(one.out, {});
    return step != tls::Session::Step::failed;
  }
  bool handshake() {
    bool client_done = false, server_done = false;
    for (int i = 0; i < 10 && !(client_done && server_done); ++i) {
      if (!goes_on(*client, *server, client_done) || !goes_on(*server, *client, server_done)) return false;
    }
    return client_done && server_done;
  }
};

}  // namespace

TEST_CASE("who is refused after the handshake hears why, and that it is about him") {
  struct Row {
    unsigned char alert;
    Errc code;
    const char* text;
  };
  for (const Row& row :
       {Row{48, Errc::permission_denied,
            "the other side refused: it does not know the CA of our certificate (alert 48)"},
        Row{45, Errc::permission_denied,
            "the other side refused: our certificate has expired (or its clock is wrong) (alert 45)"},
        Row{80, Errc::io, "TLS: the other side ended the connection: alert 80"}}) {
    CAPTURE(row.text);
    Bench bench;
    const auto server = tls::ServerContext::make(bench.engine, bench.server_options()).value();
    const auto client = tls::ClientContext::make(bench.engine, bench.client_options()).value();
    Sessions sessions(bench, *server, *client);
    REQUIRE(sessions.handshake());
    auto pair = loop::stream_pair(bench.loop);
    REQUIRE(pair);
    const auto stream = tls::established(bench.engine.impl(), sessions.client, std::move(pair->first));
    std::optional<Error> error;
    stream->set_events(
        {.on_read = {}, .on_eof = {}, .on_error = [&](Error e) { error = std::move(e); }, .on_drain = {}});
    stream->read_start();
    REQUIRE(mbedtls_ssl_send_alert_message(&sessions.server->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, row.alert) ==
            0);
    pair->second->write(std::exchange(sessions.server->out, {}));
    REQUIRE(bench.loop.run_until([&] { return error.has_value(); }, 10'000));
    CHECK(error->code == row.code);
    CHECK_MESSAGE(error->message.ends_with(row.text), error->message);
  }
}
