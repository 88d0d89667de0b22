// Where addresses are, and connections that may not go everywhere: what a name resolves to counts.
#include <doctest/doctest.h>

#include "loop/place.h"
#include "loop/stream.h"

using namespace limpet;
using namespace limpet::loop;

TEST_CASE("where a host is, as it is written") {
  struct {
    const char* host;
    Place place;
  } rows[] = {
      {"192.0.2.1", Place::elsewhere},
      {"10.0.0.5", Place::elsewhere},
      {"registry.example", Place::elsewhere},
      {"2001:db8::1", Place::elsewhere},
      {"127.0.0.1", Place::device},
      {"127.1", Place::device},
      {"0x7f000001", Place::device},
      {"0.0.0.0", Place::device},
      {"LocalHost.", Place::device},
      {"a.localhost", Place::device},
      {"::1", Place::device},
      {"::", Place::device},
      {"::ffff:127.0.0.1", Place::device},
      {"169.254.169.254", Place::link},
      {"2852039166", Place::link},
      {"::ffff:169.254.0.1", Place::link},
      {"fe80::1", Place::link},
      {"fe80::1%eth0", Place::link},
  };
  for (const auto& row : rows) {
    CAPTURE(row.host);
    CHECK((place_of(row.host) == row.place));
  }
}

TEST_CASE("a connection goes no further than it may") {
  Loop loop;
  std::vector<std::unique_ptr<Stream>> accepted;
  auto listener = Listener::tcp(loop, "127.0.0.1", 0,
                                [&](std::unique_ptr<Stream> s) { accepted.push_back(std::move(s)); });
  REQUIRE(listener.has_value());
  const char* on_device = "is an address of the device itself, which is refused";
  const char* on_link = "169.254.169.254 is an address of the device's own link, which is refused";
  struct {
    const char* host;  // localhost and numbers go through the resolver
    Reach reach;
    const char* refused;  // null: connected
  } rows[] = {
      {"127.0.0.1", Reach::anywhere, nullptr},       {"127.0.0.1", Reach::off_link, nullptr},
      {"localhost", Reach::off_link, nullptr},       {"127.0.0.1", Reach::off_device, on_device},
      {"localhost", Reach::off_device, on_device},   {"2130706433", Reach::off_device, on_device},
      {"169.254.169.254", Reach::off_link, on_link}, {"2852039166", Reach::off_link, on_link},
      {"2852039166", Reach::off_device, on_link},
  };
  for (const auto& row : rows) {
    CAPTURE(row.host);
    Connect connect;
    bool done = false;
    Result<std::unique_ptr<Stream>> got;
    connect.tcp(
        loop, row.host, (*listener)->port(), 10000,
        [&](auto r) {
          got = std::move(r);
          done = true;
        },
        row.reach);
    CHECK_FALSE(done);
    REQUIRE(loop.run_until([&] { return done; }, 20000));
    REQUIRE_EQ(got.has_value(), row.refused == nullptr);
    if (row.refused == nullptr) continue;
    CHECK_EQ(errc_name(got.error().code), errc_name(Errc::permission_denied));
    CHECK_MESSAGE(got.error().message.find(row.refused) != std::string::npos, got.error().message);
  }
  accepted.clear();
}
