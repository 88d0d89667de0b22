// Requests on their way to the leader: what is known when they do not arrive, and answers that stream.
#include "cluster_fixture.h"

namespace limpet::api::test {
namespace {

const std::string kMaps = "/api/v1/namespaces/default/configmaps";
const std::string kEvents = "/api/v1/namespaces/default/events";

std::string event(const std::string& name, const std::string& message = "m") {
  return R"({"apiVersion":"v1","kind":"Event","metadata":{"name":")" + name +
         R"(","namespace":"default"},"involvedObject":{"kind":"Pod","namespace":"default","name":"web"},)"
         R"("reason":"R","message":")" +
         message + R"(","type":"Normal","lastTimestamp":"2026-01-01T00:00:00Z"})";
}

Ask post(const std::string& target, const std::string& body) {
  return {.method = "POST", .target = target, .body = body};
}

// A client that takes what is sent when the test says so.
class SlowExchange final : public http::Exchange {
 public:
  explicit SlowExchange(http::Request r) : request_(std::move(r)) {}
  const http::Request& request() const override { return request_; }
  void respond(http::Response r) override {
    begin(r.status, std::move(r.headers));
    held = std::move(r.body);
    ended = true;
  }
  void begin(int s, http::Headers) override { status = s; }
  void write(std::string_view bytes) override {
    held.append(bytes);
    most = std::max(most, held.size());
  }
  void end() override { ended = true; }
  size_t write_queue_size() const override { return held.size(); }
  void abort() override { aborted = true; }
  void on_gone(std::function<void()> f) override { gone = std::move(f); }
  void on_drain(std::function<void()> f) override { drain_ = std::move(f); }
  Result<std::unique_ptr<loop::Stream>> take_over(std::string_view, http::Headers) override {
    return limpet::fail(Errc::unsupported, "none");
  }
  Result<std::unique_ptr<http::WebSocket>> upgrade(std::string_view) override {
    return limpet::fail(Errc::unsupported, "none");
  }
  void drain() {
    taken += std::exchange(held, std::string());
    if (auto f = drain_) f();
  }

  std::string held, taken;
  size_t most = 0;
  int status = 0;
  bool ended = false, aborted = false;
  std::function<void()> gone;

 private:
  http::Request request_;
  std::function<void()> drain_;
};

// Two megabytes of events in the leader's memory.
void fill(Cluster& c, int n) {
  for (int i = 0; i < n; ++i)
    REQUIRE(c.a->ask(post(kEvents, event("e" + std::to_string(i), std::string(1000, 'x')))).status == 201);
}

}  // namespace

TEST_CASE("what may have happened at the leader decides what the client hears") {
  struct {
    Line line;
    std::string method, target, body;
    int status;
    std::string retry_after;
  } rows[] = {
      {Line::refused, "POST", kMaps, config_map("x"), 503, "1"},
      {Line::refused, "DELETE", kMaps + "/x", "", 503, "1"},
      {Line::refused, "POST", kEvents, event("x"), 503, "1"},
      {Line::refused, "GET", kEvents, "", 503, "1"},
      {Line::refused, "GET", kEvents + "?watch=1", "", 503, "1"},
      {Line::silent, "POST", kMaps, config_map("x"), 504, ""},
      {Line::silent, "PUT", kMaps + "/x", config_map("x"), 504, ""},
      {Line::silent, "DELETE", kMaps, "", 504, ""},
      {Line::silent, "POST", kEvents, event("x"), 504, ""},
      {Line::silent, "GET", kEvents, "", 503, "1"},
      {Line::silent, "GET", kEvents + "?watch=1", "", 503, "1"},
  };
  Cluster c;
  for (const auto& row : rows) {
    CAPTURE(row.method);
    CAPTURE(row.target);
    c.b->line = row.line;
    Open o = c.b->open({.method = row.method, .target = row.target, .body = row.body});
    if (row.line == Line::silent) {
      c.turns(10);
      CHECK(!o.answer->over);
      c.b->drop_silent();
      // A read was repeated by the HTTP client where it may: broken again.
      REQUIRE(c.until([&] {
        c.b->drop_silent();
        return o.answer->over;
      }));
    } else {
      REQUIRE(c.until([&] { return o.answer->over; }));
    }
    CHECK(o.answer->status == row.status);
    CHECK(o.answer->headers.get("Retry-After") == row.retry_after);
    CHECK(o.answer->reason() == (row.status == 504 ? "Timeout" : "ServiceUnavailable"));
  }
  CHECK(c.a->arrived.empty());
}

