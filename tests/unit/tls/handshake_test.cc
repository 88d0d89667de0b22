#include <cstdlib>

#include "../skip.h"
#include "support.h"

using namespace limpet;
using limpet::tls_test::Bench;
using limpet::tls_test::Ca;
using limpet::tls_test::now;
using limpet::tls_test::Pair;

TEST_CASE("a client believes only a certificate for the name it asked for") {
  Bench bench;
  struct Row {
    const char* name;
    const char* error;
  };
  auto server = tls::ServerContext::make(
      bench.engine, bench.server_options({{"device-1", "*.site.example"}, {"10.0.0.5", "fd00::5"}}));
  REQUIRE_MESSAGE(server, server.error().message);
  auto client = tls::ClientContext::make(bench.engine, bench.client_options());
  REQUIRE(client);
  const std::string is_for = " is for device-1, *.site.example, 10.0.0.5, fd00::5, not for ";
  for (const Row& row :
       {Row{"device-1", ""}, Row{"DEVICE-1", ""}, Row{"device-1.", ""}, Row{"10.0.0.5", ""},
        Row{"fd00::5", ""}, Row{"fd00:0:0::5", ""}, Row{"a.site.example", ""}, Row{"device-2", "x"},
        Row{"10.0.0.6", "x"}, Row{"fd00::6", "x"}, Row{"site.example", "x"}, Row{"a.b.site.example", "x"},
        Row{"*.site.example", "x"}}) {
    CAPTURE(row.name);
    auto out = bench.connect(**server, **client, row.name);
    std::string name = row.name;
    if (*row.error == '\0' || name == "*.site.example") {
      CHECK(out.client_error == "");
      CHECK(out.client != nullptr);
      CHECK(out.server != nullptr);
      continue;
    }
    CHECK(out.client == nullptr);
    CHECK(out.client_error == "certificate of " + name + is_for + name);
    CHECK(out.server == nullptr);
    CHECK_MESSAGE(out.server_error.starts_with("TLS handshake with "), out.server_error);
  }
}

