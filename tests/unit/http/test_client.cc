// The HTTP client against our server and against raw bytes.
#include <doctest/doctest.h>

#include "fixture.h"
#include "http/client.h"
#include "http/websocket.h"

using namespace limpet;
using namespace limpet::http;

namespace {

// Gives the client one end of a socketpair; the other goes to the server or stays with the test.
class PairDialer final : public Dialer {
 public:
  std::function<void(std::unique_ptr<loop::Stream>)> other_end;
  int dials = 0;
  int secured = 0;

  std::unique_ptr<Dial> connect(loop::Loop& loop, const Origin&, int64_t, Done done) override {
    ++dials;
    auto pair = loop::stream_pair(loop);
    other_end(std::move(pair->second));
    return later(loop, std::move(pair->first), std::move(done));
  }
  std::unique_ptr<Dial> secure(loop::Loop& loop, std::unique_ptr<loop::Stream> stream, const Origin&,
                               Done done) override {
    ++secured;
    return later(loop, std::move(stream), std::move(done));
  }

 private:
  struct Later final : Dial {
    Later(loop::Loop& loop, std::unique_ptr<loop::Stream> s, Done d)
        : timer(loop, "dial"), stream(std::move(s)) {
      timer.start(0, [this, done = std::move(d)] { done(std::move(stream)); });
    }
    loop::Timer timer;
    std::unique_ptr<loop::Stream> stream;
  };
  std::unique_ptr<Dial> later(loop::Loop& loop, std::unique_ptr<loop::Stream> s, Done done) {
    return std::make_unique<Later>(loop, std::move(s), std::move(done));
  }
};

struct Setup {
  ServerFixture f;
  PairDialer dialer;
  std::unique_ptr<Client> client;
  explicit Setup(Handler h, ClientOptions o = {}) : f(std::move(h)) {
    dialer.other_end = [this](std::unique_ptr<loop::Stream> s) { f.server->serve(std::move(s), {}); };
    client = std::make_unique<Client>(f.loop, dialer, std::move(o));
  }
  ~Setup() { client.reset(); }

  Result<Response> fetch(ClientRequest r, size_t max = 1 << 20) {
    std::optional<Result<Response>> got;
    auto call = client->fetch(std::move(r), max, [&](Result<Response> x) { got = std::move(x); });
    CHECK_FALSE(got.has_value());
    REQUIRE(f.until([&] { return got.has_value(); }));
    return std::move(*got);
  }
};

ClientRequest request(std::string target, std::string method = "GET", std::string body = "") {
  ClientRequest r;
  r.origin.host = "h";
  r.method = std::move(method);
  r.target = std::move(target);
  r.body = std::move(body);
  return r;
}

}  // namespace

TEST_CASE("URLs") {
  const auto u = parse_url("https://[::1]:5000/v2/?n=1");
  REQUIRE(u);
  CHECK(u->origin.host == "::1");
  CHECK(u->origin.port == 5000);
  CHECK(u->origin.tls);
  CHECK(u->origin.authority() == "[::1]:5000");
  CHECK(u->target == "/v2/?n=1");
  CHECK(parse_url("http://a")->target == "/");
  CHECK(parse_url("http://a?x")->target == "/?x");
  CHECK(parse_url("https://a")->origin.authority() == "a");
  for (const char* bad : {"", "ftp://a", "http://", "http://u@a/", "http://a:0/", "http://a:65536/",
                          "http://a:x/", "http://a:/", "http://a b/", "http://a/#f", "http://[::1/"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_url(bad));
  }
}

TEST_CASE("requests reuse one connection") {
  Setup s([](ExchangePtr e) {
    e->respond({201, {}, e->request().method + e->request().path + e->request().body});
  });
  CHECK(s.fetch(request("/a"))->body == "GET/a");
  CHECK(s.client->idle_connections() == 1);
  const auto r = s.fetch(request("/b", "POST", "xyz"));
  CHECK(r->body == "POST/bxyz");
  CHECK(r->status == 201);
  CHECK(s.fetch(request("/c", "HEAD"))->body == "");
  CHECK(s.dialer.dials == 1);
  ClientRequest other = request("/a");
  other.origin.port = 81;
  CHECK(s.fetch(other)->body == "GET/a");
  CHECK(s.dialer.dials == 2);
}

TEST_CASE("a streamed answer can be paused and cancelled") {
  ExchangePtr held;
  bool gone = false;
  Setup s([&](ExchangePtr e) {
    e->begin(200, {});
    e->write(std::string(100000, 'x'));
    e->on_gone([&] { gone = true; });
    held = std::move(e);
  });
  size_t got = 0;
  std::unique_ptr<Call> call;
  call = s.client->send(request("/"), {.on_response =
                                           [&](const MessageHead& h) {
                                             CHECK(h.status == 200);
                                             call->pause(true);
                                           },
                                       .on_body = [&](std::string_view b) { got += b.size(); },
                                       .on_end = [](Result<>) { FAIL("ended"); }});
  s.f.spin();
  CHECK(got == 0);
  call->pause(false);
  CHECK(s.f.until([&] { return got == 100000; }));
  call.reset();
  CHECK(s.f.until([&] { return gone; }));
}

