#include <doctest/doctest.h>

#include "base/varint.h"
#include "peer/wire.h"
#include "raft/codec.h"

using namespace limpet;
using namespace limpet::peer;

namespace {

const std::string cluster(16, 'c');

About about() {
  return {0x1122334455667788, 42, "device-1", "limpet 0.4.0", 6444, {"10.0.0.5:6444", "[fd00::5]:6444"}};
}

Hello hello() { return {kMaxVersion, Kind::stream, cluster, 7, 99, about()}; }

std::string envelope(const std::string& body) {
  std::string out = "LIMPET";
  out.push_back(static_cast<char>(body.size() >> 8));
  out.push_back(static_cast<char>(body.size()));
  return out + body;
}

// A hello by hand: the range of versions, then whatever stands behind the head of a good one.
std::string hello_of(uint64_t min, uint64_t max, const std::string& tail = "", uint8_t kind = 5) {
  std::string body;
  put_varint(body, min);
  put_varint(body, max);
  std::string rest = encode(hello()).substr(kEnvelopeHead + 2);
  rest[0] = static_cast<char>(kind);
  return envelope(body + rest + tail);
}

std::string head(uint32_t size, uint8_t type) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(size >> shift));
  out.push_back(static_cast<char>(type));
  return out;
}

}  // namespace

TEST_CASE("hello and answer come back as they went") {
  const std::string bytes = encode(hello());
  CHECK(envelope_size(bytes).value() == bytes.size());
  auto back = decode_hello(bytes);
  REQUIRE_MESSAGE(back, back.error().message);
  CHECK(*back == hello());

  auto yes = decode_answer(encode(Answer{1, about(), std::nullopt}));
  REQUIRE(yes);
  CHECK(yes->version == 1);
  CHECK(yes->about == about());
  CHECK_FALSE(yes->refused);

  auto no = decode_answer(encode(Answer{0, {}, Refusal{Reason::denied, "revoked\n\x1b[2J"}}));
  REQUIRE(no);
  REQUIRE(no->refused);
  CHECK(no->refused->reason == Reason::denied);
  CHECK(no->refused->text == "revoked??[2J");
  no = decode_answer(encode(Answer{0, {}, Refusal{Reason::busy, std::string(5000, 'x')}}));
  CHECK(no->refused->text.size() == 512);
}

TEST_CASE("an envelope is known by its first byte, and never larger than it may be") {
  const std::string good = encode(hello());
  for (size_t n = 0; n < good.size(); ++n) {
    CAPTURE(n);
    CHECK(envelope_size(good.substr(0, n)).value() == 0);
    CHECK_FALSE(decode_hello(good.substr(0, n)));
  }
  struct Row {
    const char* what;
    std::string bytes;
    const char* error;
  };
  using namespace std::string_literals;
  for (const Row& row : {
           Row{"HTTP", "GET / HTTP/1.1\r\n", "what it sent is not the peer protocol"},
           Row{"one byte", "l", "what it sent is not the peer protocol"},
           Row{"a zero", "\0"s, "what it sent is not the peer protocol"},
           Row{"a late difference", "LIMPEX", "what it sent is not the peer protocol"},
           Row{"empty", "LIMPET\0\0"s, "its hello claims 0 bytes (at most 4096)"},
           Row{"too large", "LIMPET\x10\x01"s, "its hello claims 4097 bytes (at most 4096)"},
           Row{"largest claim", "LIMPET\xff\xff"s, "its hello claims 65535 bytes (at most 4096)"},
       }) {
    CAPTURE(row.what);
    auto size = envelope_size(row.bytes);
    REQUIRE_FALSE(size);
    CHECK(size.error().code == Errc::corrupt);
    CHECK(size.error().message == row.error);
  }
  CHECK(envelope_size("LIMPET\x10\x00"s).value() == 0);
}

