// Registries over TLS, and through a proxy. They are called 0.0.0.0, which connects to this machine but is
// not loopback, where certificates are not looked at.
#include <doctest/doctest.h>

#include <algorithm>
#include <list>

#include "base/bytes.h"
#include "base/random.h"
#include "device.h"
#include "fake_registry.h"
#include "pki/certificate.h"
#include "pki/key.h"

using namespace limpet;
using namespace limpet::image;

namespace {

constexpr const char* host = "0.0.0.0";

struct Ca {
  explicit Ca(const char* name) {
    authority.key = pki::PrivateKey::generate(random).value();
    authority.certificate_pem = pki::make_ca(name, authority.key, validity(), random).value();
  }
  static pki::Validity validity() { return pki::valid_from(SystemClock().wall(), 3600); }
  tls::ServerOptions issue(const pki::Names& names) {
    const pki::PrivateKey key = pki::PrivateKey::generate(random).value();
    tls::ServerOptions out;
    out.certificate_pem =
        pki::issue(authority, key.spki(), {"registry", {}}, names, pki::Use::server, validity(), random)
            .value();
    out.key_pem = key.to_pem().value();
    return out;
  }
  SystemRandom random;
  pki::Authority authority;
};

// A device that trusts one authority, and a server context for a registry of that or another one.
struct World {
  explicit World(std::function<void(TransportOptions&)> change = {}) : serving(loop, clock) {
    TransportOptions transport;
    transport.ca_pem = ca.authority.certificate_pem;
    if (change) change(transport);
    ImageStoreOptions options;
    options.directory = dir.path + "/store";
    options.unpack.program = LIMPET_UNPACK;
    options.gc_high_percent = options.gc_low_percent = 100;
    options.transport = std::move(transport);
    engine = std::make_unique<tls::Engine>(loop, clock);
    store = std::make_unique<ImageStore>(loop, clock, engine.get(), std::move(options));
    std::string warning;
    const auto opened = store->open(&warning);
    REQUIRE_MESSAGE(opened.has_value(), opened.error().message);
  }
  std::unique_ptr<FakeRegistry> registry(Ca& by, const pki::Names& names = {{}, {host}}) {
    contexts.push_back(tls::ServerContext::make(serving, by.issue(names)).value());
    auto out = std::make_unique<FakeRegistry>(loop, *contexts.back(), host);
    out->add("app", "v1", two_layers());
    return out;
  }
  Result<ImageRoot> pull(const FakeRegistry& from, std::vector<std::string> configs = {}) {
    std::optional<Result<ImageRoot>> out;
    auto operation = store->pull({from.authority() + "/app:v1", std::move(configs), {}},
                                 [&](Result<ImageRoot> r) { out = std::move(r); });
    REQUIRE(loop.run_until([&] { return out.has_value(); }, 60000));
    return std::move(*out);
  }

  TempDir dir;
  loop::Loop loop;
  SystemClock clock;
  Ca ca{"device's"}, stranger{"somebody else's"};
  tls::Engine serving;
  std::unique_ptr<tls::Engine> engine;
  std::list<std::unique_ptr<tls::ServerContext>> contexts;
  std::unique_ptr<ImageStore> store;
};

std::string config_for(const FakeRegistry& registry, const std::string& user_and_password) {
  return R"({"auths":{")" + registry.authority() + R"(":{"auth":")" + base64_encode(user_and_password) +
         "\"}}}";
}

bool says(const Result<ImageRoot>& result, const std::string& words) {
  return !result && result.error().message.find(words) != std::string::npos;
}