TEST_CASE("time comes from our clock, in both directions") {
  Bench bench;
  auto server = tls::ServerContext::make(bench.engine, bench.server_options());
  struct Row {
    int64_t at;
    const char* error;
  };
  for (const Row& row : {Row{now.seconds, ""}, Row{now.seconds + 3600, ""}, Row{now.seconds - 86'400, ""},
                         Row{now.seconds + 3601,
                             "certificate of device-1 expired at 2026-05-28T21:26:40Z (it is "
                             "2026-05-28T21:26:41Z here)"},
                         Row{86'400,
                             "certificate of device-1 is not valid before 2026-05-27T20:26:40Z (it is "
                             "1970-01-02T00:00:00Z here)"}}) {
    bench.clock.set_wall({row.at, 0});
    auto client = tls::ClientContext::make(bench.engine, bench.client_options());
    auto out = bench.connect(**server, **client, "device-1");
    CHECK(out.client_error == row.error);
  }
}

TEST_CASE("trust: another CA, a pin, the system's bundle, nobody, anyone") {
  Bench bench;
  Ca other("other-ca");
  tls::ServerOptions with_chain = bench.server_options();
  with_chain.certificate_pem += bench.ca.authority.certificate_pem;
  auto server = tls::ServerContext::make(bench.engine, with_chain);
  auto bare = tls::ServerContext::make(bench.engine, bench.server_options());
  auto attempt = [&](tls::ServerContext& s, const tls::ClientOptions& options, const char* name) {
    auto client = tls::ClientContext::make(bench.engine, options);
    REQUIRE_MESSAGE(client, client.error().message);
    return bench.connect(s, **client, name).client_error;
  };
  tls::ClientOptions o;
  o.ca_pem = other.authority.certificate_pem;
  CHECK(attempt(**server, o, "10.0.0.5") == "certificate of 10.0.0.5 is not signed by the cluster CA");
  o.authority = "the site's CA";
  CHECK(attempt(**server, o, "10.0.0.5") == "certificate of 10.0.0.5 is not signed by the site's CA");
  o.ca_pem += bench.ca.authority.certificate_pem;  // a CA being rolled over
  CHECK(attempt(**server, o, "10.0.0.5") == "");

  tls::ClientOptions pinned;
  pinned.ca_pin = bench.ca.pin();
  CHECK(attempt(**server, pinned, "10.0.0.5") == "");
  CHECK(attempt(**server, pinned, "10.0.0.6").ends_with("not for 10.0.0.6"));
  CHECK(attempt(**bare, pinned, "10.0.0.5") ==
        "certificate of 10.0.0.5 does not descend from the CA with the hash given: it is of another cluster, "
        "or something stands between");
  pinned.ca_pin = other.pin();
  CHECK(attempt(**server, pinned, "10.0.0.5") ==
        "certificate of 10.0.0.5 does not descend from the CA with the hash given: it is of another cluster, "
        "or something stands between");
  // The server hears that it was refused, so that its log can say so.
  auto client = tls::ClientContext::make(bench.engine, pinned);
  const auto out = bench.connect(**server, **client, "10.0.0.5");
  CHECK_MESSAGE(out.server_error.find("the other side refused") != std::string::npos, out.server_error);
  // The pinned CA is in the chain, but the leaf is another one's.
  tls::ServerOptions liar = bench.server_options();
  liar.certificate_pem += other.authority.certificate_pem;
  auto lying = tls::ServerContext::make(bench.engine, liar);
  CHECK(attempt(**lying, pinned, "10.0.0.5").find("is not signed by") != std::string::npos);

  std::string path = "/tmp/limpet-tls-bundle-" + std::to_string(getpid());
  FILE* f = fopen(path.c_str(), "we");
  REQUIRE(f != nullptr);
  fputs((other.authority.certificate_pem + bench.ca.authority.certificate_pem).c_str(), f);
  fclose(f);
  setenv("SSL_CERT_FILE", path.c_str(), 1);
  tls::ClientOptions system;
  system.system_roots = true;
  CHECK(attempt(**server, system, "10.0.0.5") == "");
  unsetenv("SSL_CERT_FILE");
  unlink(path.c_str());

  auto insecure = tls::ClientContext::make_insecure(bench.engine);
  CHECK(bench.connect(**server, **insecure, "wrong-name").client_error == "");
  CHECK_FALSE(tls::ClientContext::make(bench.engine, {}));
  pinned.system_roots = true;
  CHECK_FALSE(tls::ClientContext::make(bench.engine, pinned));
}

TEST_CASE("client certificates: none, good, of another CA, expired, for another use") {
  Bench bench;
  Ca other("other-ca");
  tls::ServerOptions options = bench.server_options();
  options.client_ca_pem = bench.ca.authority.certificate_pem;
  auto server = tls::ServerContext::make(bench.engine, options);
  REQUIRE(server);
  struct Row {
    Pair own;
    const char* error;  // at the server, without the peer's address
  };
  for (const Row& row : {
           Row{{}, ""},
           Row{bench.ca.issue({"alice", {"dev"}}, {}, pki::Use::client), ""},
           Row{other.issue({"mallory", {"system:masters"}}, {}, pki::Use::client),
               "is not signed by the cluster CA"},
           Row{bench.ca.issue({"old", {}}, {}, pki::Use::client, -100), "expired at"},
           Row{bench.ca.issue({"device-1", {}}, {{"device-1"}, {}}, pki::Use::server),
               "was issued for another use"},
       }) {
    CAPTURE(row.error);
    tls::ClientOptions o = bench.client_options();
    o.certificate_pem = row.own.certificate;
    o.key_pem = row.own.key;
    auto client = tls::ClientContext::make(bench.engine, o);
    REQUIRE(client);
    auto out = bench.connect(**server, **client, "device-1");
    if (*row.error == '\0') {
      REQUIRE_MESSAGE(out.server != nullptr, out.server_error);
      CHECK(out.server->alpn() == "http/1.1");
      CHECK(out.client->alpn() == "http/1.1");
      if (row.own.certificate.empty()) {
        CHECK(out.server->peer_certificate() == "");
      } else {
        CHECK(pki::parse_certificate(out.server->peer_certificate())->subject.common_name == "alice");
      }
      CHECK(pki::parse_certificate(out.client->peer_certificate())->subject.common_name == "device-1");
      continue;
    }
    CHECK(out.server == nullptr);
    CHECK(out.server_error.starts_with("certificate of " +
                                       pki::parse_certificate(row.own.certificate)->subject.common_name));
    CHECK_MESSAGE(out.server_error.find(row.error) != std::string::npos, out.server_error);
  }
}

TEST_CASE("resumption keeps who the client is, and ends with the certificate") {
  Bench bench;
  tls::ServerOptions options = bench.server_options();
  options.client_ca_pem = bench.ca.authority.certificate_pem;
  auto server = tls::ServerContext::make(bench.engine, options);
  Pair own = bench.ca.issue({"alice", {"dev"}}, {}, pki::Use::client, 100);
  tls::ClientOptions o = bench.client_options();
  o.certificate_pem = own.certificate;
  o.key_pem = own.key;
  auto client = tls::ClientContext::make(bench.engine, o);
  auto first = bench.connect(**server, **client, "device-1");
  REQUIRE(first.server);
  CHECK_FALSE(first.server->resumed());
  CHECK_FALSE(first.client->resumed());
  auto second = bench.connect(**server, **client, "device-1");
  REQUIRE(second.server);
  if (second.server->protocol() != "TLSv1.2") SKIP_TEST("no tickets with client certificates in TLS 1.3");
  CHECK(second.server->resumed());
  CHECK(second.client->resumed());
  CHECK(second.server->peer_certificate() == first.server->peer_certificate());
  CHECK(second.client->peer_certificate() == first.client->peer_certificate());
  CHECK(bench.engine.stats().handshakes_resumed == 2);
  // Another name has no session, and a session of this name does not help it.
  CHECK(bench.connect(**server, **client, "device-2").client_error.ends_with("not for device-2"));
  bench.clock.set_wall({now.seconds + 101, 0});
  auto late = bench.connect(**server, **client, "device-1");
  CHECK(late.server == nullptr);
  CHECK_MESSAGE(late.server_error.find("expired") != std::string::npos, late.server_error);
}

TEST_CASE("a new certificate counts from the next handshake; the running connection stays") {
  Bench bench;
  auto server = tls::ServerContext::make(bench.engine, bench.server_options());
  auto client = tls::ClientContext::make(bench.engine, bench.client_options());
  auto before = bench.connect(**server, **client, "device-1");
  REQUIRE(before.client);
  tls::ServerOptions broken = bench.server_options();
  broken.key_pem = bench.server_options().key_pem;
  auto refused = (*server)->replace(broken);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message == "the private key does not belong to the certificate");
  REQUIRE((*server)->replace(bench.server_options({{"device-9"}, {}})));
  auto after = bench.connect(**server, **client, "device-9");
  CHECK(after.client_error == "");
  CHECK(bench.connect(**server, **client, "device-1")
            .client_error.ends_with("is for device-9, not for device-1"));
  std::string got;
  loop::Stream::Events events;
  events.on_read = [&](std::string_view bytes) {
    got += bytes;
    bench.loop.stop();
  };
  before.server->set_events(std::move(events));
  before.server->read_start();
  server->reset();  // even without its context
  before.client->write("still here");
  bench.loop.run();
  CHECK(got == "still here");
}