TEST_CASE("versions: what both know is spoken, and a newer one is told so") {
  struct Row {
    uint64_t min, max;
    const char* tail;
    Errc code;
    const char* error;  // empty: fine
  };
  for (const Row& row : {
           Row{1, 1, "", Errc::internal, ""},
           Row{1, 2, "", Errc::internal, ""},
           Row{2, 9, "", Errc::internal, ""},
           Row{1, 9, "", Errc::internal, ""},
           Row{1, 9, "what version 9 adds", Errc::internal, ""},
           Row{1, 1, "x", Errc::corrupt, "its hello is malformed"},
           Row{1, 2, "x", Errc::corrupt, "its hello is malformed"},
           Row{3, 9, "", Errc::unsupported,
               "it speaks versions 3 to 9 of the peer protocol, this device versions 1 to 2: install the "
               "same "
               "release "
               "of limpet on both"},
           Row{7, 7, "whatever", Errc::unsupported,
               "it speaks version 7 of the peer protocol, this device versions 1 to 2: install the same "
               "release of "
               "limpet on both"},
           Row{0, 1, "", Errc::corrupt, "malformed range of versions"},
           Row{3, 1, "", Errc::corrupt, "malformed range of versions"},
       }) {
    CAPTURE(row.min);
    CAPTURE(row.max);
    CAPTURE(row.tail);
    auto got = decode_hello(hello_of(row.min, row.max, row.tail));
    CHECK(got.has_value() == (*row.error == '\0'));
    if (got) {
      CHECK(got->version == std::min<uint64_t>(row.max, 2));
      continue;
    }
    CHECK(got.error().code == row.code);
    CHECK(got.error().message == row.error);
  }
  for (const uint8_t kind : {0, 6, 255}) {
    auto got = decode_hello(hello_of(1, 2, "", kind));
    REQUIRE_FALSE(got);
    CHECK(got.error().code == Errc::unsupported);
  }
  // A refusal over the version is read in any version, and reasons of later versions are others.
  std::string body;
  put_varint(body, 7);
  put_varint(body, 8);
  body.push_back(static_cast<char>(200));
  put_bytes(body, "not you");
  auto answer = decode_answer(envelope(body + "more"));
  REQUIRE(answer);
  CHECK(answer->refused->reason == Reason::other);
  CHECK(answer->refused->text == "not you");
}

TEST_CASE("a hello with one member wrong is malformed") {
  struct Row {
    const char* what;
    Hello hello;
  };
  const auto with = [](auto change) {
    Hello h = hello();
    change(h);
    return h;
  };
  for (const Row& row : {
           Row{"short cluster id", with([](Hello& h) { h.cluster.resize(15); })},
           Row{"no cluster id", with([](Hello& h) { h.cluster.clear(); })},
           Row{"no name", with([](Hello& h) { h.about.name.clear(); })},
           Row{"name with a line break", with([](Hello& h) { h.about.name = "a\nb"; })},
           Row{"name in capitals", with([](Hello& h) { h.about.name = "Device"; })},
           Row{"name with a slash", with([](Hello& h) { h.about.name = "../etc"; })},
           Row{"long name", with([](Hello& h) { h.about.name.assign(254, 'a'); })},
           Row{"long address", with([](Hello& h) { h.about.addresses = {std::string(261, 'a')}; })},
       }) {
    CAPTURE(row.what);
    auto got = decode_hello(encode(row.hello));
    REQUIRE_FALSE(got);
    CHECK(got.error().code == Errc::corrupt);
  }
  // Cut or changed anywhere: never more than an error.
  const std::string good = encode(hello());
  size_t accepted = 0;
  for (size_t i = kEnvelopeHead; i < good.size(); ++i) {
    decode_hello(envelope(good.substr(kEnvelopeHead, i - kEnvelopeHead))).has_value() ? ++accepted : 0;
    for (const char c : {'\0', '\x7f', '\xff'}) {
      std::string bad = good;
      bad[i] = c;
      if (auto got = decode_hello(bad)) CHECK(decode_hello(encode(*got)));
    }
  }
  CHECK(accepted == 0);
}

