// Who may ask what below /limpet/v1/, over a real connection with credentials of our choice.
#include "daemon/local_api.h"

#include <doctest/doctest.h>

#include "http/server.h"
#include "loop/stream.h"

using namespace limpet;
using namespace limpet::daemon;

namespace {

constexpr uint32_t reader = 1000, stranger = 1001;

struct Fixture {
  loop::Loop loop;
  LocalApi local{[](uint32_t uid, uint32_t) { return uid == reader; }};
  std::unique_ptr<http::Server> server;

  Fixture() {
    server = std::make_unique<http::Server>(loop, http::ServerOptions(), local.over([](http::ExchangePtr e) {
      e->respond({200, {}, "api " + e->request().path});
    }));
    local.serve("images", [](http::ExchangePtr e) { e->respond({200, {}, "images " + e->request().path}); });
    local.serve(
        "secret", [](http::ExchangePtr e) { e->respond({200, {}, "secret"}); }, LocalApi::Access::root);
    local.describe("b", [](json::Writer& w) { w.number(2); });
    local.describe("a", [](json::Writer& w) { w.begin_object().field("x", 1).end_object(); });
  }
  ~Fixture() {
    server.reset();
    CHECK(loop.run_until([&] { return loop.live_handles() == 1; }, 10000));
  }

  // Everything the server sends for one request.
  std::string ask(http::Peer::Kind kind, uint32_t uid, std::string_view method, std::string_view path) {
    auto pair = loop::stream_pair(loop);
    REQUIRE(pair);
    http::Peer peer;
    peer.kind = kind;
    peer.uid = uid;
    server->serve(std::move(pair->second), peer);
    std::string got;
    bool over = false;
    pair->first->set_events({.on_read = [&](std::string_view s) { got += s; },
                             .on_eof = [&] { over = true; },
                             .on_error = [&](Error) { over = true; },
                             .on_drain = {}});
    pair->first->read_start();
    pair->first->write(std::string(method) + " " + std::string(path) +
                       " HTTP/1.1\r\nHost: l\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    CHECK(loop.run_until([&] { return over; }, 10000));
    return got;
  }
};

}  // namespace

TEST_CASE("root does everything, readers look, others nothing") {
  using Kind = http::Peer::Kind;
  struct Row {
    Kind kind;
    uint32_t uid;
    const char *method, *path;
    int status;
    const char* body;  // part of it
  };
  const Row rows[] = {
      {Kind::unix_socket, 0, "GET", "/limpet/v1/status", 200, R"({"a":{"x":1},"b":2})"},
      {Kind::unix_socket, reader, "GET", "/limpet/v1/status", 200, R"("b":2)"},
      {Kind::unix_socket, stranger, "GET", "/limpet/v1/status", 403, "uid 1001 may not use limpet"},
      {Kind::unix_socket, 0, "POST", "/limpet/v1/status", 405, "only read"},
      {Kind::unix_socket, 0, "POST", "/limpet/v1/images/pull", 200, "images /limpet/v1/images/pull"},
      {Kind::unix_socket, reader, "GET", "/limpet/v1/images", 200, "images /limpet/v1/images"},
      {Kind::unix_socket, reader, "POST", "/limpet/v1/images/pull", 403, "needs root"},
      {Kind::unix_socket, reader, "DELETE", "/limpet/v1/images", 403, "needs root"},
      {Kind::unix_socket, 0, "GET", "/limpet/v1/secret", 200, "secret"},
      {Kind::unix_socket, reader, "GET", "/limpet/v1/secret", 403, "needs root"},
      {Kind::unix_socket, 0, "GET", "/limpet/v1/statusx", 404, "/limpet/v1/statusx"},
      {Kind::unix_socket, 0, "GET", "/limpet/v1/imagesx", 404, "NotFound"},
      {Kind::unix_socket, 0, "GET", "/limpet/v2/status", 200, "api /limpet/v2/status"},
      {Kind::unix_socket, stranger, "GET", "/api/v1/pods", 200, "api /api/v1/pods"},
      // A uid means nothing on a connection that did not prove it.
      {Kind::tls, 0, "GET", "/limpet/v1/secret", 403, "may not"},
  };
  Fixture f;
  for (const Row& row : rows) {
    CAPTURE(row.uid);
    CAPTURE(row.path);
    const std::string got = f.ask(row.kind, row.uid, row.method, row.path);
    CHECK(got.starts_with("HTTP/1.1 " + std::to_string(row.status)));
    CHECK(got.find(row.body) != std::string::npos);
  }
}

TEST_CASE("what a part takes away is gone") {
  Fixture f;
  f.local.serve("images", {});
  f.local.describe("a", {});
  const auto kind = http::Peer::Kind::unix_socket;
  CHECK(f.ask(kind, 0, "GET", "/limpet/v1/images").starts_with("HTTP/1.1 404"));
  CHECK(f.ask(kind, 0, "GET", "/limpet/v1/status").ends_with(R"({"b":2})"));
}