TEST_CASE("what a leader says of its answer reaches the client, what it says of the connection does not") {
  Cluster c;
  // A field that is accepted and not acted on yet, and a commit that was certainly not made.
  const std::string warned =
      R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"warned"},"spec":{"containers":)"
      R"([{"name":"a","image":"i"}],"runtimeClassName":"kata"}})";
  const std::string pods = "/api/v1/namespaces/default/pods";
  const Answer direct = c.a->ask(post(pods + "?dryRun=All", warned)),
               through = c.b->ask(post(pods + "?dryRun=All", warned));
  REQUIRE(direct.status == 201);
  CHECK(through.status == 201);
  REQUIRE(!direct.headers.all("Warning").empty());
  CHECK(through.headers.all("Warning") == direct.headers.all("Warning"));
  CHECK(through.headers.get("Cache-Control") == direct.headers.get("Cache-Control"));
  c.a->failure = Errc::unavailable;
  const Answer refused = c.b->ask(post(kMaps, config_map("x")));
  CHECK(refused.status == 503);
  CHECK(refused.headers.get("Retry-After") == "1");
  for (const Answer& a : {through, refused}) {
    for (const char* name : {"Content-Length", "Connection", "Date", "Transfer-Encoding", "Keep-Alive"})
      CHECK_FALSE(a.headers.has(name));
  }
}

TEST_CASE("a leader that is a moment away is waited for") {
  Cluster c;
  SUBCASE("nobody leads, then one does") {
    c.b->stand(false, 6, false);
    Open o = c.b->open(post(kMaps, config_map("x")));
    c.turns(5);
    CHECK(!o.answer->over);
    CHECK(c.b->forwards == 0);
    c.b->stand(false, 6, true);
    REQUIRE(c.until([&] { return o.answer->over; }));
    CHECK(o.answer->status == 201);
  }
  SUBCASE("it cannot be reached, then it can") {
    c.b->line = Line::refused;
    Open o = c.b->open(post(kMaps, config_map("x")));
    c.turns(5);
    c.b->line = Line::up;
    REQUIRE(c.until([&] { return o.answer->over; }));
    CHECK(o.answer->status == 201);
  }
  SUBCASE("nobody comes") {
    c.b->stand(false, 6, false);
    for (const Ask& ask : {post(kMaps, config_map("x")), Ask{.target = kEvents}}) {
      Answer a = c.b->ask(ask);
      CHECK(a.status == 503);
      CHECK(a.headers.get("Retry-After") == "1");
      CHECK(a.message() == "no server leads the cluster now");
    }
    CHECK(c.b->forwards == 0);
  }
  SUBCASE("it is this server") {
    c.b->stand(false, 6, false);
    Open o = c.b->open(post(kMaps, config_map("x")));
    c.turns(5);
    c.lag(true);
    c.b->stand(true, 6);
    REQUIRE(c.until([&] { return o.answer->over; }));
    CHECK(o.answer->status == 201);
    CHECK(c.b->forwards == 0);
    CHECK(c.b->terms.back() == 6);
  }
}

TEST_CASE("a leader that was replaced and does not answer is not waited for long") {
  Cluster c;
  c.b->line = Line::silent;
  Open write = c.b->open(post(kMaps, config_map("x"))), read = c.b->open({.target = kEvents});
  c.turns(10);
  c.b->stand(false, 6);
  REQUIRE(c.until([&] { return write.answer->over && read.answer->over; }));
  CHECK(write.answer->status == 504);
  CHECK(write.answer->headers.get("Retry-After").empty());
  CHECK(read.answer->status == 503);
}

