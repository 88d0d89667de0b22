// What the tests of this room share: a CA with certificates, and two ends of a connection on one loop.
#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/random.h"
#include "loop/loop.h"
#include "loop/stream.h"
#include "pki/certificate.h"
#include "tls/tls.h"

namespace limpet::tls_test {

constexpr WallTime now{1'780'000'000, 0};

struct Pair {
  std::string certificate;
  std::string key;
};

struct Ca {
  explicit Ca(const char* name = "test-ca") {
    authority.key = pki::PrivateKey::generate(random).value();
    authority.certificate_pem =
        pki::make_ca(name, authority.key, pki::valid_from(now, pki::ca_life_seconds), random).value();
  }
  Pair issue(const pki::Subject& subject, const pki::Names& names, pki::Use use, int64_t life = 3600) {
    pki::PrivateKey key = pki::PrivateKey::generate(random).value();
    return {
        pki::issue(authority, key.spki(), subject, names, use, pki::valid_from(now, life), random).value(),
        key.to_pem().value()};
  }
  std::string pin() const { return pki::parse_certificate(authority.certificate_pem)->spki_sha256(); }
  SystemRandom random;
  pki::Authority authority;
};

// A loop with an engine whose clock is moved by hand.
struct Bench {
  loop::Loop loop;
  ManualClock clock;
  Ca ca;
  tls::Engine engine;

  explicit Bench(tls::Engine::Limits limits = {}) : engine(loop, clock, limits) { clock.set_wall(now); }

  tls::ServerOptions server_options(const pki::Names& names = {{"device-1"}, {"10.0.0.5", "fd00::5"}}) {
    Pair own = ca.issue({"device-1", {}}, names, pki::Use::server);
    tls::ServerOptions o;
    o.certificate_pem = own.certificate;
    o.key_pem = own.key;
    return o;
  }
  tls::ClientOptions client_options() {
    tls::ClientOptions o;
    o.ca_pem = ca.authority.certificate_pem;
    return o;
  }

  // Both handshakes over a socket pair, until both ends have an answer.
  struct Outcome {
    std::unique_ptr<tls::Stream> server;
    std::unique_ptr<tls::Stream> client;
    std::string server_error;
    std::string client_error;
  };
  Outcome connect(tls::ServerContext& server, tls::ClientContext& client, const std::string& name) {
    auto ends = loop::stream_pair(loop);
    REQUIRE(ends);
    return connect(server, client, name, std::move(ends->first), std::move(ends->second));
  }
  Outcome connect(tls::ServerContext& server, tls::ClientContext& client, const std::string& name,
                  std::unique_ptr<loop::Stream> server_end, std::unique_ptr<loop::Stream> client_end) {
    Outcome out;
    int left = 2;
    auto take = [&](std::unique_ptr<tls::Stream>& into, std::string& error) {
      return [&](Result<std::unique_ptr<tls::Stream>> result) {
        if (result) {
          into = std::move(*result);
        } else {
          error = result.error().message;
        }
        if (--left == 0) loop.stop();
      };
    };
    auto a = tls::wrap_server(server, std::move(server_end), take(out.server, out.server_error));
    auto b = tls::wrap_client(client, std::move(client_end), name, take(out.client, out.client_error));
    loop.run();
    CHECK(left == 0);
    return out;
  }
};

}  // namespace limpet::tls_test
