// A server that does not lead hands on what is about the cluster itself: what arrives, what comes back, and
// what is said when nothing does.
#include "daemon/leader_relay.h"

#include <doctest/doctest.h>

#include <optional>

#include "client/memory_exchange.h"
#include "daemon/join_service.h"
#include "daemon/local_api.h"

namespace limpet::daemon::test {
namespace {

struct Cluster final : api::ClusterAccess {
  bool leads = false, known = true;
  std::optional<http::Request> arrived;
  api::ForwardEvents events;
  int ended = 0;

  bool leading() const override { return leads; }
  bool leader_known() const override { return known; }
  uint64_t term() const override { return 7; }
  bool alone() const override { return false; }
  void barrier(std::function<void(Result<>)> done) override { done({}); }
  std::unique_ptr<api::Forwarding> forward(http::Request request, api::ForwardEvents e) override {
    struct Way final : api::Forwarding {
      int& ended;
      explicit Way(int& n) : ended(n) {}
      ~Way() override { ++ended; }
      void pause(bool) override {}
    };
    arrived = std::move(request);
    events = std::move(e);
    return std::make_unique<Way>(ended);
  }
};

struct Rig {
  loop::Loop loop;
  Cluster cluster;
  std::unique_ptr<LeaderRelay> relay = std::make_unique<LeaderRelay>(loop, cluster);
  int otherwise = 0;
  std::optional<int> status;
  http::Headers headers;
  std::string body;
  std::string asks_with = "{}";
  std::shared_ptr<client::MemoryExchange> exchange;

