// WebSocket frames as data, and both ends over a connection, against hand-made bytes and against each other.
#include <doctest/doctest.h>

#include <cstring>

#include "fixture.h"
#include "http/utf8.h"
#include "http/websocket.h"
#include "http/websocket_frames.h"

using namespace limpet;
using namespace limpet::http;

namespace {

constexpr unsigned char key[4] = {0x12, 0x34, 0x56, 0x78};

std::string frame(Opcode op, std::string_view payload, bool fin = true) {
  std::string out;
  append_frame(&out, op, payload, key);
  if (!fin) out[0] = static_cast<char>(out[0] & 0x7f);
  return out;
}

std::string server_frame(Opcode op, std::string_view payload) {
  std::string out;
  append_frame(&out, op, payload, nullptr);
  return out;
}

std::string bytes(std::initializer_list<int> list) {
  std::string out;
  for (const int b : list) out.push_back(static_cast<char>(b));
  return out;
}

// What a reader says about some bytes, as text.
std::string trace(std::string_view input, bool masked, size_t piece) {
  FrameReader reader(masked, 1000);
  std::string out;
  while (!input.empty()) {
    const std::string part(input.substr(0, piece));
    input.remove_prefix(part.size());
    std::string_view view = part;
    for (bool more = true; more;) {
      switch (reader.next(view)) {
        case FrameReader::Step::need_more:
          more = false;
          break;
        case FrameReader::Step::message:
          out += (reader.binary() ? "binary(" : "text(") + std::string(reader.payload()) + ") ";
          break;
        case FrameReader::Step::ping:
          out += "ping(" + std::string(reader.payload()) + ") ";
          break;
        case FrameReader::Step::pong:
          out += "pong(" + std::string(reader.payload()) + ") ";
          break;
        case FrameReader::Step::close:
          out += strf("close(%d,%s) ", reader.close_code(), std::string(reader.payload()).c_str());
          break;
        case FrameReader::Step::error:
          return out + strf("error(%d)", reader.close_code());
      }
    }
  }
  return out;
}

const std::string handshake =
    "GET /exec HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Protocol: v4.channel.k8s.io, v5.channel.k8s.io\r\n\r\n";
const std::string accepted =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n";

// A server whose handler upgrades and notes what happens.
struct Upgraded {
  std::unique_ptr<WebSocket> socket;
  std::string log;
  bool echo = true;
  std::unique_ptr<ServerFixture> f;
  std::unique_ptr<RawClient> client;

  Upgraded() {
    f = std::make_unique<ServerFixture>([this](ExchangePtr e) {
      auto upgraded = e->upgrade("v5.channel.k8s.io");
      if (!upgraded) return e->respond({400, {}, upgraded.error().message});
      socket = std::move(*upgraded);
      socket->set_events({.on_message =
                              [this](std::string_view m, bool binary) {
                                log += (binary ? "b:" : "t:") + std::string(m) + " ";
                                if (echo) socket->send(m, binary);
                              },
                          .on_close =
                              [this](int code, std::string_view reason) {
                                log += strf("close:%d:%s", code, std::string(reason).c_str());
                              },
                          .on_drain = {}});
    });
    client = f->connect();
  }
  ~Upgraded() {
    socket.reset();
    client.reset();
  }
  bool until(const std::function<bool()>& done) { return f->until(done); }
};

}  // namespace

TEST_CASE("UTF-8") {
  for (const char* good : {"", "plain ascii text", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x90\x9a",
                           "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"}) {
    CHECK(valid_utf8(good));
  }
  for (const char* bad :
       {"\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xc3", "\xe2\x82", "12345678\xff", "\xc3\x28"}) {
    CHECK_FALSE(valid_utf8(bad));
  }
}

