// Who is not let in, and what is said about it on both sides.
#include "base/varint.h"
#include "support.h"

using namespace limpet;
using namespace limpet::peer_test;

namespace {

const std::string good = encode(hello_of(2, "b"));

std::string with_versions(uint64_t min, uint64_t max) {
  std::string body;
  put_varint(body, min);
  put_varint(body, max);
  body += good.substr(kEnvelopeHead + 2);
  std::string out = "LIMPET";
  out.push_back(static_cast<char>(body.size() >> 8));
  out.push_back(static_cast<char>(body.size()));
  return out + body;
}

std::string head(uint32_t size, uint8_t type) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(size >> shift));
  out.push_back(static_cast<char>(type));
  return out;
}

std::string changed(const std::function<void(Hello&)>& change) {
  Hello hello = hello_of(2, "b");
  change(hello);
  return encode(hello);
}

}  // namespace

TEST_CASE("a hello that does not fit is answered with the reason, counted, and the connection closed") {
  using namespace std::string_literals;
  Site site;
  Device a(site, 1, "a");
  a.peers->set_members({{2, "b", {}}, {3, "d", {}}});
  const Credentials b = site.credentials("b");
  const Credentials agent = site.credentials("b", false);
  tls_test::Pair admin = site.ca.issue({"limpet-admin", {"system:masters"}}, {}, pki::Use::client);
  const Credentials user{admin.certificate, admin.key, ""};
  struct Row {
    const char* what;
    const Credentials& own;
    std::string bytes;
    Reason reason;
    const char* text;
  };
  for (const Row& row : {
           Row{"garbage", b, std::string(5000, '\xee'), Reason::malformed,
               "what it sent is not the peer protocol"},
           Row{"HTTP", b, "GET /api HTTP/1.1\r\n\r\n", Reason::malformed,
               "what it sent is not the peer protocol"},
           Row{"empty hello", b, "LIMPET\0\0"s, Reason::malformed, "its hello claims 0 bytes (at most 4096)"},
           Row{"huge hello", b, "LIMPET\xff\xff"s, Reason::malformed,
               "its hello claims 65535 bytes (at most 4096)"},
           Row{"half a hello of nonsense", b, "LIMPET\0\x03\x01\x01\x01"s, Reason::malformed,
               "its hello is malformed"},
           Row{"newer version", b, with_versions(3, 4), Reason::version,
               "it speaks versions 3 to 4 of the peer protocol, this device versions 1 to 2: install the "
               "same "
               "release of "
               "limpet on both"},
           Row{"unknown kind", b, changed([](Hello& h) { h.kind = static_cast<Kind>(77); }), Reason::version,
               "it wants a connection of kind 77, which this device does not know"},
           Row{"another cluster", b, changed([](Hello& h) { h.cluster.assign(16, '\x01'); }), Reason::cluster,
               "device b is of cluster 01010101, this one (a) of cluster 63636363"},
           Row{"an agent as a server", agent, good, Reason::not_a_server,
               "device b has the certificate of an agent; connections of kind raft are for servers"},
           Row{"another name", b, changed([](Hello& h) { h.about.name = "d"; }), Reason::name,
               "the certificate is for device b, the hello says d"},
           Row{"another one's id", b, changed([](Hello& h) { h.about.member = 3; }), Reason::name,
               "member 0000000000000003 is device d, not b"},
           Row{"a user", user, good, Reason::certificate,
               "the certificate of 'limpet-admin' is not one of a device"},
           Row{"nobody",
               {},
               "",
               Reason::certificate,
               "it showed no certificate; every device of a cluster has one"},
           Row{"for another member", b, changed([](Hello& h) { h.wanted = 9; }), Reason::not_me,
               "device a is member 0000000000000001 now, not 0000000000000009"},
           Row{"a copy of this store", b, changed([](Hello& h) { h.about.member = 1; }), Reason::my_own_id,
               "device b has the member id of device a (0000000000000001): one of the two runs on a copy of "
               "the "
               "other's store; remove the copy and join anew"},
           Row{"raft of nobody", b, changed([](Hello& h) { h.about.member = 0; }), Reason::malformed,
               "a raft connection needs the id of a member"},
       }) {
    CAPTURE(row.what);
    const uint64_t before = a.refused(row.reason);
    Raw raw(site, a.peers->port(), row.own, "a");
    if (!row.bytes.empty()) raw.write(row.bytes);
    const auto answer = raw.answer();
    REQUIRE_MESSAGE(answer, raw.error);
    REQUIRE(answer->refused);
    CHECK(answer->refused->reason == row.reason);
    CHECK(answer->refused->text == row.text);
    CHECK(raw.closed());
    CHECK(a.refused(row.reason) == before + 1);
  }
  CHECK(a.got.empty());
  CHECK(a.streams.empty());
  CHECK(a.to(2).incoming_connects == 0);
}

