// The HTTP server against raw bytes: order, limits, deadlines, back-pressure, half-close, destruction,
// shutdown.
#include <doctest/doctest.h>

#include <cstring>

#include "corpus.h"
#include "fixture.h"

using namespace limpet;
using namespace limpet::http;

namespace {

Handler echo() {
  return [](ExchangePtr e) {
    const Request& r = e->request();
    e->respond({200, {}, r.method + " " + r.path + " " + r.body});
  };
}

const std::string get_a = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const std::string get_b = "GET /b HTTP/1.1\r\nHost: h\r\n\r\n";

}  // namespace

TEST_CASE("one request, keep-alive, another") {
  ServerFixture f(echo());
  auto c = f.connect();
  c->stream->write(get_a);
  CHECK(f.until([&] { return c->got == answer("GET /a "); }));
  c->got.clear();
  c->stream->write("POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi");
  CHECK(f.until([&] { return c->got == answer("POST /b hi"); }));
  CHECK(f.server->counters().requests == 2);
  CHECK(f.server->counters().open_connections == 1);
  CHECK(f.server->counters().bytes_in == static_cast<int64_t>(get_a.size()) + 50);
  CHECK_FALSE(c->over());
}

TEST_CASE("pipelined requests are answered in order, also when handlers are late, also after half-close") {
  std::vector<ExchangePtr> waiting;
  ServerFixture f([&](ExchangePtr e) { waiting.push_back(std::move(e)); });
  auto c = f.connect();
  c->stream->write(get_a + get_b + get_a);
  c->stream->shutdown();
  std::string expected;
  for (const char* path : {"/a", "/b", "/a"}) {
    CHECK(f.until([&] { return waiting.size() == 1; }));
    f.spin(2);
    CHECK(waiting.size() == 1);  // one at a time
    CHECK(waiting[0]->request().path == path);
    ExchangePtr e = std::move(waiting[0]);
    waiting.clear();
    e->respond({200, {}, std::string(path)});
    f.spin(2);
  }
  CHECK(f.until([&] { return c->over(); }));
  expected = answer("/a") + answer("/b") + answer("/a", "Connection: close\r\n");
  CHECK(c->got == expected);
  CHECK(f.server->counters().open_connections == 0);
}

TEST_CASE("a thousand pipelined requests, byte by byte and all at once") {
  ServerFixture f(echo());
  auto c = f.connect();
  std::string all, expected;
  for (int i = 0; i < 1000; ++i) {
    all += i % 2 ? get_a : get_b;
    expected += answer(i % 2 ? "GET /a " : "GET /b ");
  }
  c->stream->write(all);
  CHECK(f.until([&] { return c->got.size() == expected.size(); }));
  CHECK(c->got == expected);
  auto slow = f.connect();
  for (const char ch : get_a + get_b) {
    slow->stream->write(std::string(1, ch));
    f.loop.run_until([] { return false; }, 0);
  }
  CHECK(f.until([&] { return slow->got == answer("GET /a ") + answer("GET /b "); }));
}

TEST_CASE("a client that pipelines and does not read stops being read") {
  int handled = 0;
  ServerFixture f([&](ExchangePtr e) {
    ++handled;
    e->respond({200, {}, std::string(100000, 'x')});
  });
  auto c = f.connect();
  c->stream->read_stop();
  std::string all;
  for (int i = 0; i < 1000; ++i) all += get_a;
  c->stream->write(all);
  f.spin(50);
  CHECK(handled < 20);
  c->stream->read_start();
  CHECK(f.until([&] { return handled == 1000; }));
}

TEST_CASE("the corpus gets the same status over a connection") {
  ServerOptions options;
  options.idle_timeout_ms = 60000;
  for (const CorpusEntry& entry : request_corpus()) {
    CAPTURE(entry.name);
    ServerFixture f(echo(), options);
    auto c = f.connect();
    c->stream->write(entry.bytes);
    c->stream->shutdown();
    CHECK(f.until([&] { return c->over(); }));
    size_t answers = 0;
    for (size_t at = 0; (at = c->got.find("HTTP/1.1 ", at)) != std::string::npos; at += 9) ++answers;
    const std::string last = c->got.empty() ? "" : c->got.substr(c->got.rfind("HTTP/1.1 ") + 9, 3);
    const size_t refusal = entry.verdict != 0 ? 1 : 0;
    CHECK(answers == static_cast<size_t>(entry.messages) + refusal);
    if (refusal) CHECK(last == (entry.verdict == -1 ? "400" : std::to_string(entry.verdict)));
    if (refusal) CHECK(c->got.find("Connection: close\r\n") != std::string::npos);
  }
}

