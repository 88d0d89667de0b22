// SPDY/3.1: header blocks, frames and sessions as data, and a connection over a stream.
#include <doctest/doctest.h>

#include <cstring>

#include "fixture.h"
#include "http/spdy.h"
#include "http/spdy_connection.h"

using namespace limpet;
using namespace limpet::http;

namespace {

Headers headers(std::initializer_list<std::pair<const char*, const char*>> list) {
  Headers out;
  for (const auto& [name, value] : list) out.add(name, value);
  return out;
}

std::string text(const Headers& h) {
  std::string out;
  for (const Header& one : h.list()) out += one.name + "=" + one.value + ";";
  return out;
}

// The client's side of a connection: gathers what it sends, with its own compression, in the order of the
// calls.
struct ClientSide {
  SpdyHeaderWriter writer;
  std::string sent;

  ClientSide& control(SpdyType type, std::string_view payload, uint8_t flags = 0) {
    append_spdy_control(&sent, type, flags, payload);
    return *this;
  }
  ClientSide& open(uint32_t id, const char* type, uint8_t flags = 0) {
    const std::string block = writer.write(headers({{"streamtype", type}}));
    return control(SpdyType::syn_stream, spdy_numbers(id, 0) + std::string(2, '\0') + block, flags);
  }
  ClientSide& more(uint32_t id, uint8_t flags = 0) {
    return control(SpdyType::headers, spdy_numbers(id) + writer.write(headers({{"a", "b"}})), flags);
  }
  ClientSide& reset(uint32_t id) { return control(SpdyType::rst_stream, spdy_numbers(id, 5)); }
  ClientSide& ping(uint32_t id) { return control(SpdyType::ping, spdy_numbers(id)); }
  ClientSide& data(uint32_t id, std::string_view bytes, bool fin = false) {
    append_spdy_data(&sent, id, bytes, fin);
    return *this;
  }
  std::string take() { return std::exchange(sent, std::string()); }
};

// What a session says about some bytes, as text; data that comes in pieces is put together.
std::string trace(std::string_view input, size_t piece, size_t streams = 4) {
  SpdySession session(streams);
  std::string out;
  uint32_t data_of = 0;
  while (!input.empty()) {
    const std::string part(input.substr(0, piece));
    input.remove_prefix(part.size());
    std::string_view view = part;
    for (bool more = true; more;) {
      const auto step = session.next(view);
      if (step == SpdySession::Step::need_more) break;
      if (step != SpdySession::Step::data && data_of != 0) {
        out += ") ";
        data_of = 0;
      }
      const unsigned id = session.stream();
      switch (step) {
        case SpdySession::Step::opened:
          out += strf("open(%u,", id) + text(session.headers()) + ") ";
          break;
        case SpdySession::Step::data:
          if (data_of != id) out += (data_of != 0 ? ") " : "") + strf("data(%u,", id);
          data_of = id;
          out += session.payload();
          break;
        case SpdySession::Step::error:
          return out + "error(" + std::string(session.payload()) + ")";
        case SpdySession::Step::ping:
          out += strf("ping(%u) ", session.ping_id());
          break;
        case SpdySession::Step::goaway:
          out += "goaway ";
          break;
        default:
          out += strf("%s(%u) ",
                      step == SpdySession::Step::refused ? "refused"
                      : step == SpdySession::Step::ended ? "end"
                                                         : "reset",
                      id);
      }
    }
  }
  return out + (data_of != 0 ? ")" : "");
}

// The frames of an answer, as text.
std::string frames(std::string_view bytes) {
  SpdyReader reader;
  std::string out;
  for (;;) {
    switch (reader.next(bytes)) {
      case SpdyReader::Step::need_more:
      case SpdyReader::Step::error:
        return out;
      case SpdyReader::Step::data:
        out += strf("data(%u,", reader.stream()) + std::string(reader.payload()) +
               (reader.fin() ? ",fin) " : ") ");
        break;
      case SpdyReader::Step::control:
        out += strf("%u(%u) ", static_cast<unsigned>(reader.type()), spdy_number(reader.payload(), 0));
        break;
    }
  }
}

}  // namespace