TEST_CASE("what is no frame of raft ends the connection after its hello; memory is not taken for it") {
  Site site;
  Device a(site, 1, "a");
  a.peers->set_members({{2, "b", {}}});
  const Credentials b = site.credentials("b");
  struct Row {
    const char* what;
    std::string bytes;
    size_t messages;  // that arrive before
  };
  for (const Row& row : {
           Row{"length 4 GiB", head(0xffffffff, 1), 0},
           Row{"length 0", head(0, 1), 0},
           Row{"one more than there may be", head((32u << 20) + 2, 1), 0},
           Row{"an unknown type", head(2, 9) + "x", 0},
           Row{"an agent's type", encode(ControlMessage(Ping{1})), 0},
           Row{"garbage after a message", frame(FrameType::raft, "fine") + std::string(100, '\xff'), 1},
           Row{"a second hello", frame(FrameType::raft, "fine") + good, 1},
       }) {
    CAPTURE(row.what);
    a.got.clear();
    const uint64_t before = a.refused(Reason::malformed);
    Raw raw(site, a.peers->port(), b, "a");
    raw.write(good + row.bytes);
    const auto answer = raw.answer();
    REQUIRE(answer);
    CHECK_FALSE(answer->refused);
    CHECK(answer->about.name == "a");
    CHECK(answer->about.port == a.peers->port());
    CHECK(raw.closed());
    CHECK(a.got.size() == row.messages);
    CHECK(a.refused(Reason::malformed) == before + 1);
    CHECK_FALSE(a.to(2).incoming);
  }
}

TEST_CASE("the owner's judgement counts, at first and later") {
  Site site;
  Device a(site, 1, "a");
  a.peers->set_members({{2, "b", {}}});
  const Credentials b = site.credentials("b");
  const std::string serial = pki::parse_certificate(b.certificate_pem)->serial;
  std::string denied;
  a.judge = [&](const Caller& caller) -> std::optional<Refusal> {
    CHECK(caller.server);
    CHECK(caller.address.starts_with("127.0.0.1:"));
    if (caller.certificate.serial != denied) return std::nullopt;
    return Refusal{Reason::denied, "its certificate was revoked"};
  };
  Raw raft(site, a.peers->port(), b, "a"), api(site, a.peers->port(), b, "a");
  raft.write(good);
  api.write(encode(hello_of(2, "b", Kind::api)));
  REQUIRE(raft.answer());
  REQUIRE(api.answer());
  REQUIRE(a.streams.size() == 1);
  std::string error;
  loop::Stream::Events events;
  events.on_error = [&](const Error& e) { error = e.message; };
  a.streams[0].second->set_events(std::move(events));
  a.streams[0].second->read_start();
  a.peers->recheck();
  site.settle();
  CHECK(error == "");
  CHECK(a.to(2).incoming);

  denied = serial;
  a.peers->recheck();
  CHECK_FALSE(a.to(2).incoming);
  CHECK(raft.closed());
  CHECK(api.closed());
  REQUIRE(site.until([&] { return !error.empty(); }));
  CHECK(error == "the connection was cut: its certificate was revoked");
  a.streams[0].second->write("into nothing");
  CHECK(a.streams[0].second->write_queue_size() == 0);
  CHECK(a.refused(Reason::denied) == 2);
  a.streams.clear();
  CHECK(a.peers->stats().open[static_cast<size_t>(Kind::api)] == 0);

  Raw again(site, a.peers->port(), b, "a");
  again.write(good);
  const auto answer = again.answer();
  REQUIRE(answer);
  REQUIRE(answer->refused);
  CHECK(answer->refused->reason == Reason::denied);
  Raw renewed(site, a.peers->port(), site.credentials("b"), "a");
  renewed.write(good);
  CHECK_FALSE(renewed.answer()->refused);
}