TEST_CASE("errors take the form the owner gives them") {
  ServerOptions options;
  options.max_body_bytes = 10;
  options.error_response = [](int status, std::string_view message) {
    Response r;
    r.headers.add("Content-Type", "application/json");
    r.body =
        strf("{\"code\":%d,\"message\":\"%.*s\"}", status, static_cast<int>(message.size()), message.data());
    return r;
  };
  struct Row {
    const char* name;
    std::string bytes;
    const char* start;
    const char* text;
  };
  const Row rows[] = {
      {"length over limit", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n", "HTTP/1.1 413",
       "limit of 10 bytes"},
      {"chunks over limit",
       "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n123456\r\n5\r\n12345\r\n",
       "HTTP/1.1 413", "limit of 10 bytes"},
      {"no continue for too much",
       "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n", "HTTP/1.1 413",
       "limit"},
      {"other expectation", "POST / HTTP/1.1\r\nHost: h\r\nExpect: miracles\r\nContent-Length: 1\r\n\r\n",
       "HTTP/1.1 417", "100-continue"},
      {"dot segment", "GET /a/../b HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 400", "dot segment"},
      {"bad escape", "GET /a%zz HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 400", "percent escape"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    ServerFixture f([](ExchangePtr) { FAIL("reached the handler"); }, options);
    auto c = f.connect();
    c->stream->write(row.bytes);
    CHECK(f.until([&] { return c->eof; }));
    CHECK(c->got.starts_with(row.start));
    CHECK(c->got.find(row.text) != std::string::npos);
    CHECK(c->got.find("Content-Type: application/json\r\n") != std::string::npos);
    c.reset();
  }
}

TEST_CASE("100-continue is sent when the body is awaited") {
  ServerFixture f(echo());
  auto c = f.connect();
  c->stream->write("PUT /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
  CHECK(f.until([&] { return c->got == "HTTP/1.1 100 Continue\r\n\r\n"; }));
  c->got.clear();
  c->stream->write("abc");
  CHECK(f.until([&] { return c->got == answer("PUT /x abc"); }));
}

TEST_CASE("a body of 3 MiB passes, its memory is shared out and given back") {
  ServerOptions options;
  options.max_bodies_bytes = 4 << 20;
  size_t size = 0;
  ServerFixture f(
      [&](ExchangePtr e) {
        size = e->request().body.size();
        e->respond({200, {}, "ok"});
      },
      options);
  auto c = f.connect();
  const std::string head = strf("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", 3 << 20);
  for (int i = 0; i < 2; ++i) {
    c->got.clear();
    c->stream->write(head + std::string(3 << 20, 'x'));
    CHECK(f.until([&] { return c->got == answer("ok"); }));
    CHECK(size == 3 << 20);
  }
  auto first = f.connect(), second = f.connect();
  first->stream->write(head + std::string((3 << 20) - 1, 'x'));
  CHECK(f.until([&] { return first->stream->write_queue_size() == 0; }));
  f.spin();
  second->stream->write(head + std::string(3 << 20, 'x'));
  CHECK(f.until([&] { return second->over(); }));
  CHECK(second->got.starts_with("HTTP/1.1 503"));
  first->stream->write("x");
  CHECK(f.until([&] { return first->got == answer("ok"); }));
}

TEST_CASE("streamed answers: chunks, HTTP/1.0, HEAD, abort, no body statuses") {
  struct Row {
    const char* name;
    const char* request;
    int status;
    bool abort;
    const char* expected;
    bool closes;
  };
  const Row rows[] = {
      {"chunked", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", 200, false,
       "HTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n",
       false},
      {"http 1.0", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, false,
       "HTTP/1.1 200 OK\r\nX: y\r\nConnection: close\r\n\r\nhello!", true},
      {"head", "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", 200, false,
       "HTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n", false},
      {"aborted", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", 200, true,
       "HTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n", true},
      {"no content", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", 204, false,
       "HTTP/1.1 204 No Content\r\nX: y\r\n\r\n", false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    ServerFixture f([&](ExchangePtr e) {
      Headers h;
      h.add("X", "y");
      h.add("Content-Length", "999");  // not the handler's to say
      e->begin(row.status, h);
      e->write("hello");
      e->write("");
      e->write("!");
      row.abort ? e->abort() : e->end();
      e->write("late");
    });
    auto c = f.connect();
    c->stream->write(row.request);
    CHECK(f.until([&] { return c->got.size() >= strlen(row.expected) && c->eof == row.closes; }));
    CHECK(c->got == row.expected);
  }
}

TEST_CASE("HEAD answers have the length and no body; header values cannot smuggle lines") {
  ServerFixture f([](ExchangePtr e) {
    Response r;
    r.headers.add("X", "a\r\nSet-Cookie: b");
    r.body = "body";
    e->respond(std::move(r));
  });
  auto c = f.connect();
  c->stream->write("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
  CHECK(f.until([&] { return c->got.ends_with("\r\n\r\n"); }));
  CHECK(c->got == "HTTP/1.1 200 OK\r\nX: a  Set-Cookie: b\r\nContent-Length: 4\r\n\r\n");
}

TEST_CASE("an exchange dropped without an answer is a 500, one dropped in the middle is cut") {
  bool begin = false;
  ServerFixture f([&](ExchangePtr e) {
    if (begin) e->begin(200, {});
  });
  auto c = f.connect();
  c->stream->write(get_a);
  CHECK(f.until([&] { return c->got.starts_with("HTTP/1.1 500"); }));
  begin = true;
  c->got.clear();
  c->stream->write(get_a);
  CHECK(f.until([&] { return c->eof; }));
  CHECK(c->got.find("0\r\n\r\n") == std::string::npos);
}

TEST_CASE("a slow reader holds the source back, and drain lets it go on") {
  ExchangePtr e;
  ServerFixture f([&](ExchangePtr x) { e = std::move(x); });
  auto c = f.connect();
  c->stream->write(get_a);
  CHECK(f.until([&] { return e != nullptr; }));
  c->stream->read_stop();
  e->begin(200, {});
  size_t sent = 0;
  const auto fill = [&] {
    while (e->write_queue_size() < 100000 && sent < 5'000'000) {
      e->write(std::string(10000, 'x'));
      sent += 10000;
    }
    if (sent == 5'000'000) e->end();
  };
  e->on_drain(fill);
  fill();
  f.spin();
  CHECK(sent < 1'000'000);
  c->stream->read_start();
  CHECK(f.until([&] { return c->got.ends_with("\r\n0\r\n\r\n"); }));
  CHECK(sent == 5'000'000);
}

TEST_CASE("a client that leaves is reported once, only while the answer is open") {
  std::vector<ExchangePtr> held;
  int gone = 0;
  ServerFixture f([&](ExchangePtr e) {
    e->on_gone([&] { ++gone; });
    held.push_back(std::move(e));
  });
  {  // streaming: half-close counts as leaving
    auto c = f.connect();
    c->stream->write(get_a);
    CHECK(f.until([&] { return held.size() == 1; }));
    held[0]->begin(200, {});
    held[0]->write("x");
    c->stream->shutdown();
    CHECK(f.until([&] { return gone == 1; }));
    held[0]->write("y");  // harmless
    held[0]->end();
  }
  {  // unanswered: half-close does not
    auto c = f.connect();
    c->stream->write(get_a);
    c->stream->shutdown();
    CHECK(f.until([&] { return held.size() == 2; }));
    f.spin();
    CHECK(gone == 1);
    held[1]->respond({200, {}, "late"});
    CHECK(f.until([&] { return c->eof; }));
    CHECK(c->got == answer("late", "Connection: close\r\n"));
    CHECK(gone == 1);
  }
  {  // gone for good: noticed when writing
    auto c = f.connect();
    c->stream->write(get_a);
    CHECK(f.until([&] { return held.size() == 3; }));
    c.reset();
    f.spin(5);
    held[2]->begin(200, {});
    held[2]->write("x");
    CHECK(f.until([&] { return gone == 2; }));
    int late = 0;
    held[2]->on_gone([&] { ++late; });
    CHECK(late == 1);
  }
}

TEST_CASE("deadlines: idle, slow headers, slow body, a reader that stalls") {
  struct Row {
    const char* name;
    const char* bytes;
    const char* answer;
  };
  const Row rows[] = {{"idle", "", ""},
                      {"empty lines", "\r\n", ""},
                      {"header", "GET / HTTP/1.1\r\nHost:", "HTTP/1.1 408"},
                      {"body", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab", "HTTP/1.1 408"}};
  ServerOptions options;
  options.header_timeout_ms = options.body_timeout_ms = options.idle_timeout_ms = options.write_stall_ms = 30;
  for (const Row& row : rows) {
    CAPTURE(row.name);
    ServerFixture f([](ExchangePtr) { FAIL("reached the handler"); }, options);
    auto c = f.connect();
    c->stream->write(row.bytes);
    CHECK(f.until([&] { return c->eof; }));
    CHECK(c->got.starts_with(row.answer));
    CHECK(c->got.empty() == (*row.answer == '\0'));
  }
  ExchangePtr held;
  bool gone = false;
  ServerFixture f(
      [&](ExchangePtr e) {
        e->on_gone([&] { gone = true; });
        e->begin(200, {});
        e->write(std::string(4 << 20, 'x'));
        held = std::move(e);
      },
      options);
  auto c = f.connect();
  c->stream->read_stop();
  c->stream->write(get_a);
  CHECK(f.until([&] { return gone; }));
  CHECK(f.server->counters().timeouts == 1);
}

TEST_CASE("connections over the limit are refused with a reason") {
  ServerOptions options;
  options.max_connections = 2;
  ServerFixture f(echo(), options);
  auto a = f.connect(), b = f.connect();
  CHECK(f.server->full());
  auto c = f.connect();
  CHECK(f.until([&] { return c->eof; }));
  CHECK(c->got.starts_with("HTTP/1.1 503"));
  CHECK(c->got.find("the limit is 2") != std::string::npos);
  CHECK(f.server->counters().refused == 1);
  a.reset();
  CHECK(f.until([&] { return !f.server->full(); }));
  auto d = f.connect();
  d->stream->write(get_a);
  CHECK(f.until([&] { return d->got == answer("GET /a "); }));
}

TEST_CASE("graceful stop: idle connections close, running exchanges finish, the deadline cuts the rest") {
  std::vector<ExchangePtr> held;
  int gone = 0;
  ServerFixture f([&](ExchangePtr e) {
    e->on_gone([&] { ++gone; });
    held.push_back(std::move(e));
  });
  auto idle = f.connect(), busy = f.connect(), stuck = f.connect();
  busy->stream->write(get_a);
  CHECK(f.until([&] { return held.size() == 1; }));
  stuck->stream->write(get_b);
  CHECK(f.until([&] { return held.size() == 2; }));
  bool done = false;
  f.server->shutdown(100, [&] { done = true; });
  CHECK(f.until([&] { return idle->eof; }));
  held[0]->respond({200, {}, "finished"});
  CHECK(f.until([&] { return busy->eof; }));
  CHECK(busy->got == answer("finished", "Connection: close\r\n"));
  CHECK(f.until([&] { return done; }));
  CHECK(gone == 1);
  CHECK(f.until([&] { return stuck->over(); }));
  auto late = f.connect();
  CHECK(f.until([&] { return late->over(); }));
}

TEST_CASE("the server may be destroyed by its own handler and by on_gone") {
  std::unique_ptr<ServerFixture> f;
  ExchangePtr held;
  f = std::make_unique<ServerFixture>([&](ExchangePtr e) {
    f->server.reset();
    held = std::move(e);
  });
  auto c = f->connect();
  c->stream->write(get_a + get_b);
  CHECK(f->until([&] { return c->over(); }));
  held->respond({});
  held.reset();
  c.reset();
  f.reset();

  f = std::make_unique<ServerFixture>([&](ExchangePtr e) {
    e->on_gone([&] { f->server.reset(); });
    e->begin(200, {});
    held = std::move(e);
  });
  c = f->connect();
  c->stream->write(get_a);
  CHECK(f->until([&] { return held != nullptr; }));
  c.reset();
  CHECK(f->until([&] { return f->server == nullptr; }));
  held.reset();
}

TEST_CASE("peer and date reach where they should") {
  ManualClock clock;
  clock.set_wall({784111777, 0});
  ServerOptions options;
  options.clock = &clock;
  ServerFixture f([](ExchangePtr e) { e->respond({200, {}, e->request().peer.address}); }, options);
  f.peer.address = "192.0.2.1:4711";
  auto c = f.connect();
  c->stream->write(get_a);
  CHECK(
      f.until([&] { return c->got == answer("192.0.2.1:4711", "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"); }));
}