// A proxy that knows CONNECT and, for plain HTTP, the absolute form. Every name leads to this machine.
struct Proxy {
  struct Tunnel {
    std::unique_ptr<loop::Stream> client, server;
    loop::Connect connect;
    std::string head;
  };
  explicit Proxy(loop::Loop& l) : loop(l) {
    listener =
        loop::Listener::tcp(loop, "127.0.0.1", 0, [this](std::unique_ptr<loop::Stream> stream) {
          tunnels.emplace_back();
          Tunnel& t = tunnels.back();
          t.client = std::move(stream);
          t.client->set_events({.on_read = [this, &t](std::string_view bytes) { from_client(t, bytes); },
                                .on_eof =
                                    [&t] {
                                      if (t.server) t.server->shutdown();
                                    },
                                .on_error = [](const Error&) {},
                                .on_drain = {}});
          t.client->read_start();
        }).value();
  }
  void from_client(Tunnel& t, std::string_view bytes) {
    if (t.server) return t.server->write(std::string(bytes));
    t.head.append(bytes);
    const size_t end = t.head.find("\r\n\r\n");
    if (end == std::string::npos) return;
    t.client->read_stop();
    const std::string line = t.head.substr(0, t.head.find("\r\n"));
    asked.push_back(line);
    if (t.head.find("Proxy-Authorization: ") != std::string::npos) ++authorized;
    const bool tunnel = line.starts_with("CONNECT ");
    const size_t from = tunnel ? 8 : line.find("://") + 3;
    const std::string authority = line.substr(from, line.find_first_of("/ ", from) - from);
    std::string onward = t.head.substr(end + 4);
    if (!tunnel) onward = line.substr(0, line.find(' ') + 1) + t.head.substr(line.find('/', from));
    const auto port = static_cast<uint16_t>(std::stoi(authority.substr(authority.rfind(':') + 1)));
    t.connect.tcp(
        loop, "127.0.0.1", port, 5000, [&t, tunnel, onward](Result<std::unique_ptr<loop::Stream>> to) {
          if (!to) return t.client->shutdown();
          t.server = std::move(*to);
          t.server->set_events({.on_read = [&t](std::string_view b) { t.client->write(std::string(b)); },
                                .on_eof = [&t] { t.client->shutdown(); },
                                .on_error = [](const Error&) {},
                                .on_drain = {}});
          t.server->read_start();
          if (tunnel) t.client->write("HTTP/1.1 200 Connection established\r\n\r\n");
          if (!onward.empty()) t.server->write(onward);
          t.client->read_start();
        });
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(listener->port()); }

  loop::Loop& loop;
  std::unique_ptr<loop::Listener> listener;
  std::list<Tunnel> tunnels;
  std::vector<std::string> asked;
  int authorized = 0;
};

}  // namespace

TEST_CASE(
    "TLS: an authority of registries.caFile is believed, nobody else, and the message says what to do") {
  NEEDS_ROOT();
  World w;
  SUBCASE("known authority, right name") {
    const auto registry = w.registry(w.ca);
    const auto root = w.pull(*registry);
    REQUIRE_MESSAGE(root.has_value(), root.error().message);
    CHECK_EQ(text_of(root->lower_dirs[0] + "/etc/top"), "top");
  }
  SUBCASE("unknown authority") {
    const auto registry = w.registry(w.stranger);
    const auto root = w.pull(*registry);
    REQUIRE_FALSE(root.has_value());
    CAPTURE(root.error().message);
    CHECK_EQ(root.error().code, Errc::unavailable);
    CHECK(says(root, "Get \"" + registry->url() + "/v2/app/manifests/v1\": certificate of "));
    CHECK(says(root, "is not signed by the authorities of registries.caFile; put the authority"));
    CHECK(registry->log.empty());
  }
  SUBCASE("another name") {
    const auto registry = w.registry(w.ca, {{"registry.example"}, {}});
    const auto root = w.pull(*registry);
    REQUIRE_FALSE(root.has_value());
    CAPTURE(root.error().message);
    CHECK(says(root, "is for registry.example, not for 0.0.0.0"));
    CHECK(registry->log.empty());
  }
  SUBCASE("plain HTTP is not tried") {
    FakeRegistry registry(w.loop);
    registry.host = host;
    registry.add("app", "v1", two_layers());
    const auto root = w.pull(registry);
    REQUIRE_FALSE(root.has_value());
    CHECK(registry.log.empty());
  }
}

TEST_CASE("TLS: without registries.caFile the system's authorities count") {
  NEEDS_ROOT();
  World w([](TransportOptions& o) { o.ca_pem.clear(); });
  const auto registry = w.registry(w.ca);
  const auto root = w.pull(*registry);
  REQUIRE_FALSE(root.has_value());
  CAPTURE(root.error().message);
  CHECK(says(root, "is not signed by an authority of the system"));
  CHECK(says(root, "registries.caFile"));
}

TEST_CASE("TLS: a registry listed as insecure may have any certificate") {
  NEEDS_ROOT();
  World w([](TransportOptions& o) { o.insecure = {host}; });
  const auto registry = w.registry(w.stranger, {{"registry.example"}, {}});
  const auto root = w.pull(*registry);
  CHECK_MESSAGE(root.has_value(), root.error().message);
}

