// A request that was handed to the leader, and what becomes of it when that does not lead any more.
#include "daemon/cluster_link.h"

#include "../peer/support.h"
#include "fake_group.h"

namespace limpet::daemon::test {
namespace {

// This server, 1, and the leader, 2, which takes what comes and answers when it is told to.
struct Rig {
  explicit Rig(int64_t patience_ms) : link(site.loop, group, *self.peers, patience_ms) {
    peer_test::introduce({&self, &leader});
    group.follow(7, 2);
  }
  ~Rig() { forwarding.reset(); }

  peer_test::Site site;
  peer_test::Device self{site, 1, "a"}, leader{site, 2, "b"};
  FakeGroup group;
  ClusterLink link;
  std::unique_ptr<api::Forwarding> forwarding;
  std::string asked;
  int head = 0, ends = 0;
  std::optional<Errc> failed;

  void ask() {
    http::Request request;
    request.method = "POST";
    request.target = "/api/v1/namespaces";
    request.body = "{}";
    forwarding =
        link.forward(std::move(request), {.on_head = [this](int code, const http::Headers&) { head = code; },
                                          .on_body = [](std::string_view) {},
                                          .on_end =
                                              [this](Result<> end) {
                                                ++ends;
                                                if (!end) failed = end.error().code;
                                              }});
    REQUIRE(site.until([this] { return leader.streams.size() == 1; }));
    loop::Stream& stream = *leader.streams[0].second;
    stream.set_events({.on_read = [this](std::string_view bytes) { asked += bytes; },
                       .on_eof = {},
                       .on_error = [](const Error&) {},
                       .on_drain = {}});
    stream.read_start();
    REQUIRE(site.until([this] { return asked.ends_with("{}"); }));
  }
  void answer(const std::string& text) { leader.streams[0].second->write(text); }
};

}  // namespace

TEST_CASE("a request at who led before is given up, without a word of whether it was done") {
  SUBCASE("when another one leads") {
    Rig rig(60'000);
    rig.ask();
    rig.group.follow(8, 3);
    REQUIRE(rig.site.until([&] { return rig.ends == 1; }));
    CHECK(rig.failed == Errc::timeout);
  }
  SUBCASE("when nobody is known to lead for a while") {
    Rig rig(20);
    rig.ask();
    rig.group.follow(7, 0);
    rig.group.follow(8, 0);
    CHECK(rig.ends == 0);
    REQUIRE(rig.site.until([&] { return rig.ends == 1; }));
    CHECK(rig.failed == Errc::timeout);
    rig.group.follow(9, 3);
    rig.site.settle();
    CHECK(rig.ends == 1);
  }
}

TEST_CASE("a leader that is back in time, or that answers, is waited for") {
  SUBCASE("it is back") {
    Rig rig(200);
    rig.ask();
    rig.group.follow(7, 0);
    rig.group.follow(7, 2);
    // Longer than the patience, by the same clock.
    bool later = false;
    loop::Timer timer(rig.site.loop, "later");
    timer.start(400, [&] { later = true; });
    REQUIRE(rig.site.until([&] { return later; }));
    CHECK(rig.ends == 0);
    rig.answer("HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}");
    REQUIRE(rig.site.until([&] { return rig.ends == 1; }));
    CHECK_FALSE(rig.failed);
    CHECK(rig.head == 201);
  }
  SUBCASE("it has begun to answer") {
    Rig rig(20);
    rig.ask();
    rig.answer("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n12");
    REQUIRE(rig.site.until([&] { return rig.head == 200; }));
    rig.group.follow(7, 0);
    bool later = false;
    loop::Timer timer(rig.site.loop, "later");
    timer.start(100, [&] { later = true; });
    REQUIRE(rig.site.until([&] { return later; }));
    CHECK(rig.ends == 0);
    rig.answer("34");
    REQUIRE(rig.site.until([&] { return rig.ends == 1; }));
    CHECK_FALSE(rig.failed);
  }
}

}  // namespace limpet::daemon::test
