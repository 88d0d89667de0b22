// Two and three devices with each other.
#include "base/failpoint.h"
#include "support.h"

using namespace limpet;
using namespace limpet::peer_test;

TEST_CASE("two devices: messages arrive in order, in both directions, of any size") {
  Site site;
  Device a(site, 1, "a"), b(site, 2, "b");
  introduce({&a, &b});
  require_up(site, a, 2);
  require_up(site, b, 1);
  std::vector<std::pair<MemberId, std::string>> sent;
  for (int i = 0; i < 200; ++i) sent.emplace_back(1, "message " + std::to_string(i));
  sent.emplace_back(1, std::string());
  sent.emplace_back(1, std::string(3 << 20, 'x'));
  for (const auto& [from, bytes] : sent) a.peers->send(2, bytes);
  b.peers->send(1, "back");
  REQUIRE(site.until([&] { return b.got.size() == sent.size() && a.got.size() == 1; }));
  CHECK((b.got == sent));
  CHECK((a.got[0] == std::pair<MemberId, std::string>(2, "back")));

  const PeerStats out = a.to(2);
  const PeerStats in = b.to(1);
  CHECK(out.name == "b");
  CHECK(out.address == b.address());
  CHECK(out.software == "limpet test");
  CHECK(out.connects == 1);
  CHECK(out.messages_out == sent.size());
  CHECK(out.messages_dropped == 0);
  CHECK(out.bytes_out > 3 << 20);
  CHECK(out.up_since_ms >= 0);
  CHECK(out.last_contact_ms >= out.up_since_ms);
  CHECK(in.messages_in == sent.size());
  CHECK(in.bytes_in == out.bytes_out);
  CHECK(in.incoming);
  CHECK(in.incoming_connects == 1);
  CHECK(b.peers->stats().open[static_cast<size_t>(Kind::raft)] == 1);
  CHECK(b.peers->stats().accepted == 1);
}

TEST_CASE("a message as large as raft makes them goes into an empty queue") {
  Site site;
  Device a(site, 1, "a"), b(site, 2, "b");
  introduce({&a, &b});
  require_up(site, a, 2);
  a.peers->send(2, std::string(kMaxRaft, 'm'));
  REQUIRE(site.until([&] { return b.got.size() == 1; }));
  CHECK(b.got[0].second.size() == kMaxRaft);
  CHECK(a.to(2).messages_dropped == 0);
}

TEST_CASE("three devices reach each other; an idle connection carries nothing") {
  Site site;
  Device a(site, 1, "a"), b(site, 2, "b"), c(site, 3, "c");
  const std::vector<Device*> all = {&a, &b, &c};
  introduce(all);
  for (Device* from : all) {
    for (Device* to : all) {
      if (from == to) continue;
      require_up(site, *from, to->options.self);
      from->peers->send(to->options.self, from->options.name + to->options.name);
    }
  }
  REQUIRE(site.until([&] { return a.got.size() == 2 && b.got.size() == 2 && c.got.size() == 2; }));
  const auto traffic = [&] {
    uint64_t sum = 0;
    for (Device* d : all) {
      for (const PeerStats& p : d->peers->stats().peers) {
        sum += p.bytes_in + p.bytes_out + p.messages_in + p.messages_out;
      }
    }
    return sum;
  };
  const uint64_t before = traffic();
  CHECK(before == 6 * (7 + 7 + 2));  // in and out: 5 + 2 bytes each, one message
  site.loop.run_until([] { return false; }, 100);
  CHECK(traffic() == before);
  for (Device* d : all) CHECK(d->unreachable.empty());
}