TEST_CASE("a leader that is lost and does not answer is not waited for long") {
  Cluster c;
  c.b->line = Line::silent;
  Open write = c.b->open(post(kMaps, config_map("x"))), read = c.b->open({.target = kEvents});
  c.turns(10);
  c.b->stand(false, 5, false);
  SUBCASE("nobody leads") {
    REQUIRE(c.until([&] { return write.answer->over && read.answer->over; }));
    CHECK(write.answer->status == 504);
    CHECK(write.answer->headers.get("Retry-After").empty());
    CHECK(write.answer->message().find("no server is known to lead now") != std::string::npos);
    CHECK(read.answer->status == 503);
  }
  SUBCASE("it is heard again in time") {
    c.turns(10);
    c.b->stand(false, 5, true);
    c.turns(300);
    CHECK(!write.answer->over);
    CHECK(!read.answer->over);
  }
}

TEST_CASE("an answer that has begun is not cut off as its leader is lost for a moment") {
  Cluster c;
  Open o = c.b->open({.target = kEvents + "?watch=1"});
  REQUIRE(c.until([&] { return o.answer->status == 200; }));
  c.b->stand(false, 5, false);
  c.turns(300);
  CHECK(!o.answer->over);
  c.b->stand(false, 5, true);
  c.b->ask(post(kEvents, event("e")));
  REQUIRE(c.until([&] { return o.lines().size() == 1; }));
}

TEST_CASE("an answer that takes too long is given up, and its outcome unknown") {
  Cluster c([](Options& o) { o.request_timeout_ms = 1000; });
  c.b->line = Line::silent;
  Open o = c.b->open(post(kMaps, config_map("x")));
  c.turns(10);
  c.clock.advance_ms(2000);
  REQUIRE(c.until([&] { return o.answer->over; }));
  CHECK(o.answer->status == 504);
  CHECK(o.answer->headers.get("Retry-After").empty());
}

TEST_CASE("a watch through a follower lives as long as both sides") {
  Cluster c;
  Open o = c.b->open({.target = kEvents + "?watch=1"});
  REQUIRE(c.until([&] { return o.answer->status == 200; }));
  CHECK(c.a->api->metrics().watches == 1);
  for (int i = 0; i < 3; ++i) c.b->ask(post(kEvents, event("e" + std::to_string(i))));
  REQUIRE(c.until([&] { return o.lines().size() == 3; }));
  CHECK(!o.answer->over);
  SUBCASE("the client leaves") {
    o.exchange->cancel();
    REQUIRE(c.until([&] { return c.a->api->metrics().watches == 0; }));
    CHECK(c.b->api->metrics().watches == 0);
  }
  SUBCASE("the leader dies") {
    c.a->sever();
    REQUIRE(c.until([&] { return o.answer->over; }));
    CHECK(o.answer->whole);
    CHECK(o.lines().size() == 3);
  }
  SUBCASE("the leader is the leader no more") {
    c.a->stand(false, 6);
    REQUIRE(c.until([&] { return o.answer->over; }));
    CHECK(o.answer->whole);
  }
  SUBCASE("only the follower knows") {
    c.b->stand(false, 6);
    REQUIRE(c.until([&] { return o.answer->over; }));
    CHECK(o.answer->whole);
    REQUIRE(c.until([&] { return c.a->api->metrics().watches == 0; }));
  }
  SUBCASE("the follower stops") {
    c.b->api->stop();
    REQUIRE(c.until([&] { return o.answer->over; }));
    CHECK(o.answer->whole);
    REQUIRE(c.until([&] { return c.a->api->metrics().watches == 0; }));
  }
}

