// A device asks to be let in, and is answered by a server on loopback in every way.
#include "daemon/joiner.h"

#include <doctest/doctest.h>

#include <list>

#include "../temp_dir.h"
#include "../tls/support.h"
#include "cluster/token.h"
#include "http/server.h"

namespace limpet::daemon::test {

TEST_CASE("a refusal is final, trouble of the server is not") {
  tls_test::Bench bench;
  int status = 0, requests = 0;
  http::Server http(bench.loop, {}, [&](http::ExchangePtr e) {
    ++requests;
    e->respond({status, {}, R"({"message":"as the test has it"})"});
  });
  tls::ServerOptions options = bench.server_options({{}, {"127.0.0.1"}});
  options.certificate_pem += bench.ca.authority.certificate_pem;
  const auto context = std::move(*tls::ServerContext::make(bench.engine, options));
  std::list<std::unique_ptr<tls::Handshake>> handshakes;
  const auto listener =
      std::move(*loop::Listener::tcp(bench.loop, "127.0.0.1", 0, [&](std::unique_ptr<loop::Stream> s) {
        handshakes.push_back(
            tls::wrap_server(*context, std::move(s), [&](Result<std::unique_ptr<tls::Stream>> r) {
              if (r) http.serve(std::move(*r), {});
            }));
      }));
  limpet::test::TempDir dir;
  JoinOptions join;
  join.data_dir = dir.path;
  join.node_name = "edge-7";
  join.addresses = {"192.0.2.7:6444"};
  join.api_port = 6443;
  join.order.url = "https://127.0.0.1:" + std::to_string(listener->port());
  join.order.token = cluster::make_token(bench.ca.pin(), bench.ca.random).text();
  struct Row {
    int status;
    Errc code;
  };
  for (const Row& row : {
           Row{400, Errc::permission_denied},
           Row{401, Errc::permission_denied},
           Row{403, Errc::permission_denied},
           Row{404, Errc::permission_denied},
           Row{409, Errc::permission_denied},
           Row{413, Errc::permission_denied},
           Row{429, Errc::unavailable},
           Row{500, Errc::unavailable},
           Row{502, Errc::unavailable},
           Row{503, Errc::unavailable},
           Row{504, Errc::unavailable},
           Row{507, Errc::unavailable},
       }) {
    CAPTURE(row.status);
    status = row.status;
    std::optional<Result<Place>> answer;
    const auto joiner =
        Joiner::start(bench.loop, bench.clock, join, [&](Result<Place> place) { answer = std::move(place); });
    REQUIRE(bench.loop.run_until([&] { return answer.has_value(); }, 30'000));
    REQUIRE_FALSE(*answer);
    CHECK(errc_name(answer->error().code) == errc_name(row.code));
    CHECK(answer->error().message == join.order.url + " does not let this device in: as the test has it");
  }
  CHECK(requests == 12);
}

}  // namespace limpet::daemon::test