TEST_CASE("a device that is gone is left, and reached again when it comes back") {
  Site site;
  Device a(site, 1, "a");
  auto b = std::make_unique<Device>(site, 2, "b");
  introduce({&a, b.get()});
  require_up(site, a, 2);
  PeersOptions again = b->options;
  again.port = b->peers->port();
  b.reset();
  REQUIRE(site.until([&] { return !a.up(2); }));
  REQUIRE(site.until([&] { return a.to(2).failures >= 3; }));
  CHECK(a.unreachable[2] >= 1);
  CHECK_MESSAGE(a.to(2).last_error.find("127.0.0.1:") == 0, a.to(2).last_error);
  CHECK_FALSE(a.to(2).incoming);
  const int told = a.unreachable[2];
  a.peers->send(2, "lost");
  CHECK(a.unreachable[2] == told);  // not from inside
  REQUIRE(site.until([&] { return a.unreachable[2] > told; }));
  CHECK(a.to(2).messages_dropped >= 1);

  Device back(site, again);
  back.peers->set_members({a.member(), back.member()});
  require_up(site, a, 2);
  a.peers->send(2, "found");
  REQUIRE(site.until([&] { return !back.got.empty(); }));
  CHECK(back.got[0].second == "found");
  CHECK(a.to(2).connects >= 2);
  CHECK_FALSE(a.to(2).last_error.empty());  // what it was, for people
}

TEST_CASE("a device that moves is followed, and its owner's peers are told") {
  Site site;
  Device a(site, 1, "a");
  auto b = std::make_unique<Device>(site, 2, "b");
  introduce({&a, b.get()});
  require_up(site, a, 2);
  const std::string old = b->address();
  PeersOptions elsewhere = b->options;
  b.reset();
  REQUIRE(site.until([&] { return !a.up(2); }));
  RawServer occupied(site, site.credentials("other"));  // so that the port of before is not taken again

  Device moved(site, elsewhere);
  REQUIRE(moved.address() != old);
  REQUIRE(moved.peers->set_addresses({"127.0.0.2:1", moved.address()}));
  moved.peers->set_members({a.member(), moved.member()});
  require_up(site, a, 2);
  CHECK(a.to(2).address == moved.address());
  REQUIRE(site.until([&] { return !a.learned.empty(); }));
  CHECK((a.learned.back() == Member{2, "b", {"127.0.0.2:1", moved.address()}}));
  a.peers->send(2, "found");
  REQUIRE(site.until([&] { return !moved.got.empty(); }));
}

TEST_CASE("new addresses of this device are told to everybody at once") {
  Site site;
  Device a(site, 1, "a"), b(site, 2, "b");
  introduce({&a, &b});
  require_up(site, a, 2);
  require_up(site, b, 1);
  const size_t before = b.learned.size();
  REQUIRE(a.peers->set_addresses({"192.0.2.77", a.address()}));
  REQUIRE(site.until([&] { return b.learned.size() > before; }));
  CHECK((b.learned.back().addresses == std::vector<std::string>{"192.0.2.77:6444", a.address()}));
  require_up(site, a, 2);
  CHECK(a.to(2).connects == 2);
  REQUIRE(a.peers->set_addresses({"192.0.2.77:6444", a.address()}));  // the same
  site.settle();
  CHECK(a.to(2).connects == 2);
  CHECK(a.peers->set_addresses({"no address"}).error().code == Errc::invalid_argument);
  CHECK(a.peers->set_addresses({"a", "b", "c", "d", "e", "f", "g", "h", "i"}).error().message ==
        "a device announces at most 8 addresses to its peers, not 9");
}

TEST_CASE("a dead address does not keep a device from the one that works") {
  Site site;
  Device a(site, 1, "a"), b(site, 2, "b");
  // Nobody listens on the first; the second is another device.
  RawServer other(site, site.credentials("other"));
  a.peers->set_members({{2, "b", {"127.0.0.1:1", other.address(), b.address()}}});
  require_up(site, a, 2);
  CHECK(a.to(2).address == b.address());
  CHECK(a.to(2).failures == 0);
  // The next time it goes where it was let in.
  REQUIRE(a.peers->set_addresses({a.address()}));
  REQUIRE(site.until([&] { return a.to(2).connects == 2; }));
  CHECK(other.streams.size() + other.handshakes.size() == 1);
}