  void ask(int64_t wait_ms = 0, http::Peer::Kind kind = http::Peer::Kind::tls) {
    http::Request r;
    r.method = "POST";
    r.target = r.path = "/limpet/v1/join";
    r.body = asks_with;
    r.peer.kind = kind;
    r.peer.address = "192.0.2.7:40000";
    r.headers.add("Authorization", "Bearer t");
    r.headers.add("Content-Type", "application/json");
    r.headers.add("X-Remote-User", "system:admin");
    r.headers.add(client_header, "198.51.100.1:1");
    exchange = std::make_shared<client::MemoryExchange>(
        loop, std::move(r),
        client::MemoryExchange::Receiver{.on_head =
                                             [this](int code, const http::Headers& h) {
                                               status = code;
                                               headers = h;
                                             },
                                         .on_body = [this](std::string_view bytes) { body += bytes; },
                                         .on_end = [](bool) {}});
    relay->hand_on(exchange, wait_ms, [this] {
      ++otherwise;
      exchange->respond(refusal_of({Errc::unavailable, "nobody leads", 0}));
    });
  }
  bool until(const std::function<bool()>& f) { return loop.run_until(f, 10'000); }
};

}  // namespace

TEST_CASE("what is handed on, and what comes back") {
  Rig rig;
  rig.ask();
  REQUIRE(rig.cluster.arrived);
  CHECK(rig.cluster.arrived->method == "POST");
  CHECK(rig.cluster.arrived->target == "/limpet/v1/join");
  CHECK(rig.cluster.arrived->body == "{}");
  CHECK(rig.cluster.arrived->headers.get("Authorization") == "Bearer t");
  CHECK(rig.cluster.arrived->headers.all(client_header) == std::vector<std::string_view>{"192.0.2.7:40000"});
  CHECK_FALSE(rig.cluster.arrived->headers.has("X-Remote-User"));

  http::Headers from;
  for (const auto& [name, value] : {std::pair<const char*, const char*>{"Content-Type", "application/json"},
                                    {"retry-after", "1"},
                                    {"Warning", "299 - \"a\""},
                                    {"Warning", "299 - \"b\""},
                                    {"Location", "/limpet/v1/cluster"},
                                    {"Audit-Id", "4711"},
                                    {"Content-Length", "2"},
                                    {"Connection", "keep-alive"},
                                    {"Date", "Thu, 01 Jan 1970 00:00:00 GMT"},
                                    {"Transfer-Encoding", "chunked"},
                                    {"X-Of-The-Leader", "1"}})
    from.add(name, value);
  rig.cluster.events.on_head(503, from);
  rig.cluster.events.on_body("{");
  rig.cluster.events.on_body("}");
  rig.cluster.events.on_end({});
  REQUIRE(rig.until([&] { return rig.body == "{}"; }));
  CHECK(rig.status == 503);
  CHECK(rig.headers.get("Content-Type") == "application/json");
  CHECK(rig.headers.get("Retry-After") == "1");
  CHECK(rig.headers.all("Warning").size() == 2);
  CHECK(rig.headers.get("Location") == "/limpet/v1/cluster");
  CHECK(rig.headers.get("Audit-Id") == "4711");
  CHECK_FALSE(rig.headers.has("Transfer-Encoding"));
  CHECK_FALSE(rig.headers.has("X-Of-The-Leader"));
  CHECK(rig.otherwise == 0);
}

TEST_CASE("who may have been served is not told to ask again") {
  struct Row {
    Errc end;
    bool head;  // the answer had begun
    int status;
    const char* retry_after;
  };
  for (const Row& row : {Row{Errc::unavailable, false, 503, "1"}, Row{Errc::timeout, false, 504, ""},
                         Row{Errc::timeout, true, 504, ""}, Row{Errc::cancelled, false, 504, ""}}) {
    CAPTURE(row.status);
    Rig rig;
    rig.ask();
    http::Headers from;
    from.add("Retry-After", "1");
    if (row.head) rig.cluster.events.on_head(503, from);
    rig.cluster.events.on_end(fail(row.end, "broke"));
    REQUIRE(rig.until([&] { return rig.status.has_value(); }));
    CHECK(rig.status == row.status);
    CHECK(rig.headers.get("Retry-After") == row.retry_after);
    CHECK(rig.otherwise == (row.status == 503 ? 1 : 0));
  }
}

TEST_CASE("what nobody would serve for its size does not get as far as the leader") {
  Rig rig;
  rig.asks_with = std::string(LeaderRelay::max_body, ' ');
  rig.ask();
  REQUIRE(rig.cluster.arrived);
  CHECK(rig.cluster.arrived->body.size() == LeaderRelay::max_body);

  Rig large;
  large.asks_with = std::string(LeaderRelay::max_body + 1, ' ');
  large.ask();
  REQUIRE(large.until([&] { return large.status.has_value(); }));
  CHECK(large.status == 413);
  CHECK(large.body.find("more than 16384 bytes") != std::string::npos);
  CHECK_FALSE(large.cluster.arrived);
  CHECK(large.otherwise == 0);
}

TEST_CASE("nothing is handed on without a leader, to oneself, or a second time") {
  for (const int which : {0, 1, 2}) {
    CAPTURE(which);
    Rig rig;
    rig.cluster.known = which != 0;
    rig.cluster.leads = which == 1;
    rig.ask(0, which == 2 ? http::Peer::Kind::forwarded : http::Peer::Kind::tls);
    CHECK_FALSE(rig.cluster.arrived);
    CHECK(rig.otherwise == 1);
  }
}

TEST_CASE("a leader that takes too long, a client that leaves, a service that stops") {
  Rig rig;
  SUBCASE("too long") {
    rig.ask(20);
    REQUIRE(rig.until([&] { return rig.status.has_value(); }));
    CHECK(rig.otherwise == 1);
  }
  SUBCASE("the client leaves") {
    rig.ask();
    rig.exchange->cancel();
    CHECK(rig.otherwise == 0);
  }
  SUBCASE("the service stops") {
    rig.ask();
    rig.relay.reset();
    rig.exchange->cancel();  // late: nobody is there
    CHECK(rig.otherwise == 0);
    CHECK_FALSE(rig.status);
  }
  CHECK(rig.until([&] { return rig.cluster.ended == 1; }));
}

}  // namespace limpet::daemon::test