TEST_CASE("limits and broken answers are errors") {
  struct Row {
    const char* name;
    const char* bytes;
    Errc code;
  };
  const Row rows[] = {
      {"garbage", "SSH-2.0\r\n", Errc::corrupt},
      {"cut", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", Errc::unavailable},
      {"nothing", "", Errc::unavailable},
      {"too large", "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n0123456789a", Errc::too_large}};
  for (const Row& row : rows) {
    CAPTURE(row.name);
    Setup s([](ExchangePtr) {});
    s.dialer.other_end = [&](std::unique_ptr<loop::Stream> raw) {
      raw->write(row.bytes);
      loop::close_gently(s.f.loop, std::move(raw), 100);
    };
    const auto r = s.fetch(request("/"), 10);
    REQUIRE_FALSE(r);
    CHECK(r.error().code == row.code);
  }
}

TEST_CASE("an answer that ends with the connection, and interim answers") {
  Setup s([](ExchangePtr) {});
  s.dialer.other_end = [&](std::unique_ptr<loop::Stream> raw) {
    raw->write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nall");
    loop::close_gently(s.f.loop, std::move(raw), 100);
  };
  CHECK(s.fetch(request("/"))->body == "all");
  CHECK(s.client->idle_connections() == 0);
}

TEST_CASE("timeouts") {
  ExchangePtr held;
  ClientOptions o;
  o.first_byte_timeout_ms = o.idle_timeout_ms = 20;
  Setup s(
      [&](ExchangePtr e) {
        if (e->request().path == "/body") e->begin(200, {});
        held = std::move(e);
      },
      o);
  CHECK(s.fetch(request("/")).error().code == Errc::timeout);
  CHECK(s.fetch(request("/body")).error().code == Errc::timeout);
  held.reset();
}

TEST_CASE("proxies: absolute form for http, CONNECT for https") {
  ClientOptions o;
  o.proxy = Origin{.host = "proxy", .port = 3128, .tls = false, .unix_path = {}};
  o.proxy_authorization = "Basic eDp5";
  Setup s([](ExchangePtr) {}, o);
  RawClient far;
  s.dialer.other_end = [&](std::unique_ptr<loop::Stream> raw) {
    far.stream = std::move(raw);
    far.got.clear();
    far.listen();
  };
  std::optional<Result<Response>> got;
  auto call = s.client->fetch(request("/x"), 100, [&](Result<Response> r) { got = std::move(r); });
  CHECK(s.f.until([&] { return far.got.ends_with("\r\n\r\n"); }));
  CHECK(far.got.starts_with("GET http://h/x HTTP/1.1\r\nHost: h\r\n"));
  CHECK(far.got.find("Proxy-Authorization: Basic eDp5\r\n") != std::string::npos);
  call.reset();
  far.got.clear();
  ClientRequest secure = request("/x");
  secure.origin.tls = true;
  secure.origin.port = 443;
  call = s.client->fetch(secure, 100, [&](Result<Response> r) { got = std::move(r); });
  CHECK(s.f.until([&] { return far.got.ends_with("\r\n\r\n"); }));
  CHECK(far.got.starts_with("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n"));
  far.got.clear();
  far.stream->write("HTTP/1.1 200 Connection established\r\n\r\n");
  CHECK(s.f.until([&] { return far.got.ends_with("\r\n\r\n"); }));
  CHECK(far.got == "GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
  CHECK(s.dialer.secured == 1);
  far.stream->write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  CHECK(s.f.until([&] { return got.has_value(); }));
  CHECK((*got)->body == "ok");
}

TEST_CASE("a kept connection that went further is not for who may not") {
  Setup s([](ExchangePtr e) { e->respond({200, {}, "ok"}); });
  CHECK(s.fetch(request("/"))->body == "ok");
  ClientRequest narrow = request("/");
  narrow.origin.reach = loop::Reach::off_device;
  CHECK(s.fetch(narrow)->body == "ok");
  CHECK(s.client->idle_connections() == 2);
}

TEST_CASE("a kept connection that died is replaced; one that dies is dropped") {
  Setup s([](ExchangePtr e) { e->respond({200, {}, "ok"}); });
  CHECK(s.fetch(request("/"))->body == "ok");
  s.f.server->shutdown(1000, [] {});
  CHECK(s.f.until([&] { return s.client->idle_connections() == 0; }));
}

TEST_CASE("WebSocket client against our server") {
  std::unique_ptr<WebSocket> far, near;
  Setup s([&](ExchangePtr e) {
    auto up = e->upgrade("v5");
    if (!up) return e->respond({403, {}, "no"});
    far = std::move(*up);
    far->set_events(
        {.on_message = [&](std::string_view m, bool b) { far->send(m, b); }, .on_close = {}, .on_drain = {}});
  });
  std::string got, error;
  const auto done = [&](Result<std::unique_ptr<WebSocket>> r) {
    if (!r) {
      error = r.error().message;
      return;
    }
    near = std::move(*r);
    near->set_events(
        {.on_message = [&](std::string_view m, bool) { got = m; }, .on_close = {}, .on_drain = {}});
    near->send("hello");
  };
  auto call = s.client->websocket(request("/"), "v4, v5", done);
  CHECK(s.f.until([&] { return got == "hello"; }));
  CHECK(near->subprotocol() == "v5");
  call = s.client->websocket(request("/"), "v4", done);
  CHECK(s.f.until([&] { return !error.empty(); }));
  CHECK(error.find("403") != std::string::npos);
  near.reset();
  far.reset();
}

TEST_CASE("another protocol: the connection is given away, a refusal is told") {
  std::unique_ptr<loop::Stream> far, near;
  std::string heard, got, error;
  Setup s([&](ExchangePtr e) {
    if (e->request().path == "/no") return e->respond({404, {}, "not here"});
    if (e->request().path == "/other") return e->respond({200, {}, "plain"});
    auto taken = e->take_over("limpet-stream", {});
    REQUIRE(taken);
    far = std::move(*taken);
    far->set_events({.on_read =
                         [&](std::string_view b) {
                           heard += b;
                           far->write("answer");
                         },
                     .on_eof = {},
                     .on_error = {},
                     .on_drain = {}});
    far->read_start();
  });
  const auto done = [&](Result<std::unique_ptr<loop::Stream>> r) {
    if (!r) {
      error = r.error().message;
      return;
    }
    near = std::move(*r);
    near->set_events(
        {.on_read = [&](std::string_view b) { got += b; }, .on_eof = {}, .on_error = {}, .on_drain = {}});
    near->read_start();
    near->write("question");
  };
  auto call = s.client->upgrade(request("/"), "limpet-stream", done);
  CHECK(s.f.until([&] { return got == "answer"; }));
  CHECK(heard == "question");
  for (const char* path : {"/no", "/other"}) {
    error.clear();
    Response refusal;
    auto refused =
        s.client->upgrade(request(path), "limpet-stream", done, [&](Response r) { refusal = std::move(r); });
    CHECK(s.f.until([&] { return !error.empty(); }));
    CHECK(refusal.body == (std::string(path) == "/no" ? "not here" : "plain"));
  }
  near.reset();
  far.reset();
}

TEST_CASE("a server that speaks before it was asked gets no stream") {
  Setup s([](ExchangePtr e) { e->respond({200, {}, "unused"}); });
  std::unique_ptr<loop::Stream> far;
  s.dialer.other_end = [&](std::unique_ptr<loop::Stream> stream) { far = std::move(stream); };
  for (const char* answer : {"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: limpet-stream\r\n\r\nearly",
                             "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n",
                             "HTTP/1.1 101 X\r\nUpgrade: limpet-stream\r\n\r\n"}) {
    CAPTURE(answer);
    bool failed = false;
    auto call = s.client->upgrade(request("/"), "limpet-stream",
                                  [&](Result<std::unique_ptr<loop::Stream>> r) { failed = !r; });
    REQUIRE(s.f.until([&] { return far != nullptr; }));
    far->write(answer);
    CHECK(s.f.until([&] { return failed; }));
    call.reset();
    far.reset();
  }
}

TEST_CASE("idle connections can be closed at once") {
  Setup s([](ExchangePtr e) { e->respond({200, {}, "ok"}); });
  CHECK(s.fetch(request("/"))->body == "ok");
  REQUIRE(s.client->idle_connections() == 1);
  s.client->drop_idle();
  CHECK(s.client->idle_connections() == 0);
  CHECK(s.fetch(request("/"))->body == "ok");
  CHECK(s.dialer.dials == 2);
}

TEST_CASE("a connection that is in use when idle ones are closed is not used again") {
  ExchangePtr held;
  Setup s([&](ExchangePtr e) { held = std::move(e); });
  std::optional<Result<Response>> got;
  const auto call = s.client->fetch(request("/"), 1024, [&](Result<Response> r) { got = std::move(r); });
  REQUIRE(s.f.until([&] { return held != nullptr; }));
  s.client->drop_idle();
  held->respond({200, {}, "ok"});
  REQUIRE(s.f.until([&] { return got.has_value(); }));
  CHECK((*got)->body == "ok");
  CHECK(s.client->idle_connections() == 0);
}