TEST_CASE("a member that leaves is closed, one that comes is dialled") {
  Site site;
  Device a(site, 1, "a"), b(site, 2, "b"), c(site, 3, "c");
  introduce({&a, &b});
  require_up(site, a, 2);
  require_up(site, b, 1);
  a.judge = [](const Caller& caller) -> std::optional<Refusal> {
    if (caller.about.member == 2) return Refusal{Reason::removed, "device b was removed"};
    return std::nullopt;
  };
  a.peers->set_members({a.member(), c.member()});
  CHECK(a.to(2).member == 0);
  REQUIRE(site.until([&] { return b.to(1).last_error.find("device b was removed") != std::string::npos; }));
  CHECK(b.to(1).refused[static_cast<size_t>(Reason::removed)] >= 1);
  CHECK(a.refused(Reason::removed) >= 1);
  c.peers->set_members({a.member()});
  require_up(site, a, 3);
  a.peers->send(2, "to nobody");
  a.peers->send(3, "to c");
  REQUIRE(site.until([&] { return !c.got.empty(); }));
  CHECK(b.got.empty());
}

TEST_CASE("while the owner wants no messages none is read, and none is lost") {
  Site site;
  Device a(site, 1, "a"), b(site, 2, "b");
  introduce({&a, &b});
  require_up(site, a, 2);
  b.peers->pause_raft(true);
  for (int i = 0; i < 50; ++i) a.peers->send(2, std::to_string(i));
  a.peers->send(2, std::string(1 << 20, 'x'));
  site.loop.run_until([] { return false; }, 50);
  CHECK(b.got.empty());
  CHECK(a.up(2));
  b.peers->pause_raft(false);
  REQUIRE(site.until([&] { return b.got.size() == 51; }));
  for (int i = 0; i < 50; ++i) CHECK(b.got[i].second == std::to_string(i));
}

TEST_CASE("a pause from inside a message holds what came with it") {
  Site site;
  Device a(site, 1, "a");
  PeersCallbacks callbacks;
  std::vector<std::string> got;
  std::unique_ptr<Peers> b;
  callbacks.on_raft = [&](MemberId, std::string_view bytes) {
    got.emplace_back(bytes);
    b->pause_raft(true);
  };
  callbacks.judge = [](const Caller&) { return std::nullopt; };
  callbacks.on_stream = [](const Caller&, std::unique_ptr<loop::Stream>) {};
  b = std::move(
      Peers::make(site.loop, site.engine, site.clock, site.random, site.options(2, "b"), callbacks).value());
  a.peers->set_members({{2, "b", {"127.0.0.1:" + std::to_string(b->port())}}});
  require_up(site, a, 2);
  for (const char* text : {"one", "two", "three"}) a.peers->send(2, text);  // in one record
  for (size_t n = 1; n <= 3; ++n) {
    REQUIRE(site.until([&] { return got.size() == n; }));
    site.settle();
    CHECK(got.size() == n);
    b->pause_raft(false);
  }
  CHECK((got == std::vector<std::string>{"one", "two", "three"}));
}

TEST_CASE("a new certificate counts for new connections, and those that are up stay") {
  Site site;
  Device a(site, 1, "a"), b(site, 2, "b");
  introduce({&a, &b});
  require_up(site, a, 2);
  require_up(site, b, 1);
  const Credentials fresh = site.credentials("a", true, 7200);
  Credentials broken = fresh;
  broken.key_pem = site.credentials("a").key_pem;
  CHECK(a.peers->replace(broken).error().message == "the private key does not belong to the certificate");
  REQUIRE(a.peers->replace(fresh));
  a.peers->send(2, "still here");
  REQUIRE(site.until([&] { return !b.got.empty(); }));
  CHECK(a.to(2).connects == 1);
  CHECK(b.to(1).connects == 1);

  // The old one expires: what is up stays up, and what comes now shows the new one.
  site.clock.set_wall({now.seconds + 3700, 0});
  REQUIRE(b.peers->replace(site.credentials("b", true, 7200)));
  std::unique_ptr<loop::Stream> stream;
  auto dial = a.peers->dial({.member = 2, .name = "", .addresses = {}, .kind = Kind::api}, [&](auto dialled) {
    REQUIRE_MESSAGE(dialled, dialled.error().message);
    stream = std::move(dialled->stream);
  });
  REQUIRE(site.until([&] { return b.streams.size() == 1 && stream; }));
  CHECK(b.streams[0].first.certificate.serial == pki::parse_certificate(fresh.certificate_pem)->serial);
  CHECK(a.to(2).connects == 1);
}