TEST_CASE("of two connections of one member the newer counts") {
  Site site;
  Device a(site, 1, "a");
  a.peers->set_members({{2, "b", {}}});
  const Credentials b = site.credentials("b");
  Raw first(site, a.peers->port(), b, "a");
  first.write(good + frame(FrameType::raft, "one") + frame(FrameType::raft, "two").substr(0, 6));
  REQUIRE(first.answer());
  REQUIRE(site.until([&] { return a.got.size() == 1; }));
  Raw second(site, a.peers->port(), b, "a");
  second.write(good + frame(FrameType::raft, "three"));
  REQUIRE(second.answer());
  CHECK(first.closed());
  REQUIRE(site.until([&] { return a.got.size() == 2; }));
  CHECK(a.got[1].second == "three");
  CHECK(a.to(2).incoming);
  CHECK(a.to(2).incoming_connects == 2);
  CHECK(a.to(2).messages_in == 2);
  CHECK(a.peers->stats().open[static_cast<size_t>(Kind::raft)] == 1);
}

TEST_CASE("silence before the hello ends, in TLS and after it") {
  Site site;
  PeersOptions options = site.options(1, "a");
  options.timing.hello_ms = 50;
  Device a(site, options);
  loop::Connect connect;
  std::unique_ptr<loop::Stream> tcp;
  bool cut = false;
  connect.tcp(site.loop, "127.0.0.1", a.peers->port(), limit_ms, [&](auto stream) {
    tcp = std::move(*stream);
    tcp->set_events({.on_read = {},
                     .on_eof = [&] { cut = true; },
                     .on_error = [&](const Error&) { cut = true; },
                     .on_drain = {}});
    tcp->read_start();
  });
  REQUIRE(site.until([&] { return cut; }));
  CHECK(a.refused(Reason::silent) == 1);

  options.timing.hello_ms = 2'000;  // enough for TLS
  Device c(site, options);
  Raw raw(site, c.peers->port(), site.credentials("b"), "a");
  raw.write("LIMP");  // and no more
  const auto answer = raw.answer();
  REQUIRE(answer);
  CHECK(answer->refused->reason == Reason::malformed);
  CHECK(answer->refused->text == "no hello came within 2000 ms");
  CHECK(raw.closed());
  CHECK(c.refused(Reason::silent) == 1);
  CHECK(c.peers->stats().greeting == 0);
}

TEST_CASE("a handshake that takes longer than a hello may is let through, and the hello has its own time") {
  Site site;
  PeersOptions options = site.options(1, "a");
  options.timing.hello_ms = 1'000;
  Device a(site, options);
  a.peers->set_members({{2, "b", {}}});
  loop::Connect connect;
  loop::Timer slow(site.loop, "slow");
  std::unique_ptr<tls::ClientContext> context;
  std::unique_ptr<tls::Handshake> handshake;
  std::unique_ptr<tls::Stream> stream;
  std::string received, error;
  tls::ClientOptions client;
  const Credentials own = site.credentials("b");
  client.ca_pem = own.ca_pem;
  client.certificate_pem = own.certificate_pem;
  client.key_pem = own.key_pem;
  context = std::move(tls::ClientContext::make(site.engine, client).value());
  connect.tcp(site.loop, "127.0.0.1", a.peers->port(), limit_ms, [&](auto tcp) {
    REQUIRE(tcp);
    slow.start(1'500, [&, held = std::make_shared<std::unique_ptr<loop::Stream>>(std::move(*tcp))] {
      handshake = tls::wrap_client(*context, std::move(*held), "a.servers.limpet", [&](auto secured) {
        if (!secured) {
          error = secured.error().message;
          return;
        }
        stream = std::move(*secured);
        stream->set_events({.on_read = [&](std::string_view bytes) { received += bytes; },
                            .on_eof = {},
                            .on_error = {},
                            .on_drain = {}});
        stream->read_start();
        stream->write(good);
      });
    });
  });
  REQUIRE(site.until([&] { return !received.empty() || !error.empty(); }));
  CHECK(error == "");
  CHECK_FALSE(decode_answer(received)->refused);
}