TEST_CASE("a client that leaves before the answer takes its request along") {
  Cluster c;
  c.b->line = Line::silent;
  Open o = c.b->open(post(kMaps, config_map("x")));
  c.turns(10);
  CHECK(c.b->api->metrics().in_flight == 1);
  o.exchange->cancel();
  o.exchange.reset();
  REQUIRE(c.until([&] { return c.b->api->metrics().in_flight == 0; }));
}

TEST_CASE("a slow client holds the leader up, not this server's memory") {
  Cluster c;
  fill(c, 2000);
  auto slow = std::make_shared<SlowExchange>(request_of({.target = kEvents}));
  c.b->api->handler()(slow);
  REQUIRE(c.until([&] { return slow->held.size() > 256 * 1024; }));
  c.turns(200);
  const size_t held = slow->held.size();
  CHECK(held < 1024 * 1024);
  CHECK(!slow->ended);
  SUBCASE("and gets all of it") {
    REQUIRE(c.until([&] {
      slow->drain();
      return slow->ended;
    }));
    slow->drain();
    CHECK(slow->most < 1024 * 1024);
    REQUIRE(json::validate(slow->taken));
    CHECK(json::Cursor(slow->taken)["items"].size() == 2000);
  }
  SUBCASE("or hears that it is not all") {
    c.a->sever();
    REQUIRE(c.until([&] {
      slow->drain();
      return slow->aborted;
    }));
    CHECK(!slow->ended);
  }
  SUBCASE("or leaves") {
    slow->gone();
    REQUIRE(c.until([&] { return c.a->api->metrics().in_flight == 0; }));
    CHECK(c.b->api->metrics().in_flight == 0);
  }
}

TEST_CASE("a watch that was cut in the middle of an event does not end in good order") {
  Cluster c;
  fill(c, 1000);
  auto slow = std::make_shared<SlowExchange>(request_of({.target = kEvents + "?watch=1"}));
  c.b->api->handler()(slow);
  REQUIRE(c.until([&] { return slow->held.size() > 256 * 1024; }));
  c.turns(50);
  c.a->sever();
  REQUIRE(c.until([&] {
    slow->drain();
    return slow->ended || slow->aborted;
  }));
  CHECK(slow->ended == slow->taken.ends_with("\n"));
}

TEST_CASE("the leader's answer arrives as it is") {
  Cluster c;
  Ask create =
      post(kMaps,
           R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"data":{"k":"v"},"nonsense":1})");
  create.headers = {{"User-Agent", "kubectl/v1.35 (linux)"}};
  Answer made = c.b->ask(create);
  CHECK(made.status == 201);
  CHECK(made.headers.get("Warning").find("nonsense") != std::string::npos);
  CHECK(made.headers.get("Content-Type") == "application/json");
  CHECK(!made.headers.has("Transfer-Encoding"));
  CHECK(!made.headers.has("Content-Length"));
  CHECK(made.json()["metadata"]["managedFields"].at(0)["manager"].str() == "kubectl");
  Answer table = c.b->ask({.target = kEvents, .accept = "application/json;as=Table;v=v1;g=meta.k8s.io"});
  CHECK(table.json()["kind"].str() == "Table");
  CHECK(c.b->ask(post(kMaps, config_map("x"))).reason() == "AlreadyExists");
  CHECK(c.b->api->metrics().forwarded == 3);
}

TEST_CASE("volatile memory is not read where its server does not lead") {
  Cluster c;
  c.a->ask(post(kEvents, event("old")));
  Open watch = c.a->open({.target = kEvents + "?watch=1"});
  REQUIRE(c.until([&] { return watch.lines().size() == 1; }));
  c.b->stand(true, 6);
  c.a->leader = c.b.get();
  c.a->stand(false, 6);
  REQUIRE(c.until([&] { return watch.answer->over; }));
  CHECK(watch.answer->whole);
  CHECK(c.a->get(kEvents + "/old").status == 404);
  CHECK(c.a->forwards == 1);
}

}  // namespace limpet::api::test