TEST_CASE("TLS: tokens come from another server, over TLS too") {
  NEEDS_ROOT();
  World w;
  const auto registry = w.registry(w.ca);
  registry->bearer = "t0ken";
  SUBCASE("that is believed") {
    const auto tokens = w.registry(w.ca);
    tokens->bearer = "t0ken";
    tokens->token_basic = base64_encode("user:secret");
    registry->realm = tokens->url();
    const auto without = w.pull(*registry);
    REQUIRE_FALSE(without.has_value());
    CHECK_EQ(without.error().code, Errc::unauthenticated);
    const auto root = w.pull(*registry, {config_for(*registry, "user:secret")});
    REQUIRE_MESSAGE(root.has_value(), root.error().message);
    CHECK_EQ(tokens->scope, "repository:app:pull");
    // The registry never sees the password, the token server never the token.
    const auto all = [](const std::vector<std::string>& sent, const char* scheme) {
      return !sent.empty() && std::all_of(sent.begin(), sent.end(),
                                          [&](const std::string& s) { return s.starts_with(scheme); });
    };
    CHECK(all(registry->credentials, "Bearer "));
    CHECK(all(tokens->credentials, "Basic "));
  }
  SUBCASE("that is not believed: it learns no password") {
    const auto tokens = w.registry(w.stranger);
    registry->realm = tokens->url();
    const auto root = w.pull(*registry, {config_for(*registry, "user:secret")});
    CAPTURE(root.error().message);
    CHECK(says(root, "failed to authorize"));
    CHECK(says(root, "is not signed by"));
    CHECK(tokens->log.empty());
  }
  SUBCASE("that speaks plain HTTP") {
    FakeRegistry tokens(w.loop);
    tokens.host = host;
    registry->realm = tokens.url();
    const auto root = w.pull(*registry, {config_for(*registry, "user:secret")});
    CHECK(says(root, "is not reached over https"));
    CHECK(tokens.log.empty());
  }
}

TEST_CASE("TLS: redirects lead on without our credentials, and never to plain HTTP") {
  NEEDS_ROOT();
  World w;
  const auto registry = w.registry(w.ca);
  registry->basic = base64_encode("user:secret");
  const std::string config = config_for(*registry, "user:secret");
  SUBCASE("to another server") {
    const auto storage = w.registry(w.ca);
    registry->redirect_to = storage->url();
    const auto root = w.pull(*registry, {config});
    REQUIRE_MESSAGE(root.has_value(), root.error().message);
    CHECK_FALSE(storage->log.empty());
    CHECK(storage->credentials.empty());
  }
  SUBCASE("to one that nobody vouches for") {
    const auto storage = w.registry(w.stranger);
    registry->redirect_to = storage->url();
    CHECK(says(w.pull(*registry, {config}), "is not signed by"));
    CHECK(storage->log.empty());
  }
  SUBCASE("to plain HTTP") {
    FakeRegistry storage(w.loop);
    storage.host = host;
    registry->redirect_to = storage.url();
    CHECK(says(w.pull(*registry, {config}), "redirects from https to http, which is refused"));
    CHECK(storage.log.empty());
  }
}

TEST_CASE("a proxy: CONNECT for https, the absolute form for http, neither where no_proxy says so") {
  NEEDS_ROOT();
  World w;
  Proxy proxy(w.loop);
  TransportOptions options;
  options.ca_pem = w.ca.authority.certificate_pem;
  options.https_proxy = "http://user:pass@" + proxy.address();
  options.http_proxy = "http://" + proxy.address();
  SUBCASE("https: the certificate is that of the registry") {
    REQUIRE(w.store->configure(options).has_value());
    const auto registry = w.registry(w.ca);
    const auto root = w.pull(*registry);
    REQUIRE_MESSAGE(root.has_value(), root.error().message);
    REQUIRE_FALSE(proxy.asked.empty());
    CHECK_EQ(proxy.asked.front(), "CONNECT " + registry->authority() + " HTTP/1.1");
    CHECK_EQ(static_cast<size_t>(proxy.authorized), proxy.asked.size());
  }
  SUBCASE("https: the proxy cannot pretend to be the registry") {
    REQUIRE(w.store->configure(options).has_value());
    const auto registry = w.registry(w.stranger);
    CHECK(says(w.pull(*registry), "is not signed by"));
    CHECK_FALSE(proxy.asked.empty());
  }
  SUBCASE("https, reached directly") {
    for (const char* rule : {"0.0.0.0", "0.0.0.0/8", "*"}) {
      CAPTURE(rule);
      options.no_proxy = {"other.example", rule};
      REQUIRE(w.store->configure(options).has_value());
      const auto registry = w.registry(w.ca);
      const auto root = w.pull(*registry);
      CHECK_MESSAGE(root.has_value(), root.error().message);
      CHECK(proxy.asked.empty());
    }
  }
  SUBCASE("http") {
    options.insecure = {host};
    REQUIRE(w.store->configure(options).has_value());
    FakeRegistry registry(w.loop);
    registry.host = host;
    registry.add("app", "v1", two_layers());
    const auto root = w.pull(registry);
    REQUIRE_MESSAGE(root.has_value(), root.error().message);
    CHECK(std::find(proxy.asked.begin(), proxy.asked.end(),
                    "GET http://" + registry.authority() + "/v2/app/manifests/v1 HTTP/1.1") !=
          proxy.asked.end());
  }
}