TEST_CASE("Peers may be stopped and destroyed from inside any of its callbacks") {
  for (const char* where : {"on_raft", "on_unreachable", "on_stream", "on_learned", "dial"}) {
    CAPTURE(where);
    Site site;
    Device a(site, 1, "a");
    std::unique_ptr<Peers> b;
    std::string reached;
    const auto gone = [&](const char* here) {
      if (std::string(here) != where) return;
      reached = here;
      b.reset();
    };
    PeersCallbacks callbacks;
    callbacks.on_raft = [&](MemberId, std::string_view) { gone("on_raft"); };
    callbacks.on_unreachable = [&](MemberId) { gone("on_unreachable"); };
    callbacks.judge = [](const Caller&) { return std::nullopt; };
    callbacks.on_stream = [&](const Caller&, std::unique_ptr<loop::Stream>) { gone("on_stream"); };
    callbacks.on_learned = [&](const Member&) { gone("on_learned"); };
    b = std::move(
        Peers::make(site.loop, site.engine, site.clock, site.random, site.options(2, "b"), callbacks)
            .value());
    const std::string at = "127.0.0.1:" + std::to_string(b->port());
    a.options.addresses = {};
    REQUIRE(a.peers->set_addresses({"192.0.2.5", a.address()}));
    a.peers->set_members({{2, "b", {at}}});
    b->set_members({{1, "a", {a.address()}}, {3, "nobody", {"127.0.0.1:1"}}});
    if (b) b->send(3, "lost");
    auto from_a = a.peers->dial({.member = 2, .name = "", .addresses = {}}, [](auto) {});
    std::unique_ptr<Dial> from_b =
        b->dial({.member = 1, .name = "", .addresses = {}}, [&](auto) { gone("dial"); });
    for (int i = 0; i < 1000 && reached.empty(); ++i) {
      a.peers->send(2, "one");
      a.peers->send(2, "two");
      site.loop.run_until([&] { return !reached.empty(); }, 20);
    }
    CHECK(reached == where);
    site.settle();
  }
}

TEST_CASE("options that cannot be are refused with what is wrong") {
  Site site;
  struct Row {
    const char* error;
    std::function<void(PeersOptions&)> change;
  };
  for (const Row& row : {
           Row{"peers: the device has no valid name", [](PeersOptions& o) { o.name = "A b"; }},
           Row{"peers: a cluster id has 16 bytes", [](PeersOptions& o) { o.cluster = "short"; }},
           Row{"is no address of a device", [](PeersOptions& o) { o.addresses = {"a/b"}; }},
           Row{"is no IP address", [](PeersOptions& o) { o.listen_address = "localhost"; }},
           Row{"certificate", [](PeersOptions& o) { o.credentials.certificate_pem = "none"; }},
       }) {
    CAPTURE(row.error);
    PeersOptions options = site.options(1, "a");
    row.change(options);
    PeersCallbacks callbacks;
    callbacks.on_raft = [](MemberId, std::string_view) {};
    callbacks.judge = [](const Caller&) { return std::nullopt; };
    callbacks.on_stream = [](const Caller&, std::unique_ptr<loop::Stream>) {};
    auto made = Peers::make(site.loop, site.engine, site.clock, site.random, options, callbacks);
    REQUIRE_FALSE(made);
    CHECK_MESSAGE(made.error().message.find(row.error) != std::string::npos, made.error().message);
  }
}

#ifdef LIMPET_FAILPOINTS
TEST_CASE("failpoints: a message is lost on either side, a dial fails, a caller is not let in") {
  Site site;
  Device a(site, 1, "a"), b(site, 2, "b");
  failpoint::arm("peer.dial=error@1,peer.admit=error@1");
  a.peers->set_members({{2, "b", {b.address()}}});
  require_up(site, a, 2);
  failpoint::arm("peer.send=error@2,peer.receive=error@2");
  for (const char* text : {"one", "two", "three", "four"}) a.peers->send(2, text);  // "two" does not leave
  REQUIRE(site.until([&] { return b.got.size() == 2; }));
  failpoint::arm("");
  CHECK(b.got[0].second == "one");
  CHECK(b.got[1].second == "four");
  CHECK(a.to(2).failures == 2);
  CHECK(a.to(2).refused[static_cast<size_t>(Reason::busy)] == 1);
  CHECK(a.to(2).messages_dropped == 1);
}
#endif