TEST_CASE("the dictionary is the protocol's") {
  const std::string& d = spdy_dictionary();
  CHECK_EQ(d.size(), 1423);
  CHECK_EQ(adler32(1, reinterpret_cast<const Bytef*>(d.data()), static_cast<uInt>(d.size())), 0xe3c6a7c2);
}

TEST_CASE("header blocks of one context, one after the other") {
  SpdyHeaderWriter writer;
  SpdyHeaderReader reader;
  for (int i = 0; i < 300; ++i) {
    Headers h = headers({{"streamtype", i % 2 == 0 ? "data" : "error"}, {"port", "8080"}});
    h.add("requestid", std::to_string(i));
    const auto got = reader.read(writer.write(h));
    REQUIRE(got);
    CHECK_EQ(text(*got), text(h));
  }
  CHECK_EQ(text(*reader.read(writer.write({}))), "");
  const auto several = reader.read(writer.write([] {
    Headers h;
    h.add("x", std::string("a\0\0b", 4));
    return h;
  }()));
  REQUIRE(several);
  CHECK_EQ(text(*several), "x=a;x=;x=b;");
}

TEST_CASE("header blocks that are refused") {
  const auto refused = [](const Headers& h) {
    SpdyHeaderWriter writer;
    SpdyHeaderReader reader;
    const auto got = reader.read(writer.write(h));
    return got ? std::string("read") : got.error().message;
  };
  CHECK_EQ(refused(headers({{"Streamtype", "x"}})), "a malformed header name");
  CHECK_EQ(refused(headers({{"", "x"}})), "a malformed header name");
  CHECK_EQ(refused(headers({{"a\n", "x"}})), "a malformed header name");
  CHECK_EQ(refused(headers({{"a", "x"}, {"b", "x"}, {"a", "y"}})), "a header that is there twice");
  Headers many;
  for (int i = 0; i < 65; ++i) many.add("h" + std::to_string(i), "");
  CHECK_EQ(refused(many), "too many headers");
  Headers values;
  values.add("a", std::string(70, '\0'));
  CHECK_EQ(refused(values), "a header of too many values");
  // 100 bytes on the wire, a gigabyte if one let it.
  Headers large;
  large.add("a", std::string(20'000, 'x'));
  CHECK_EQ(refused(large), "a header block that is too large");
  SpdyHeaderReader reader;
  CHECK_FALSE(reader.read("this is not what zlib reads"));
}

TEST_CASE("header blocks whose lengths lie") {
  const auto block = [](std::string_view plain) {
    std::string out(1024, '\0');
    z_stream z{};
    REQUIRE(deflateInit(&z, 9) == Z_OK);
    const std::string& d = spdy_dictionary();
    deflateSetDictionary(&z, reinterpret_cast<const Bytef*>(d.data()), static_cast<uInt>(d.size()));
    z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(plain.data()));
    z.avail_in = static_cast<uInt>(plain.size());
    z.next_out = reinterpret_cast<Bytef*>(out.data());
    z.avail_out = static_cast<uInt>(out.size());
    deflate(&z, Z_SYNC_FLUSH);
    out.resize(out.size() - z.avail_out);
    deflateEnd(&z);
    SpdyHeaderReader reader;
    const auto got = reader.read(out);
    return got ? "read: " + text(*got) : got.error().message;
  };
  const std::string one = spdy_numbers(1), a = spdy_numbers(1) + "a";
  CHECK_EQ(block(one + a + a), "read: a=a;");
  CHECK_EQ(block(""), "a header block without a count");
  CHECK_EQ(block(std::string("\0\0\0", 3)), "a header block without a count");
  CHECK_EQ(block(one), "a header block that ends too early");
  CHECK_EQ(block(one + spdy_numbers(2) + "a"), "a header block that ends too early");
  CHECK_EQ(block(one + a), "a header block that ends too early");
  CHECK_EQ(block(one + spdy_numbers(0xffffffff) + "a"), "a header block that ends too early");
  CHECK_EQ(block(spdy_numbers(2) + a + a), "a header block that ends too early");
  CHECK_EQ(block(one + a + a + "x"), "bytes behind the last header");
  CHECK_EQ(block(spdy_numbers(0xffffffff)), "too many headers");
}

TEST_CASE("sessions, whole and in pieces") {
  struct Row {
    const char* what;
    std::string input, wanted;
  };
  std::vector<Row> rows;
  const auto add = [&rows](const char* what, const std::function<void(ClientSide&)>& input,
                           std::string wanted) {
    ClientSide c;
    input(c);
    rows.push_back({what, c.take(), std::move(wanted)});
  };
  add(
      "streams of an exec",
      [](ClientSide& c) {
        c.open(1, "error")
            .open(3, "stdin")
            .open(5, "stdout")
            .data(3, "hello ")
            .data(3, "world")
            .data(3, "", true)
            .reset(1);
      },
      "open(1,streamtype=error;) open(3,streamtype=stdin;) open(5,streamtype=stdout;) data(3,hello world) "
      "end(3) "
      "reset(1) ");
  add(
      "data that ends its stream",
      [](ClientSide& c) { c.open(1, "x").data(1, "last", true).data(1, "late").data(1, "", true); },
      "open(1,streamtype=x;) data(1,last) end(1) ");
  add(
      "a stream that is over at once", [](ClientSide& c) { c.open(1, "x", spdy_fin).more(1); },
      "open(1,streamtype=x;) end(1) ");
  add(
      "headers that end a stream", [](ClientSide& c) { c.open(1, "x").more(1).more(1, spdy_fin); },
      "open(1,streamtype=x;) end(1) ");
  add(
      "empty data says nothing", [](ClientSide& c) { c.open(1, "x").data(1, "").data(1, "y"); },
      "open(1,streamtype=x;) data(1,y)");
  add(
      "data after a reset was under way", [](ClientSide& c) { c.open(1, "x").reset(1).data(1, "y"); },
      "open(1,streamtype=x;) reset(1) ");
  add(
      "pings of the client; answers to ours are none", [](ClientSide& c) { c.ping(1).ping(2).ping(3); },
      "ping(1) ping(3) ");
  add("the client goes", [](ClientSide& c) { c.control(SpdyType::goaway, spdy_numbers(0, 0)); }, "goaway ");
  add(
      "what is passed over",
      [](ClientSide& c) {
        c.control(SpdyType::settings, spdy_numbers(1) + spdy_numbers(7, 65536))
            .control(SpdyType::settings, spdy_numbers(0))
            .control(SpdyType::window_update, spdy_numbers(1, 9))
            .control(static_cast<SpdyType>(5), std::string(100'000, 'x'))
            .control(static_cast<SpdyType>(77), "")
            .open(1, "x");
      },
      "open(1,streamtype=x;) ");
  add(
      "more streams than allowed; the compression goes on over them",
      [](ClientSide& c) {
        for (uint32_t id = 1; id < 11; id += 2) c.open(id, "x");
        c.data(9, "y").reset(1).open(11, "z");
      },
      "open(1,streamtype=x;) open(3,streamtype=x;) open(5,streamtype=x;) open(7,streamtype=x;) refused(9) "
      "reset(1) "
      "open(11,streamtype=z;) ");

  add(
      "even id", [](ClientSide& c) { c.open(2, "x"); },
      "error(a stream whose id is not the next of a client)");
  add("id 0", [](ClientSide& c) { c.open(0, "x"); }, "error(a stream whose id is not the next of a client)");
  add(
      "the same id twice", [](ClientSide& c) { c.open(3, "x").open(3, "x"); },
      "open(3,streamtype=x;) error(a stream whose id is not the next of a client)");
  add(
      "a lower id", [](ClientSide& c) { c.open(3, "x").open(1, "x"); },
      "open(3,streamtype=x;) error(a stream whose id is not the next of a client)");
  add(
      "data for nobody", [](ClientSide& c) { c.open(1, "x").data(3, "y"); },
      "open(1,streamtype=x;) error(data for a stream that was never opened)");
  add(
      "data for stream 0", [](ClientSide& c) { c.data(0, "y"); },
      "error(data for a stream that was never opened)");
  add(
      "an answer", [](ClientSide& c) { c.control(SpdyType::syn_reply, spdy_numbers(1)); },
      "error(an answer to a stream that was not opened)");
  for (const auto& [type, name] : {std::pair{SpdyType::syn_stream, "SYN_STREAM"},
                                   {SpdyType::rst_stream, "RST_STREAM"},
                                   {SpdyType::settings, "SETTINGS"},
                                   {SpdyType::ping, "PING"},
                                   {SpdyType::goaway, "GOAWAY"},
                                   {SpdyType::headers, "HEADERS"},
                                   {SpdyType::window_update, "WINDOW_UPDATE"}}) {
    for (const size_t size : {0, 3, 9}) {
      if (size == 9 && type == SpdyType::headers) continue;
      add(
          name, [&](ClientSide& c) { c.control(type, std::string(size, '\1')); },
          "error(a malformed " + std::string(name) + " frame)");
    }
  }
  add(
      "headers that zlib cannot read",
      [](ClientSide& c) { c.control(SpdyType::syn_stream, spdy_numbers(1, 0) + "\1\1garbage"); },
      "error(SYN_STREAM: a header block that zlib cannot read)");
  add(
      "a control frame that is too large",
      [](ClientSide& c) { c.control(SpdyType::settings, std::string(17'000, '\0')); },
      "error(a control frame that is too large)");
  add(
      "another version", [](ClientSide& c) { c.sent.assign("\x80\x02\0\1\0\0\0\0", 8); },
      "error(a frame of another version of SPDY)");
  add(
      "HTTP", [](ClientSide& c) { c.sent = "GET / HTTP/1.1\r\n" + std::string(10'000'000, 'x'); },
      "error(data for a stream that was never opened)");
  for (const Row& row : rows) {
    CAPTURE(row.what);
    CHECK_EQ(trace(row.input, row.input.size()), row.wanted);
    CHECK_EQ(trace(row.input, row.what == std::string_view("HTTP") ? 4096 : 1), row.wanted);
    CHECK_EQ(trace(row.input, 7), row.wanted);
  }
}

TEST_CASE("what the server says") {
  ClientSide c;
  SpdySession session(4);
  const std::string input = c.open(1, "a").open(3, "b").open(5, "c", 2).take();
  std::string_view view = input;
  for (int i = 0; i < 3; ++i) REQUIRE(session.next(view) == SpdySession::Step::opened);
  std::string out;
  const auto said = [&out] { return frames(std::exchange(out, std::string())); };
  session.reply(1, &out);
  session.data(1, "x", &out);
  session.finish(1, &out);
  session.data(1, "nothing more", &out);
  session.finish(1, &out);
  CHECK_EQ(said(), "2(1) data(1,x) data(1,,fin) ");
  session.reset(3, SpdyReset::cancel, &out);
  session.data(3, "gone", &out);
  session.reset(3, SpdyReset::cancel, &out);
  CHECK_EQ(said(), "3(3) ");
  session.data(5, "the client opened it for itself", &out);
  CHECK_EQ(said(), "");
  session.data(77, "nobody", &out);
  session.pong(7, &out);
  session.goaway(SpdyGoaway::ok, &out);
  CHECK_EQ(said(), "6(7) 7(5) ");
  CHECK_EQ(session.open_streams(), 2);
  session.data(1, "", &out);
  CHECK_EQ(said(), "");
  ClientSide other;
  SpdySession big(1);
  const std::string opening = other.open(1, "a").take();
  view = opening;
  REQUIRE(big.next(view) == SpdySession::Step::opened);
  big.data(1, std::string(150'000, 'x'), &out);
  CHECK_EQ(out.size(), 150'000 + 3 * 8);
}

namespace {

// A connection whose handler serves SPDY, and a client of raw bytes.
struct Served {
  std::unique_ptr<SpdyConnection> connection;
  std::string log;
  std::unique_ptr<ServerFixture> f;
  std::unique_ptr<RawClient> client;
  ClientSide c;

  Served() {
    f = std::make_unique<ServerFixture>([this](ExchangePtr e) {
      Headers h;
      h.add("X-Stream-Protocol-Version", "v4\r\nInjected: x");
      auto stream = e->take_over("SPDY/3.1", std::move(h));
      if (!stream) return e->respond({400, {}, stream.error().message});
      connection = std::make_unique<SpdyConnection>(f->loop, std::move(*stream), 4);
      listen();
    });
    client = f->connect();
  }
  ~Served() {
    connection.reset();
    client.reset();
  }
  void listen() {
    connection->set_events({.on_stream =
                                [this](uint32_t id, const Headers& h) {
                                  log += strf("open:%u:%s ", id, std::string(h.get("streamtype")).c_str());
                                  connection->reply(id);
                                },
                            .on_data =
                                [this](uint32_t id, std::string_view bytes) {
                                  log += strf("data:%u:%zu ", id, bytes.size());
                                  connection->send(id, bytes);
                                },
                            .on_end = [this](uint32_t id) { log += strf("end:%u ", id); },
                            .on_reset = [this](uint32_t id) { log += strf("reset:%u ", id); },
                            .on_close = [this](std::string_view why) { log += "close:" + std::string(why); },
                            .on_drain = {}});
  }
  // What came after the head of the answer.
  std::string_view spdy() const {
    const size_t end = client->got.find("\r\n\r\n");
    return end == std::string::npos ? std::string_view() : std::string_view(client->got).substr(end + 4);
  }
  bool until(const std::function<bool()>& done) { return f->until(done); }
};

const std::string request =
    "POST /exec HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\n\r\n";

}  // namespace

TEST_CASE("a connection is taken over, with the bytes that came along") {
  Served s;
  s.client->stream->write(request + s.c.open(1, "error").data(1, "hello").take());
  REQUIRE(s.until([&] { return s.spdy().size() > 30; }));
  CHECK(s.client->got.starts_with(
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
      "X-Stream-Protocol-Version: v4  Injected: x\r\n\r\n"));
  CHECK_EQ(frames(s.spdy()), "2(1) data(1,hello) ");
  CHECK_EQ(s.f->server->counters().open_connections, 1);
  s.client->stream->write(s.c.ping(1).data(1, "", true).take());
  REQUIRE(s.until([&] { return s.log.find("end:1") != std::string::npos; }));
  REQUIRE(s.until([&] { return frames(s.spdy()).ends_with("6(1) "); }));
  s.client->stream.reset();
  REQUIRE(s.until([&] { return s.log.ends_with("close:"); }));
  s.connection.reset();
  CHECK(s.until([&] { return s.f->server->counters().open_connections == 0; }));
}

TEST_CASE("close: what is sent arrives, and the connection waits for the client") {
  Served s;
  s.client->stream->write(request + s.c.open(1, "stdout").take());
  REQUIRE(s.until([&] { return !s.log.empty(); }));
  s.connection->send(1, "bye");
  s.connection->finish(1);
  s.connection->close();
  s.connection->send(1, "too late");
  REQUIRE(s.until([&] { return frames(s.spdy()) == "2(1) data(1,bye) data(1,,fin) 7(1) "; }));
  s.client->stream->write(s.c.open(3, "ignored").take());
  s.f->spin();
  CHECK_FALSE(s.client->over());
  CHECK_EQ(s.log, "open:1:stdout ");
  s.client->stream->shutdown();
  REQUIRE(s.until([&] { return s.log == "open:1:stdout close:"; }));
  REQUIRE(s.until([&] { return s.client->over(); }));
}

TEST_CASE("violations end the connection with a word of farewell") {
  Served s;
  s.client->stream->write(request + s.c.open(2, "even").take());
  REQUIRE(s.until([&] { return s.log == "close:a stream whose id is not the next of a client"; }));
  REQUIRE(s.until([&] { return s.client->over(); }));
  CHECK_EQ(frames(s.spdy()), "7(0) ");
}

TEST_CASE("a client that pings and does not read gets no more answers") {
  Served s;
  s.client->stream->write(request);
  REQUIRE(s.until([&] { return s.connection != nullptr; }));
  s.client->stream->read_stop();
  for (int i = 0; i < 100'000; ++i) s.c.ping(1);
  const std::string pings = s.c.take();
  for (int i = 0; i < 4; ++i) s.client->stream->write(pings);
  REQUIRE(s.until([&] { return s.client->stream->write_queue_size() == 0; }));
  CHECK_LT(s.connection->write_queue_size(), 128 * 1024);
}

TEST_CASE("reading can be paused, and goes on where it was") {
  Served s;
  s.client->stream->write(request + s.c.open(1, "stdin").take());
  REQUIRE(s.until([&] { return !s.log.empty(); }));
  s.connection->pause_reading(true);
  s.client->stream->write(s.c.data(1, std::string(4'000'000, 'x')).ping(1).take());
  s.f->spin();
  CHECK_GT(s.client->stream->write_queue_size(), 1'000'000);
  CHECK_EQ(s.log, "open:1:stdin ");
  s.connection->pause_reading(false);
  REQUIRE(s.until([&] { return frames(s.spdy()).ends_with("6(1) "); }));
}

TEST_CASE("a callback may destroy the connection") {
  Served s;
  s.client->stream->write(request);
  REQUIRE(s.until([&] { return s.connection != nullptr; }));
  s.connection->set_events({.on_stream = [&s](uint32_t, const Headers&) { s.connection.reset(); },
                            .on_data = {},
                            .on_end = {},
                            .on_reset = {},
                            .on_close = {},
                            .on_drain = {}});
  s.client->stream->write(s.c.open(1, "x").data(1, "y").take());
  REQUIRE(s.until([&] { return s.client->over(); }));
}

TEST_CASE("a stopping server breaks off what was taken over") {
  Served s;
  s.client->stream->write(request + s.c.open(1, "x").take());
  REQUIRE(s.until([&] { return !s.log.empty(); }));
  bool stopped = false;
  s.f->server->shutdown(10'000, [&stopped] { stopped = true; });
  REQUIRE(s.until([&] { return s.log.ends_with("close:the server is stopping"); }));
  s.connection.reset();
  CHECK(s.until([&] { return stopped; }));
}

TEST_CASE("who does not ask for the protocol does not get it") {
  for (const char* wrong : {"Connection: Upgrade\r\nUpgrade: h2c\r\n", "Upgrade: SPDY/3.1\r\n", ""}) {
    Served s;
    s.client->stream->write("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n" + std::string(wrong) +
                            "\r\n");
    REQUIRE(s.until([&] { return s.client->got.find("does not ask for") != std::string::npos; }));
    CHECK(s.client->got.starts_with("HTTP/1.1 400"));
  }
  Served old;
  old.client->stream->write("POST / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n");
  REQUIRE(old.until([&] { return old.client->over(); }));
  CHECK(old.client->got.find("another protocol needs HTTP/1.1") != std::string::npos);
}
