// An authority is replaced while connections last.
#include "support.h"

using namespace limpet;
using namespace limpet::peer_test;

namespace {

// Two devices that go from one authority to the next as a cluster does, with a connection of kind node
// between them.
struct Pair_ {
  Site site;
  Ca next{"site-ca-2"};
  Device a{site, 1, "a"}, b{site, 2, "b"};
  std::unique_ptr<loop::Stream> dialled;
  std::string dialler_error, acceptor_error;

  Pair_() {
    introduce({&a, &b});
    require_up(site, a, 2);
    require_up(site, b, 1);
    auto dial = a.peers->dial({.member = 2, .name = "", .addresses = {}, .kind = Kind::node}, [&](auto d) {
      REQUIRE_MESSAGE(d, d.error().message);
      dialled = std::move(d->stream);
    });
    REQUIRE(site.until([&] { return dialled && b.streams.size() == 1; }));
    listen(*dialled, dialler_error);
    listen(*b.streams[0].second, acceptor_error);
  }
  static void listen(loop::Stream& stream, std::string& error) {
    loop::Stream::Events events;
    events.on_error = [&error](const Error& e) { error = e.message; };
    stream.set_events(std::move(events));
    stream.read_start();
  }
  std::string both() const { return next.authority.certificate_pem + site.ca.authority.certificate_pem; }
  Credentials by(Ca& ca, const std::string& name, const std::string& trusted) {
    Credentials c = site.credentials(ca, name);
    c.ca_pem = trusted;
    return c;
  }
  Credentials with(const Device& d, const std::string& trusted) {
    Credentials c = d.options.credentials;
    c.ca_pem = trusted;
    return c;
  }
  bool all_up() { return a.up(2) && b.up(1) && a.to(2).incoming && b.to(1).incoming; }
};

}  // namespace

TEST_CASE("connections under an authority that is not trusted any more are cut on both sides") {
  Pair_ p;
  const std::string next = p.next.authority.certificate_pem;
  // Trusting: nothing ends.
  REQUIRE(p.a.peers->replace(p.with(p.a, p.site.ca.authority.certificate_pem + next)));
  REQUIRE(p.b.peers->replace(p.with(p.b, p.site.ca.authority.certificate_pem + next)));
  p.site.settle();
  CHECK(p.a.to(2).connects == 1);

  SUBCASE("by who was dialled") {
    REQUIRE(p.a.peers->replace(p.by(p.next, "a", p.both())));
    REQUIRE(p.b.peers->replace(p.by(p.next, "b", next)));
    REQUIRE(p.site.until([&] { return !p.acceptor_error.empty() && !p.dialler_error.empty(); }));
    CHECK(p.acceptor_error ==
          "the connection was cut: the certificate of device a is of an authority that is not trusted any "
          "more");
    CHECK(p.b.refused(Reason::certificate) >= 1);
  }
  SUBCASE("by who dialled") {
    REQUIRE(p.b.peers->replace(p.by(p.next, "b", p.both())));
    REQUIRE(p.a.peers->replace(p.by(p.next, "a", next)));
    REQUIRE(p.site.until([&] { return !p.acceptor_error.empty() && !p.dialler_error.empty(); }));
    CHECK(p.dialler_error ==
          "the connection was cut: the certificate of device b is of an authority that is not trusted any "
          "more");
  }
  // The links come back under what is trusted now, in both directions.
  REQUIRE(p.site.until([&] { return p.all_up() && p.a.to(2).connects >= 2 && p.b.to(1).connects >= 2; }));
  p.a.peers->send(2, "from a");
  p.b.peers->send(1, "from b");
  CHECK(p.site.until([&] { return !p.a.got.empty() && !p.b.got.empty(); }));
}

TEST_CASE("links made anew under another certificate are not cut when the authority of before goes") {
  Pair_ p;
  const std::string next = p.next.authority.certificate_pem;
  for (Device* d : {&p.a, &p.b}) REQUIRE(d->peers->replace(p.with(*d, p.both())));
  const Credentials a = p.by(p.next, "a", p.both()), b = p.by(p.next, "b", p.both());
  REQUIRE(p.a.peers->replace(a));
  REQUIRE(p.b.peers->replace(b));
  REQUIRE(p.site.until([&] { return p.all_up() && p.a.to(2).connects == 2 && p.b.to(1).connects >= 2; }));
  // The one that was reissued first has seen the other's certificate of before.
  REQUIRE(p.a.peers->replace({a.certificate_pem, a.key_pem, p.both()}));
  p.site.settle();
  const uint64_t connects = p.b.to(1).connects, came = p.b.to(1).incoming_connects;
  REQUIRE(p.b.peers->replace({b.certificate_pem, b.key_pem, next}));
  p.site.settle();
  CHECK(p.b.to(1).connects == connects);
  CHECK(p.b.to(1).incoming_connects == came);
  CHECK(p.all_up());
}

TEST_CASE("a link to a member whose certificate's authority is gone is closed, and none comes of it again") {
  Pair_ p;
  const std::string next = p.next.authority.certificate_pem;
  REQUIRE(p.a.peers->replace(p.by(p.next, "a", next)));  // b was left behind
  REQUIRE(p.site.until([&] { return !p.a.up(2) && p.a.to(2).failures >= 1 && !p.dialler_error.empty(); }));
  p.site.settle();
  CHECK_FALSE(p.a.up(2));
  CHECK_FALSE(p.a.to(2).incoming);
}

TEST_CASE("a handshake that began under an authority is looked at again when that has gone meanwhile") {
  Site site;
  Ca next{"site-ca-2"};
  Device a(site, 1, "a");
  // All but the hello is done when the authority goes.
  Raw raw(site, a.peers->port(), site.credentials("b"), "a");
  REQUIRE(raw.stream);
  site.settle();
  REQUIRE(a.peers->replace(site.credentials(next, "a")));
  raw.write(encode(hello_of(2, "b")));
  const auto answer = raw.answer();
  REQUIRE(answer);
  REQUIRE(answer->refused);
  CHECK(answer->refused->reason == Reason::certificate);
  CHECK(answer->refused->text ==
        "the certificate of device b is of an authority that is not trusted any more");
  CHECK_FALSE(a.to(2).incoming);
}