TEST_CASE("many who say nothing give way to one who does") {
  Site site;
  PeersOptions options = site.options(1, "a");
  options.limits.greeting = 4;
  Device a(site, options);
  a.peers->set_members({{2, "b", {}}});
  std::vector<std::unique_ptr<loop::Connect>> connects;
  std::vector<std::unique_ptr<loop::Stream>> silent;
  size_t cut = 0;
  for (int i = 0; i < 20; ++i) {
    connects.push_back(std::make_unique<loop::Connect>());
    connects.back()->tcp(site.loop, "127.0.0.1", a.peers->port(), limit_ms, [&](auto stream) {
      REQUIRE(stream);
      silent.push_back(std::move(*stream));
      silent.back()->set_events({.on_read = {},
                                 .on_eof = [&] { ++cut; },
                                 .on_error = [&](const Error&) { ++cut; },
                                 .on_drain = {}});
      silent.back()->read_start();
    });
  }
  REQUIRE(site.until([&] { return cut == 16; }));
  CHECK(a.peers->stats().greeting == 4);
  CHECK(a.refused(Reason::busy) == 16);
  Raw raw(site, a.peers->port(), site.credentials("b"), "a");
  raw.write(good);
  REQUIRE(raw.answer());
  CHECK_FALSE(raw.answer()->refused);

  // Those who have shown a certificate keep their place until their time is over.
  std::vector<std::unique_ptr<Raw>> slow;
  for (int i = 0; i < 4; ++i) {
    slow.push_back(std::make_unique<Raw>(site, a.peers->port(), site.credentials("b"), "a"));
    REQUIRE(slow.back()->stream);
  }
  site.settle();
  CHECK(a.peers->stats().greeting == 4);
  Raw late(site, a.peers->port(), site.credentials("b"), "a");
  CHECK(late.closed());
  CHECK_FALSE(late.stream);
  for (auto& one : slow) one->write(good);
  for (auto& one : slow) CHECK(one->answer());
}

TEST_CASE("connections handed over are bounded; raft is not kept out by them") {
  Site site;
  PeersOptions options = site.options(1, "a");
  options.limits.connections = 2;
  Device a(site, options);
  a.peers->set_members({{2, "b", {}}});
  const Credentials b = site.credentials("b");
  const auto hello = encode(hello_of(0, "b", Kind::agent));
  Raw one(site, a.peers->port(), b, "a"), two(site, a.peers->port(), b, "a"),
      three(site, a.peers->port(), b, "a"), raft(site, a.peers->port(), b, "a");
  for (Raw* raw : {&one, &two, &three}) {
    raw->write(hello);
    REQUIRE(raw->answer());
  }
  CHECK_FALSE(two.answer()->refused);
  REQUIRE(three.answer()->refused);
  CHECK(three.answer()->refused->reason == Reason::busy);
  CHECK(three.answer()->refused->text == "device a has as many connections as it may (2)");
  raft.write(good);
  CHECK_FALSE(raft.answer()->refused);
  CHECK(a.peers->stats().open[static_cast<size_t>(Kind::agent)] == 2);
  a.streams.pop_back();
  Raw four(site, a.peers->port(), b, "a");
  four.write(hello);
  CHECK_FALSE(four.answer()->refused);
}