TEST_CASE("silence, garbage, plain HTTP and a closed door end a handshake with a reason") {
  struct Row {
    std::string bytes;
    bool close;
    const char* error;
    const char* answer;
  };
  for (const Row& row : {
           Row{"", false, "took more than 50 ms", ""},
           Row{std::string("\x16\x03\x01\x02\x00\x01", 6), false, "took more than 50 ms", ""},
           Row{"", true, "the connection was closed", ""},
           Row{std::string("\x16\x03\x01\x02\x00\x01", 6), true, "the connection was closed", ""},
           Row{"SSH-2.0-OpenSSH_9.2\r\n", false, "what it sent is not TLS", ""},
           Row{"GET / HTTP/1.1\r\n\r\n", false, "what it sent is not TLS", "HTTP/1.0 400 Bad Request"},
           Row{std::string(100'000, '\xff'), false, "TLS", ""},
       }) {
    CAPTURE(row.error);
    tls::Engine::Limits limits;
    // Far off for those that end without it, however slow this machine is just now.
    limits.deadline_ms = std::string(row.error).starts_with("took more than 50 ms") ? 50 : 600'000;
    Bench bench(limits);
    auto server = tls::ServerContext::make(bench.engine, bench.server_options());
    auto ends = loop::stream_pair(bench.loop);
    std::string error;
    std::string answer;
    int left = 2;
    auto one_less = [&] {
      if (--left == 0) bench.loop.stop();
    };
    loop::Stream::Events events;
    events.on_read = [&](std::string_view bytes) { answer += bytes; };
    events.on_eof = one_less;
    events.on_error = [&](const Error&) { one_less(); };
    ends->second->set_events(std::move(events));
    ends->second->read_start();
    auto handshake =
        tls::wrap_server(**server, std::move(ends->first), [&](Result<std::unique_ptr<tls::Stream>> r) {
          error = r ? "" : r.error().message;
          one_less();
        });
    ends->second->write(row.bytes);
    if (row.close) ends->second->shutdown();
    bench.loop.run();
    CHECK_MESSAGE(error.find(row.error) != std::string::npos, error);
    CHECK(answer.starts_with(row.answer));
    CHECK(bench.engine.stats().handshakes_failed == 1);
  }
}

TEST_CASE("the queue is bounded, and a handshake that is dropped makes no callback") {
  tls::Engine::Limits limits;
  limits.max_waiting = 3;
  Bench bench(limits);
  auto client = tls::ClientContext::make(bench.engine, bench.client_options());
  std::vector<std::unique_ptr<loop::Stream>> ends;
  std::vector<std::unique_ptr<tls::Handshake>> handshakes;
  int refused = 0;
  int calls = 0;
  for (int i = 0; i < 10; i++) {
    auto pair = loop::stream_pair(bench.loop);
    ends.push_back(std::move(pair->second));
    handshakes.push_back(tls::wrap_client(**client, std::move(pair->first), "device-1",
                                          [&](Result<std::unique_ptr<tls::Stream>> r) {
                                            calls++;
                                            if (!r && r.error().code == Errc::exhausted) refused++;
                                          }));
  }
  CHECK(calls == 0);                             // never from inside wrap_client
  CHECK(bench.engine.stats().connections == 0);  // waiting costs no session
  // Two run, three wait, five are refused (all begin in one turn of the loop).
  loop::Timer timer(bench.loop, "test");
  bool dropped = false;
  timer.repeat(1, [&] {
    if (!dropped && refused > 0) {
      handshakes.clear();
      dropped = true;
    } else if (dropped) {
      bench.loop.stop();
    }
  });
  bench.loop.run();
  CHECK(refused == 5);
  CHECK(calls == 5);
  CHECK(bench.engine.stats().handshakes_refused == 5);
  timer.repeat(1, [&] {
    if (bench.engine.stats().connections == 0) bench.loop.stop();
  });
  bench.loop.run();
}

TEST_CASE("a handshake may be destroyed in its own callback, and many run side by side") {
  Bench bench;
  auto server = tls::ServerContext::make(bench.engine, bench.server_options());
  auto client = tls::ClientContext::make(bench.engine, bench.client_options());
  constexpr int n = 24;
  std::vector<std::unique_ptr<tls::Handshake>> handshakes(2 * n);
  std::vector<std::unique_ptr<tls::Stream>> streams;
  int left = 2 * n;
  for (int i = 0; i < n; i++) {
    auto pair = loop::stream_pair(bench.loop);
    auto done = [&, i](int side) {
      return [&, at = 2 * i + side](Result<std::unique_ptr<tls::Stream>> r) {
        REQUIRE_MESSAGE(r, r.error().message);
        streams.push_back(std::move(*r));
        handshakes[static_cast<size_t>(at)].reset();
        if (--left == 0) bench.loop.stop();
      };
    };
    handshakes[static_cast<size_t>(2 * i)] = tls::wrap_server(**server, std::move(pair->first), done(0));
    handshakes[static_cast<size_t>(2 * i + 1)] =
        tls::wrap_client(**client, std::move(pair->second), "10.0.0.5", done(1));
  }
  bench.loop.run();
  CHECK(bench.engine.stats().handshakes_ok == 2 * n);
  CHECK(bench.engine.stats().connections == 2 * n);
  CHECK(bench.engine.stats().connection_bytes > 2 * n * 32'000);
  streams.clear();
  CHECK(bench.engine.stats().connections == 0);
}
