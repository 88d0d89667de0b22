// The calls of the command line, over a real unix socket.
#include <doctest/doctest.h>

#include "../skip.h"
#include "../unpack/support.h"
#include "fake_registry.h"
#include "http/client.h"
#include "image/http_api.h"
#include "tar.h"

using namespace limpet;
using namespace limpet::image;

namespace {

struct World {
  explicit World(uint32_t uid = 0) : registry(loop) {
    ImageStoreOptions options;
    options.directory = dir.path + "/store";
    options.unpack.program = LIMPET_UNPACK;
    options.gc_high_percent = options.gc_low_percent = 100;
    store = std::make_unique<ImageStore>(loop, clock, nullptr, std::move(options));
    std::string warning;
    REQUIRE(store->open(&warning).has_value());
    api = std::make_unique<HttpApi>(loop, *store);
    server = std::make_unique<http::Server>(loop, http::ServerOptions{}, [this](http::ExchangePtr e) {
      REQUIRE(HttpApi::serves(e->request().path));
      api->handle(e);
    });
    http::Peer peer;
    peer.kind = http::Peer::Kind::unix_socket;
    peer.uid = uid;
    listener = *loop::Listener::unix_socket(
        loop, dir.path + "/s", 0600, [this, peer](auto stream) { server->serve(std::move(stream), peer); });
  }
  ~World() {
    server.reset();
    api.reset();
    store.reset();
  }

  http::Response ask(const std::string& method, const std::string& target, const std::string& body = "") {
    http::PlainDialer dialer;
    http::Client client(loop, dialer);
    http::ClientRequest r;
    r.origin.unix_path = dir.path + "/s";
    r.method = method;
    r.target = target;
    r.body = body;
    std::optional<Result<http::Response>> out;
    auto call = client.fetch(std::move(r), 1 << 20, [&](Result<http::Response> a) { out = std::move(a); });
    REQUIRE(loop.run_until([&] { return out.has_value(); }, 30000));
    REQUIRE_MESSAGE(out->has_value(), out->error().message);
    return std::move(**out);
  }

  TempDir dir;
  loop::Loop loop;
  SystemClock clock;
  FakeRegistry registry;
  std::unique_ptr<ImageStore> store;
  std::unique_ptr<HttpApi> api;
  std::unique_ptr<http::Server> server;
  std::unique_ptr<loop::Listener> listener;
};

std::string last_line(std::string text) {
  while (text.ends_with('\n')) text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

}  // namespace

TEST_CASE("pull, list and remove over the socket") {
  if (geteuid() != 0) SKIP_TEST("unpacking a layer needs root");
  World w;
  w.registry.add("app", "v1", {tar_of({{.name = "f", .data = "x"}})});
  const std::string name = w.registry.authority() + "/app:v1";
  const std::string query = "?reference=" + http::percent_encode(name);
  CHECK_EQ(w.ask("GET", "/limpet/v1/images").body, "{\"images\":[],\"pulls\":[]}\n");
  const http::Response pulled = w.ask("POST", "/limpet/v1/images/pull" + query);
  CHECK_EQ(pulled.status, 200);
  CHECK(pulled.body.find(R"("phase":"complete")") != std::string::npos);
  const auto result = json::parse(last_line(pulled.body));
  REQUIRE(result.has_value());
  CHECK(result->ref()["ok"].boolean());
  CHECK_EQ(result->ref()["references"].at(0).str(), name);
  const auto list = json::parse(w.ask("GET", "/limpet/v1/images").body);
  REQUIRE(list.has_value());
  CHECK_EQ(list->ref()["images"].at(0)["references"].at(0).str(), name);
  CHECK_GT(list->ref()["images"].at(0)["size"].integer(), 1024);
  CHECK_EQ(w.ask("DELETE", "/limpet/v1/images" + query).status, 200);
  CHECK_EQ(w.ask("DELETE", "/limpet/v1/images" + query).status, 404);
}

TEST_CASE("how far pulls are over the socket, and what they cost") {
  World w;
  const std::string layer = tar_of({{.name = "big", .data = std::string(1 << 20, 'x')}});
  w.registry.add("app", "v1", {layer, tar_of({{.name = "f", .data = "x"}})});
  w.registry.stall_after = 512 * 1024;
  const std::string name = w.registry.authority() + "/app:v1";
  uint64_t loaded = 0;
  auto pull = w.store->pull({name, {}, [&](const LayerProgress& p) { loaded = std::max(loaded, p.done); }},
                            [](const Result<ImageRoot>&) { FAIL("it cannot end"); });
  const auto received = [&] {
    const auto& all = w.store->traffic().received;
    const auto it = all.find(w.registry.authority());
    return it == all.end() ? 0 : it->second;
  };
  REQUIRE(w.loop.run_until([&] { return loaded >= 256 * 1024 && received() >= 512 * 1024; }, 30000));
  const auto answer = json::parse(w.ask("GET", "/limpet/v1/images").body);
  REQUIRE(answer.has_value());
  const json::Ref told = answer->ref()["pulls"].at(0);
  CHECK_EQ(told["reference"].str(), name);
  CHECK(told["running"].boolean());
  CHECK_GE(told["done"].integer(), 256 * 1024);
  CHECK_GE(told["total"].integer(), static_cast<int64_t>(layer.size()));
  CHECK_EQ(told["layers"].integer(), 2);
  // Somebody who joins later is told what the others were told before.
  uint64_t told_late = 0;
  auto late =
      w.store->pull({name, {}, [&](const LayerProgress& p) { told_late = std::max(told_late, p.done); }},
                    [](const Result<ImageRoot>&) { FAIL("it cannot end"); });
  CHECK_GE(told_late, 256 * 1024);
  late.reset();
  pull.reset();
  CHECK(w.store->pulls().empty());
}

TEST_CASE("errors over the socket") {
  World w;
  const http::Response none = w.ask(
      "POST", "/limpet/v1/images/pull?reference=" + http::percent_encode(w.registry.authority() + "/none"));
  CHECK_EQ(none.status, 200);
  CHECK(last_line(none.body).find(R"("ok":false,"code":"not_found")") != std::string::npos);
  CHECK_EQ(w.ask("POST", "/limpet/v1/images/pull?reference=Not%20A%20Name").status, 400);
  CHECK_EQ(w.ask("POST", "/limpet/v1/images/pull").status, 400);
  CHECK_EQ(w.ask("POST", "/limpet/v1/images/import", R"({"path":"relative"})").status, 400);
  CHECK_EQ(w.ask("POST", "/limpet/v1/images/import", R"({"path":"/does/not/exist"})").status, 404);
  CHECK_EQ(w.ask("PUT", "/limpet/v1/images").status, 404);
  World other(1000);
  CHECK_EQ(other.ask("GET", "/limpet/v1/images").status, 200);
  CHECK_EQ(other.ask("POST", "/limpet/v1/images/pull?reference=a").status, 403);
  CHECK_EQ(other.ask("DELETE", "/limpet/v1/images?reference=a").status, 403);
}