TEST_CASE("a peer that is refused again and again is logged once a minute, and counted") {
  Site site;
  Device a(site, 1, "a");
  LogLines lines;
  const Credentials b = site.credentials("b");
  for (int i = 0; i < 5; ++i) {
    Raw raw(site, a.peers->port(), b, "a");
    raw.write("nonsense");
    REQUIRE(raw.answer());
  }
  CHECK(a.refused(Reason::malformed) == 5);
  CHECK(LogLines::count("a peer was refused") == 1);
  CHECK(LogLines::count("peer=system:node:b") == 1);
  CHECK(LogLines::count("reason=malformed") == 1);
  // Somebody else has a line of his own.
  Raw other(site, a.peers->port(), site.credentials("c"), "a");
  other.write("nonsense");
  REQUIRE(other.answer());
  CHECK(LogLines::count("a peer was refused") == 2);
}

TEST_CASE("what somebody recorded of a connection and sends again is no connection") {
  Site site;
  Device a(site, 1, "a");
  a.peers->set_members({{2, "b", {}}});
  // Stands between, and writes down what the dialler says.
  std::string recorded;
  std::unique_ptr<loop::Stream> near, far;
  loop::Connect onward;
  const auto copy = [](loop::Stream& from, loop::Stream& to, std::string* record) {
    from.set_events({.on_read =
                         [&to, record](std::string_view bytes) {
                           if (record) record->append(bytes);
                           to.write(std::string(bytes));
                         },
                     .on_eof = [&to] { to.shutdown(); },
                     .on_error = {},
                     .on_drain = {}});
    from.read_start();
  };
  const auto between =
      std::move(loop::Listener::tcp(site.loop, "127.0.0.1", 0, [&](std::unique_ptr<loop::Stream> tcp) {
                  near = std::move(tcp);
                  onward.tcp(site.loop, "127.0.0.1", a.peers->port(), limit_ms, [&](auto stream) {
                    REQUIRE(stream);
                    far = std::move(*stream);
                    copy(*near, *far, &recorded);
                    copy(*far, *near, nullptr);
                  });
                }).value());
  Raw first(site, between->port(), site.credentials("b"), "a");
  first.write(good + frame(FrameType::raft, "vote for me"));
  REQUIRE(first.answer());
  REQUIRE(site.until([&] { return a.got.size() == 1; }));

  LogLines lines;
  for (uint64_t times = 1; times <= 2; ++times) {
    loop::Connect connect;
    std::unique_ptr<loop::Stream> again;
    bool closed = false;
    connect.tcp(site.loop, "127.0.0.1", a.peers->port(), limit_ms, [&](auto stream) {
      REQUIRE(stream);
      again = std::move(*stream);
      again->set_events({.on_read = {},
                         .on_eof = [&] { closed = true; },
                         .on_error = [&](const Error&) { closed = true; },
                         .on_drain = {}});
      again->read_start();
      again->write(recorded);
    });
    REQUIRE(site.until([&] { return closed; }));
    CHECK(a.refused(Reason::handshake) == times);
  }
  CHECK(a.got.size() == 1);
  CHECK(a.to(2).incoming_connects == 1);
  CHECK(LogLines::count("a peer was refused") == 1);
  CHECK(LogLines::count("reason=handshake") == 1);
}

TEST_CASE("a connection that ends in the middle of its hello is counted, not judged") {
  Site site;
  Device a(site, 1, "a");
  a.judge = [](const Caller&) -> std::optional<Refusal> {
    FAIL("judged");
    return std::nullopt;
  };
  auto raw = std::make_unique<Raw>(site, a.peers->port(), site.credentials("b"), "a");
  raw->write(good.substr(0, 20));
  raw->stream->shutdown();
  REQUIRE(site.until([&] { return a.refused(Reason::malformed) == 1; }));
  raw = std::make_unique<Raw>(site, a.peers->port(), site.credentials("b"), "a");
  raw->write(good.substr(0, 20));
  site.settle();
  raw.reset();
  REQUIRE(site.until([&] { return a.refused(Reason::malformed) == 2; }));
  CHECK(a.peers->stats().greeting == 0);
}