TEST_CASE("frames to the server, whole and in pieces") {
  const std::string big(400, 'x');
  struct Row {
    const char* name;
    std::string input;
    std::string expected;
  };
  const Row rows[] = {
      {"binary", frame(Opcode::binary, "abc"), "binary(abc) "},
      {"text", frame(Opcode::text, "h\xc3\xa9"), "text(h\xc3\xa9) "},
      {"empty", frame(Opcode::binary, ""), "binary() "},
      {"16-bit length", frame(Opcode::binary, big), "binary(" + big + ") "},
      {"two messages", frame(Opcode::binary, "a") + frame(Opcode::text, "b"), "binary(a) text(b) "},
      {"fragments",
       frame(Opcode::text, "ab", false) + frame(Opcode::continuation, "", false) +
           frame(Opcode::continuation, "c"),
       "text(abc) "},
      {"character split over fragments",
       frame(Opcode::text, "\xe2\x82", false) + frame(Opcode::continuation, "\xac"), "text(\xe2\x82\xac) "},
      {"control between fragments",
       frame(Opcode::binary, "a", false) + frame(Opcode::ping, "p") + frame(Opcode::continuation, "b"),
       "ping(p) binary(ab) "},
      {"pong", frame(Opcode::pong, ""), "pong() "},
      {"close", frame(Opcode::close, close_payload(1000, "bye")), "close(1000,bye) "},
      {"close without code", frame(Opcode::close, ""), "close(1005,) "},
      {"private close code", frame(Opcode::close, close_payload(4999, "")), "close(4999,) "},

      {"unmasked", server_frame(Opcode::binary, "abc"), "error(1002)"},
      {"reserved bit", bytes({0xc2, 0x80, 0, 0, 0, 0}), "error(1002)"},
      {"opcode 3", bytes({0x83, 0x80, 0, 0, 0, 0}), "error(1002)"},
      {"opcode 11", bytes({0x8b, 0x80, 0, 0, 0, 0}), "error(1002)"},
      {"length not shortest, 16", bytes({0x82, 0xfe, 0, 125, 0, 0, 0, 0}), "error(1002)"},
      {"length not shortest, 64", bytes({0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0}),
       "error(1002)"},
      {"length with high bit", bytes({0x82, 0xff, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}), "error(1002)"},
      {"4 GiB", bytes({0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}), "error(1009)"},
      {"over the limit", frame(Opcode::binary, std::string(1001, 'x')), "error(1009)"},
      {"fragments over the limit",
       frame(Opcode::binary, std::string(600, 'x'), false) +
           frame(Opcode::continuation, std::string(401, 'x')),
       "error(1009)"},
      {"fragmented ping", frame(Opcode::ping, "a", false), "error(1002)"},
      {"long ping", frame(Opcode::ping, std::string(126, 'x')), "error(1002)"},
      {"continuation of nothing", frame(Opcode::continuation, "a"), "error(1002)"},
      {"text inside a message", frame(Opcode::binary, "a", false) + frame(Opcode::text, "b"), "error(1002)"},
      {"text that is not UTF-8", frame(Opcode::text, "\xff"), "error(1007)"},
      {"close with one byte", frame(Opcode::close, "x"), "error(1002)"},
      {"close 1005", frame(Opcode::close, bytes({0x03, 0xed})), "error(1002)"},
      {"close 1006", frame(Opcode::close, bytes({0x03, 0xee})), "error(1002)"},
      {"close 999", frame(Opcode::close, bytes({0x03, 0xe7})), "error(1002)"},
      {"close 5000", frame(Opcode::close, bytes({0x13, 0x88})), "error(1002)"},
      {"close reason not UTF-8", frame(Opcode::close, bytes({0x03, 0xe8, 0xff})), "error(1007)"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    for (const size_t piece : {size_t{1} << 20, size_t{1}, size_t{3}, size_t{5}}) {
      CAPTURE(piece);
      CHECK(trace(row.input, true, piece) == row.expected);
    }
  }
  CHECK(trace(server_frame(Opcode::binary, "abc"), false, 1) == "binary(abc) ");
  CHECK(trace(frame(Opcode::binary, "abc"), false, 1) == "error(1002)");
}

TEST_CASE("close payloads are cut between characters") {
  CHECK(close_payload(1000, std::string(200, 'x')).size() == 125);
  CHECK(close_payload(1000, std::string(122, 'x') + "\xc3\xa9").size() == 124);
  CHECK(close_payload(1006, "x") == "");
}

TEST_CASE("upgrade, echo, ping, close handshake by the client") {
  Upgraded u;
  // Frames may come right behind the handshake.
  u.client->stream->write(handshake + frame(Opcode::binary, "early"));
  CHECK(u.until([&] { return u.client->got == accepted + server_frame(Opcode::binary, "early"); }));
  CHECK(u.socket->subprotocol() == "v5.channel.k8s.io");
  CHECK(u.f->server->counters().websockets == 1);
  CHECK(u.f->server->counters().open_connections == 1);
  u.client->got.clear();
  u.client->stream->write(frame(Opcode::text, "hi") + frame(Opcode::ping, "p"));
  CHECK(u.until(
      [&] { return u.client->got == server_frame(Opcode::text, "hi") + server_frame(Opcode::pong, "p"); }));
  u.client->got.clear();
  u.client->stream->write(frame(Opcode::close, close_payload(1000, "bye")));
  CHECK(u.until([&] { return u.client->eof; }));
  CHECK(u.client->got == server_frame(Opcode::close, close_payload(1000, "")));
  CHECK(u.log == "b:early t:hi close:1000:bye");
  u.socket.reset();
  CHECK(u.f->server->counters().open_connections == 0);
}

TEST_CASE("close by the server, then destroyed at once: the last words still arrive") {
  Upgraded u;
  u.client->stream->write(handshake);
  CHECK(u.until([&] { return u.socket != nullptr; }));
  u.socket->send("status");
  u.socket->close(1000, "done");
  u.socket->send("dropped");
  u.socket.reset();
  CHECK(u.until([&] { return u.client->eof; }));
  CHECK(u.client->got == accepted + server_frame(Opcode::binary, "status") +
                             server_frame(Opcode::close, close_payload(1000, "done")));
}

TEST_CASE("close by the server waits for the answer; data on the way is ignored") {
  Upgraded u;
  u.client->stream->write(handshake);
  CHECK(u.until([&] { return u.socket != nullptr; }));
  u.socket->close(1000, "");
  u.client->stream->write(frame(Opcode::binary, "ignored"));
  u.f->spin(5);
  CHECK(u.log == "");
  u.client->stream->write(frame(Opcode::close, close_payload(1000, "")));
  CHECK(u.until([&] { return u.log == "close:1000:"; }));
}

TEST_CASE("violations are answered with a close code; a vanished peer is 1006") {
  {
    Upgraded u;
    u.client->stream->write(handshake + server_frame(Opcode::binary, "unmasked"));
    CHECK(u.until([&] { return u.client->eof; }));
    CHECK(u.log == "close:1002:frame without mask");
    CHECK(u.client->got == accepted + server_frame(Opcode::close, close_payload(1002, "frame without mask")));
  }
  {
    Upgraded u;
    u.client->stream->write(handshake);
    CHECK(u.until([&] { return u.socket != nullptr; }));
    u.client.reset();
    CHECK(u.until([&] { return u.log == "close:1006:connection lost"; }));
  }
}

TEST_CASE("reading can be paused; the socket may be destroyed in its callbacks") {
  Upgraded u;
  u.echo = false;
  u.client->stream->write(handshake);
  CHECK(u.until([&] { return u.socket != nullptr; }));
  u.socket->pause_reading(true);
  u.client->stream->write(frame(Opcode::binary, "1") + frame(Opcode::binary, "2"));
  u.f->spin(5);
  CHECK(u.log == "");
  u.socket->pause_reading(false);
  CHECK(u.until([&] { return u.log == "b:1 b:2 "; }));
  std::string seen;
  u.socket->set_events({.on_message =
                            [&](std::string_view m, bool) {
                              seen += m;
                              if (m == "a") u.socket->pause_reading(true);
                              if (m == "c") u.socket.reset();
                            },
                        .on_close = [&](int, std::string_view) { seen += "close"; },
                        .on_drain = {}});
  u.client->stream->write(frame(Opcode::binary, "a") + frame(Opcode::binary, "b") +
                          frame(Opcode::binary, "c") + frame(Opcode::binary, "d"));
  CHECK(u.until([&] { return seen == "a"; }));
  u.f->spin(5);
  CHECK(seen == "a");
  u.socket->pause_reading(false);
  CHECK(u.until([&] { return u.socket == nullptr; }));
  CHECK(u.until([&] { return u.client->over(); }));
  CHECK(seen == "abc");
}

TEST_CASE("a bad handshake is answered as HTTP, and never leaves a raw pipe") {
  struct Row {
    const char* name;
    const char* from;
    const char* to;
    const char* text;
  };
  const Row rows[] = {
      {"method", "GET /exec", "POST /exec", "GET request"},
      {"no upgrade", "Upgrade: websocket", "Upgrade: SPDY/3.1", "no WebSocket handshake"},
      {"no connection", "keep-alive, Upgrade", "keep-alive", "no WebSocket handshake"},
      {"version", "Version: 13", "Version: 8", "version 13"},
      {"short key", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ==", "malformed Sec-WebSocket-Key"},
      {"no key", "Sec-WebSocket-Key:", "X-Key:", "one Sec-WebSocket-Key"},
      {"protocol", ", v5.channel.k8s.io", "", "does not offer"},
      {"protocol case", ", v5.channel.k8s.io", ", V5.channel.k8s.io", "does not offer"},
      {"version 1.0", "HTTP/1.1", "HTTP/1.0", "needs HTTP/1.1"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    Upgraded u;
    std::string request = handshake;
    request.replace(request.find(row.from), strlen(row.from), row.to);
    u.client->stream->write(request + "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n");
    CHECK(u.until([&] { return u.client->eof; }));
    CHECK(u.client->got.starts_with("HTTP/1.1 400"));
    CHECK(u.client->got.find(row.text) != std::string::npos);
    CHECK(u.client->got.find("Connection: close") != std::string::npos);
    CHECK(u.f->server->counters().requests == 1);
    CHECK(u.socket == nullptr);
  }
}

TEST_CASE("a stopping server says goodbye to its WebSockets") {
  Upgraded u;
  u.client->stream->write(handshake);
  CHECK(u.until([&] { return u.socket != nullptr; }));
  bool done = false;
  u.f->server->shutdown(5000, [&] { done = true; });
  u.client->stream->write(frame(Opcode::close, close_payload(1001, "")));
  CHECK(u.until([&] { return u.log.starts_with("close:1001"); }));
  u.socket.reset();
  CHECK(u.until([&] { return done; }));
}

TEST_CASE("both ends of ours, a megabyte each way, one over is refused") {
  loop::Loop loop;
  {
    auto pair = loop::stream_pair(loop);
    REQUIRE(pair);
    auto server = make_websocket(loop, std::move(pair->first), {.role = WebSocketRole::server});
    auto client = make_websocket(loop, std::move(pair->second), {.role = WebSocketRole::client});
    std::string got;
    int code = 0;
    server->set_events({.on_message = [&](std::string_view m, bool b) { server->send(m, b); },
                        .on_close = [&](int c, std::string_view) { code = c; },
                        .on_drain = {}});
    client->set_events(
        {.on_message = [&](std::string_view m, bool) { got = m; }, .on_close = {}, .on_drain = {}});
    const std::string big(max_websocket_message, 'x');
    client->send(big);
    CHECK(loop.run_until([&] { return got == big; }, 10000));
    client->send(big + "y");
    CHECK(loop.run_until([&] { return code == 1009; }, 10000));
  }
  CHECK(loop.run_until([&] { return loop.live_handles() == 1; }, 10000));
}