TEST_CASE("frames come back whole, whatever pieces they arrive in") {
  const std::string bytes = frame(FrameType::raft, "one") + frame(FrameType::raft, "") +
                            frame(FrameType::raft, std::string(100'000, 'z')) +
                            frame(FrameType::raft, "four");
  for (const size_t piece : {size_t{1}, size_t{3}, size_t{4096}, bytes.size()}) {
    CAPTURE(piece);
    FrameReader reader(Kind::raft);
    std::vector<std::string> got;
    for (size_t at = 0; at < bytes.size(); at += piece) {
      reader.add(std::string_view(bytes).substr(at, piece));
      for (;;) {
        auto next = reader.next();
        REQUIRE(next);
        if (!*next) break;
        CHECK((*next)->type == FrameType::raft);
        got.emplace_back((*next)->payload);
      }
    }
    CHECK((got == std::vector<std::string>{"one", "", std::string(100'000, 'z'), "four"}));
    CHECK(reader.held() == 0);
  }
}

TEST_CASE("a frame that may not be is an error, for good, and takes no memory") {
  struct Row {
    Kind kind;
    std::string bytes;
    Errc code;
    const char* error;
  };
  for (const Row& row : {
           Row{Kind::raft, head(0, 1), Errc::corrupt, "a frame claims 0 bytes (1 to 33554433)"},
           Row{Kind::raft, head(0xffffffff, 1), Errc::corrupt,
               "a frame claims 4294967295 bytes (1 to 33554433)"},
           Row{Kind::raft, head(33554434, 1), Errc::corrupt, "a frame claims 33554434 bytes (1 to 33554433)"},
           Row{Kind::agent, head(65538, 16), Errc::corrupt, "a frame claims 65538 bytes (1 to 65537)"},
           Row{Kind::raft, head(5, 2), Errc::unsupported,
               "a frame of type 2 has no place on a connection of kind raft"},
           Row{Kind::raft, head(5, 16), Errc::unsupported,
               "a frame of type 16 has no place on a connection of kind raft"},
           Row{Kind::agent, head(5, 1), Errc::unsupported,
               "a frame of type 1 has no place on a connection of kind agent"},
           Row{Kind::agent, head(5, 21), Errc::unsupported,
               "a frame of type 21 has no place on a connection of kind agent"},
           Row{Kind::api, head(5, 1), Errc::unsupported,
               "a frame of type 1 has no place on a connection of kind api"},
       }) {
    CAPTURE(row.error);
    FrameReader reader(row.kind);
    reader.add(row.bytes);
    for (int i = 0; i < 2; ++i) {
      auto next = reader.next();
      REQUIRE_FALSE(next);
      CHECK(next.error().code == row.code);
      CHECK(next.error().message == row.error);
      reader.add("more");
    }
  }
  FrameReader reader(Kind::raft);
  reader.add(head(32u << 20, 1));
  CHECK_FALSE(reader.next()->has_value());
  CHECK(reader.held() == kFrameHead);
}

TEST_CASE("every raft message fits into a frame") { CHECK(kMaxRaft == raft::kMaxMessage); }

TEST_CASE("control messages come back as they went") {
  const Servers roll{{{1, "a", {"10.0.0.1:6444"}, 6443}, {2, "b.site", {}, 8443}}};
  for (const ControlMessage& message :
       {ControlMessage(Ping{7}), ControlMessage(Pong{UINT64_MAX}), ControlMessage(roll),
        ControlMessage(Servers{}), ControlMessage(OpenStream{99, Purpose::node_service}),
        ControlMessage(Authorities{{std::string(64, 'a'), std::string(64, '0')}})}) {
    FrameReader reader(Kind::agent);
    reader.add(encode(message));
    auto next = reader.next();
    REQUIRE(next);
    REQUIRE(*next);
    auto back = decode_control(**next);
    REQUIRE_MESSAGE(back, back.error().message);
    CHECK((*back == message));
  }
}

TEST_CASE("malformed control messages are refused") {
  using namespace std::string_literals;
  struct Row {
    FrameType type;
    std::string payload;
  };
  std::string many;
  put_varint(many, 65);
  for (const Row& row : {
           Row{FrameType::ping, ""}, Row{FrameType::ping, "\x01x"}, Row{FrameType::pong, "\x80"},
           Row{FrameType::open_stream, "\x01"}, Row{FrameType::open_stream, "\x00\x01"s},  // no id
           Row{FrameType::open_stream, "\x01\x02"},      // an unknown purpose
           Row{FrameType::open_stream, "\x01\x01\x01"},  // more than there is
           Row{FrameType::servers, ""}, Row{FrameType::servers, many}, Row{FrameType::servers, "\x01"},
           Row{FrameType::servers,
               "\x01\x00\x01"s
               "a\x01\x00"s},  // member 0
           Row{FrameType::servers,
               "\x01\x01\x01"s
               "A\x01\x00"s},  // a name that is none
           Row{FrameType::servers,
               "\x01\x01\x01"s
               "a\x00\x00"s},  // port 0
           Row{FrameType::servers,
               "\x01\x01\x01"s
               "a\x01\x09"s},  // nine addresses
       }) {
    CAPTURE(static_cast<int>(row.type));
    CAPTURE(row.payload);
    auto got = decode_control({row.type, row.payload});
    REQUIRE_FALSE(got);
    CHECK(got.error().code == Errc::corrupt);
  }
}

TEST_CASE("every reason and kind has a name of its own") {
  std::vector<std::string> seen;
  for (size_t i = 0; i < kReasons; ++i) {
    const std::string name = reason_name(static_cast<Reason>(i));
    CHECK(std::find(seen.begin(), seen.end(), name) == seen.end());
    seen.push_back(name);
  }
  CHECK(std::string(reason_name(Reason::other)) == "other");
  CHECK(std::string(kind_name(Kind::stream)) == "stream");
  CHECK(between_servers(Kind::node));
  CHECK_FALSE(between_servers(Kind::agent));
}
