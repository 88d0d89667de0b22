// The remote client against servers in memory, each with a name, that can be down, silent or without a
// leader.
#include "client/remote.h"

#include <doctest/doctest.h>

#include <map>

#include "client/bundle_wire.h"
#include "client/informer.h"
#include "client/lines.h"
#include "http/server.h"

namespace limpet::client::test {
namespace {

// A device that speaks HTTP, or fails to.
struct Host {
  std::unique_ptr<http::Server> server;
  std::vector<http::ExchangePtr> asked;  // what waits for an answer of the test's
  std::vector<std::unique_ptr<loop::Stream>> silent;
  bool refuses = false;  // connections
  bool hangs = false;    // takes connections and says nothing
  bool distrusts = false;
  int dials = 0;
};

// A server that does not take our certificate, which in TLS 1.3 is heard after the request has left.
class Distrusting final : public loop::Stream {
 public:
  explicit Distrusting(loop::Loop& loop) : timer_(loop, "alert") {}
  void set_events(Events events) override { events_ = std::move(events); }
  void read_start() override {}
  void read_stop() override {}
  void write(std::string) override {
    timer_.start(0, [on_error = events_.on_error] {
      on_error({Errc::permission_denied, "the other side refused: it does not know the CA", 0});
    });
  }
  void shutdown() override {}
  size_t write_queue_size() const override { return 0; }
  std::string peer() const override { return "a:6443"; }

 private:
  Events events_;
  loop::Timer timer_;
};

class Rig final : public http::Dialer {
 public:
  loop::Loop loop;
  SeededRandom random{7};
  std::map<std::string, Host> hosts;
  std::unique_ptr<RemoteClient> client;

  explicit Rig(std::vector<std::string> names, RemoteOptions options = {}) {
    std::vector<Server> list;
    for (const std::string& n : names) {
      add(n);
      list.push_back({n, 6443});
    }
    client = std::make_unique<RemoteClient>(loop, *this, random, std::move(options));
    client->set_servers(list, {});
  }
  ~Rig() override {
    client.reset();
    hosts.clear();
    CHECK(loop.run_until([&] { return loop.live_handles() == 1; }, 10'000));
  }
  void add(const std::string& name) {
    Host& h = hosts[name];
    h.server = std::make_unique<http::Server>(loop, http::ServerOptions{}, [&h](http::ExchangePtr e) {
      // A server without bundles: streams go one by one.
      if (e->request().path == bundle_path) return e->respond({404, {}, "{}"});
      h.asked.push_back(std::move(e));
    });
  }
  bool until(const std::function<bool()>& f, int64_t ms = 10'000) { return loop.run_until(f, ms); }
  // The server that got the request which nobody answered yet.
  Host* busy() {
    for (auto& [name, h] : hosts) {
      if (!h.asked.empty()) return &h;
    }
    return nullptr;
  }
  Host& wait_busy() {
    REQUIRE(until([&] { return busy() != nullptr; }));
    return *busy();
  }

  std::unique_ptr<Dial> connect(loop::Loop&, const http::Origin& to, int64_t, Done done) override {
    CHECK(to.tls);
    CHECK(to.port == 6443);
    Host& h = hosts.at(to.host);
    ++h.dials;
    if (h.refuses) return later(fail(Errc::io, to.host + ": connection refused"), std::move(done));
    auto pair = loop::stream_pair(loop);
    REQUIRE(pair);
    if (h.hangs) {
      h.silent.push_back(std::move(pair->second));
    } else {
      h.server->serve(std::move(pair->second), {});
    }
    return later(std::move(pair->first), std::move(done));
  }
  std::unique_ptr<Dial> secure(loop::Loop&, std::unique_ptr<loop::Stream> s, const http::Origin& origin,
                               Done done) override {
    if (hosts.at(origin.host).distrusts) s = std::make_unique<Distrusting>(loop);
    return later(std::move(s), std::move(done));
  }

 private:
  struct Later final : Dial {
    Later(loop::Loop& l, Result<std::unique_ptr<loop::Stream>> r, Done d)
        : timer(l, "dial"), result(std::move(r)) {
      timer.start(0, [this, done = std::move(d)] { done(std::move(result)); });
    }
    loop::Timer timer;
    Result<std::unique_ptr<loop::Stream>> result;
  };
  std::unique_ptr<Dial> later(Result<std::unique_ptr<loop::Stream>> r, Done done) {
    return std::make_unique<Later>(loop, std::move(r), std::move(done));
  }
};

struct Asked {
  std::optional<Result<Reply>> reply;
  std::unique_ptr<Pending> pending;
  explicit Asked(Rig& rig, std::string method = "GET", std::string body = "") {
    pending =
        rig.client->call({.method = std::move(method), .path = "/x", .query = "a=1", .body = std::move(body)},
                         [this](Result<Reply> r) {
                           CHECK_FALSE(reply.has_value());
                           reply = std::move(r);
                         });
    CHECK_FALSE(reply.has_value());
  }
  bool done() const { return reply.has_value(); }
};

struct Watched {
  std::vector<std::string> events;
  std::optional<Result<>> end;
  std::unique_ptr<Pending> pending;
  explicit Watched(Rig& rig) {
    pending = rig.client->stream({.path = "/w"}, {[this](std::string_view e) { events.emplace_back(e); },
                                                  [this](Result<> r) {
                                                    CHECK_FALSE(end.has_value());
                                                    end = std::move(r);
                                                  }});
  }
};

http::Response answer(int status, std::string body = "{}", bool retry = false) {
  http::Response r{status, {}, std::move(body)};
  if (retry) r.headers.set("Retry-After", "1");
  return r;
}

}  // namespace

TEST_CASE("a call, its reply and its refusal") {
  Rig rig({"a"});
  Asked post(rig, "POST", "{\"n\":1}");
  Host& h = rig.wait_busy();
  const http::Request& r = h.asked[0]->request();
  CHECK(r.method == "POST");
  CHECK(r.target == "/x?a=1");
  CHECK(r.body == "{\"n\":1}");
  CHECK(r.headers.get("Content-Type") == "application/json");
  CHECK(r.headers.get("Accept") == "application/json");
  h.asked[0]->respond(answer(409, R"({"reason":"AlreadyExists","message":"there"})"));
  REQUIRE(rig.until([&] { return post.done(); }));
  CHECK(post.reply->value().error().code == Errc::already_exists);
  CHECK(rig.client->server() == "a:6443");
}

TEST_CASE("calls stick to one server and share its connection") {
  Rig rig({"a", "b", "c"});
  std::string first;
  for (int i = 0; i < 5; ++i) {
    Asked get(rig);
    rig.wait_busy().asked[0]->respond(answer(200));
    rig.busy()->asked.clear();
    REQUIRE(rig.until([&] { return get.done(); }));
    if (i == 0) first = rig.client->server();
    CHECK(rig.client->server() == first);
  }
  int dials = 0;
  for (auto& [name, h] : rig.hosts) dials += h.dials;
  CHECK(dials == 1);
}

TEST_CASE("no connection: another server gets the call, whatever its method") {
  Rig rig({"a", "b"});
  rig.hosts["a"].refuses = true;
  for (int i = 0; i < 8; ++i) {
    Asked post(rig, "POST", "{}");
    Host& h = rig.wait_busy();
    CHECK(&h == &rig.hosts["b"]);
    h.asked[0]->respond(answer(201));
    h.asked.clear();
    REQUIRE(rig.until([&] { return post.done(); }));
    CHECK(post.reply->value().status == 201);
  }
  CHECK(rig.hosts["a"].dials <= 1);
  rig.hosts["b"].refuses = true;
  rig.hosts["b"].server.reset();
  rig.until([] { return false; }, 20);  // its kept connection is seen to be closed
  Asked lost(rig, "PUT", "{}");
  REQUIRE(rig.until([&] { return lost.done(); }));
  CHECK(lost.reply->error().code == Errc::unavailable);
  CHECK(lost.reply->error().message.find("connection refused") != std::string::npos);
  CHECK(rig.client->server() == "");
  CHECK(rig.client->last_error() != "");
}

TEST_CASE("a lost answer: a GET goes elsewhere, anything else is unknown and not repeated") {
  for (const char* method : {"GET", "POST", "PUT", "PATCH", "DELETE"}) {
    CAPTURE(method);
    Rig rig({"a", "b"});
    Asked call(rig, method);
    Host& first = rig.wait_busy();
    first.asked[0]->abort();
    first.asked.clear();
    if (std::string(method) == "GET") {
      Host& second = rig.wait_busy();
      CHECK(&first != &second);
      second.asked[0]->respond(answer(200, "second"));
      REQUIRE(rig.until([&] { return call.done(); }));
      CHECK(call.reply->value().body == "second");
    } else {
      REQUIRE(rig.until([&] { return call.done(); }));
      CHECK(call.reply->error().code == Errc::timeout);
      CHECK(call.reply->error().message.find("unknown") != std::string::npos);
      CHECK(rig.busy() == nullptr);
    }
  }
}

TEST_CASE("who is not let in once its request has left is shut out, until it is answered") {
  for (const char* method : {"GET", "POST"}) {
    CAPTURE(method);
    Rig rig({"a"});
    int told = 0;
    rig.client->on_shut_out([&] { ++told; });
    rig.hosts["a"].distrusts = true;
    Asked call(rig, method);
    REQUIRE(rig.until([&] { return call.done(); }));
    CHECK_FALSE(*call.reply);
    CHECK(told == 1);
    CHECK(rig.client->shut_out().find("the other side refused: it does not know the CA") !=
          std::string::npos);

    rig.hosts["a"].distrusts = false;
    Asked again(rig);
    rig.wait_busy().asked[0]->respond(answer(200));
    rig.busy()->asked.clear();
    REQUIRE(rig.until([&] { return again.done(); }));
    CHECK(rig.client->shut_out() == "");
  }
}

TEST_CASE("half an answer of a GET is not mixed with the next server's") {
  Rig rig({"a", "b"});
  Asked call(rig);
  Host& first = rig.wait_busy();
  first.asked[0]->begin(200, {});
  first.asked[0]->write("{\"half\":");
  rig.until([] { return false; }, 20);
  first.asked[0]->abort();
  first.asked.clear();
  rig.wait_busy().asked[0]->respond(answer(200, "{\"whole\":1}"));
  REQUIRE(rig.until([&] { return call.done(); }));
  CHECK(call.reply->value().body == "{\"whole\":1}");
}

TEST_CASE("503: with Retry-After it was not done and another is asked; without it only a GET is") {
  struct {
    const char* method;
    bool retry_after, repeated;
  } rows[] = {{"GET", false, true}, {"GET", true, true}, {"POST", true, true}, {"POST", false, false}};
  for (const auto& row : rows) {
    CAPTURE(row.method);
    CAPTURE(row.retry_after);
    Rig rig({"a", "b"});
    Asked call(rig, row.method);
    Host& first = rig.wait_busy();
    first.asked[0]->respond(answer(503, R"({"message":"no leader"})", row.retry_after));
    first.asked.clear();
    if (row.repeated) {
      Host& second = rig.wait_busy();
      CHECK(&first != &second);
      second.asked[0]->respond(answer(200));
      second.asked.clear();
    }
    REQUIRE(rig.until([&] { return call.done(); }));
    CHECK(call.reply->value().status == (row.repeated ? 200 : 503));
    // Either way the next call leaves it alone.
    Asked next(rig);
    CHECK(&rig.wait_busy() != &first);
  }
}

TEST_CASE("when all say 503 the caller gets the last word") {
  Rig rig({"a", "b"});
  Asked call(rig, "POST", "{}");
  for (int i = 0; i < 2; ++i) {
    Host& h = rig.wait_busy();
    h.asked[0]->respond(answer(503, R"({"message":"no leader"})", true));
    h.asked.clear();
    rig.until([] { return false; }, 10);
  }
  REQUIRE(rig.until([&] { return call.done(); }));
  CHECK(call.reply->value().status == 503);
  CHECK(call.reply->value().error().message == "no leader");
  CHECK(rig.hosts["a"].dials + rig.hosts["b"].dials == 2);
}

TEST_CASE("504 is an answer like any other") {
  Rig rig({"a", "b"});
  Asked call(rig, "GET");
  Host& h = rig.wait_busy();
  h.asked[0]->respond(answer(504, R"({"message":"unknown outcome"})"));
  h.asked.clear();
  REQUIRE(rig.until([&] { return call.done(); }));
  CHECK(call.reply->value().status == 504);
  CHECK(rig.client->server() != "");
}

TEST_CASE("a server that hangs is given up, and its watches with it") {
  Rig rig({"a", "b"}, {.answer_ms = 150});
  Watched watch(rig);
  Host& first = rig.wait_busy();
  first.asked[0]->begin(200, {});
  first.asked[0]->write("{\"n\":1}\n");
  REQUIRE(rig.until([&] { return watch.events.size() == 1; }));
  rig.until([] { return false; }, 250);
  CHECK_FALSE(watch.end.has_value());  // silence alone is no failure
  first.hangs = true;
  Asked call(rig);  // on a new connection, since the watch holds the first
  REQUIRE(rig.until([&] {
    for (auto& [name, h] : rig.hosts) {
      if (&h != &first && !h.asked.empty()) return true;
    }
    return false;
  }));
  REQUIRE(rig.until([&] { return watch.end.has_value(); }));
  CHECK(watch.end->error().code == Errc::unavailable);
  CHECK(watch.end->error().message.find("does not answer") != std::string::npos);
}

TEST_CASE("a stream goes on to another server until its head came, and not after") {
  Rig rig({"a", "b"});
  Watched watch(rig);
  Host& first = rig.wait_busy();
  first.asked[0]->respond(answer(503));
  first.asked.clear();
  Host& second = rig.wait_busy();
  CHECK(&first != &second);
  second.asked[0]->begin(200, {});
  second.asked[0]->write("{\"n\":1}\n{\"n\"");
  REQUIRE(rig.until([&] { return watch.events.size() == 1; }));
  second.asked[0]->write(":2}\n");
  REQUIRE(rig.until([&] { return watch.events.size() == 2; }));
  CHECK(watch.events[1] == "{\"n\":2}");
  second.asked[0]->abort();
  second.asked.clear();
  REQUIRE(rig.until([&] { return watch.end.has_value(); }));
  CHECK_FALSE(watch.end->has_value());
  CHECK(rig.busy() == nullptr);
}

TEST_CASE("the ends of streams") {
  Rig rig({"a"});
  Watched clean(rig), refused(rig);
  REQUIRE(rig.until([&] { return rig.hosts["a"].asked.size() == 2; }));
  auto& asked = rig.hosts["a"].asked;
  asked[0]->begin(200, {});
  asked[0]->end();
  asked[1]->respond(answer(410, R"({"message":"too old"})"));
  REQUIRE(rig.until([&] { return clean.end && refused.end; }));
  CHECK(clean.end->has_value() != refused.end->has_value());
  const auto& error = clean.end->has_value() ? refused.end->error() : clean.end->error();
  CHECK(error.code == Errc::expired);
  CHECK(error.message == "too old");
}

TEST_CASE("what a server sends is bounded") {
  Rig rig({"a"}, {.max_answer_bytes = 1000, .max_event_bytes = 100});
  Asked call(rig);
  Watched watch(rig);
  REQUIRE(rig.until([&] { return rig.hosts["a"].asked.size() == 2; }));
  for (auto& e : rig.hosts["a"].asked) {
    e->begin(200, {});
    e->write(std::string(2000, 'x'));
  }
  REQUIRE(rig.until([&] { return call.done() && watch.end; }));
  CHECK(call.reply->error().code == Errc::too_large);
  CHECK(call.reply->error().message.find("a:6443") != std::string::npos);
  CHECK(watch.end->error().code == Errc::too_large);
}

TEST_CASE("destroying a call or stream is silent, also from inside") {
  Rig rig({"a"});
  Asked call(rig);
  std::unique_ptr<Pending> watch;
  int events = 0;
  watch = rig.client->stream({.path = "/w"}, {[&](std::string_view) {
                                                ++events;
                                                watch.reset();
                                              },
                                              [&](Result<>) { FAIL("ended"); }});
  REQUIRE(rig.until([&] { return rig.hosts["a"].asked.size() == 2; }));
  for (auto& e : rig.hosts["a"].asked) {
    if (e->request().path == "/w") {
      e->begin(200, {});
      e->write("{\"a\":1}\n{\"b\":2}\n");
    }
  }
  call.pending.reset();
  for (auto& e : rig.hosts["a"].asked) {
    if (e->request().path != "/w") e->respond(answer(200));
  }
  REQUIRE(rig.until([&] { return events == 1; }));
  rig.until([] { return false; }, 20);
  CHECK(events == 1);
  CHECK_FALSE(call.done());
}

TEST_CASE("a new roll of servers: streams on one that left end, calls go to the new") {
  Rig rig({"a"});
  Watched watch(rig);
  rig.wait_busy().asked[0]->begin(200, {});
  rig.hosts["a"].asked[0]->write("{}\n");
  REQUIRE(rig.until([&] { return watch.events.size() == 1; }));
  rig.add("b");
  rig.client->set_servers({{"a", 6443}}, {{"b", 6443}});
  rig.until([] { return false; }, 20);
  CHECK_FALSE(watch.end.has_value());
  rig.client->set_servers({}, {{"b", 6443}});
  REQUIRE(rig.until([&] { return watch.end.has_value(); }));
  CHECK(watch.end->error().code == Errc::unavailable);
  rig.hosts["a"].asked.clear();
  Asked call(rig);
  CHECK(&rig.wait_busy() == &rig.hosts["b"]);
  rig.client->set_servers({}, {});
  Asked none(rig);
  REQUIRE(rig.until([&] { return none.done(); }));
  CHECK(none.reply->error().message == "no API server is known to this device");
}

TEST_CASE("an informer goes on over another server without listing again") {
  Rig rig({"a", "b"});
  int synced = 0, added = 0;
  Informer::Handlers h;
  h.on_add = [&](const std::string&, const SharedBytes&) { ++added; };
  h.on_synced = [&] { ++synced; };
  Informer informer(rig.loop, *rig.client, rig.random, {"/api/v1/pods", ""}, h);
  informer.start();
  Host& first = rig.wait_busy();
  CHECK(first.asked[0]->request().query.get("limit") == "100");
  first.asked[0]->respond(answer(200, R"({"items":[],"metadata":{"resourceVersion":"5"}})"));
  first.asked.clear();
  Host& watching = rig.wait_busy();
  CHECK(&watching == &first);
  watching.asked[0]->begin(200, {});
  watching.asked[0]->write(R"({"type":"ADDED","object":{"metadata":{"name":"p","resourceVersion":"7"}}})"
                           "\n");
  REQUIRE(rig.until([&] { return added == 1; }));
  first.refuses = true;
  watching.asked[0]->abort();
  watching.asked.clear();
  Host& second = rig.wait_busy();
  CHECK(&second != &first);
  CHECK(second.asked[0]->request().query.get("watch") == "true");
  CHECK(second.asked[0]->request().query.get("resourceVersion") == "7");
}

TEST_CASE("lines, however they are cut") {
  for (size_t step = 1; step < 8; ++step) {
    Lines lines(6);
    std::vector<std::string> got;
    const std::string text = "ab\n\ncdefgh\ni\n";
    for (size_t at = 0; at < text.size(); at += step) {
      REQUIRE(lines.add(std::string_view(text).substr(at, step), [&](std::string_view l) {
        got.emplace_back(l);
        return true;
      }));
    }
    CHECK(got == std::vector<std::string>{"ab", "cdefgh", "i"});
    CHECK_FALSE(Lines(6).add("1234567\n", [](std::string_view) { return true; }));
    CHECK_FALSE(Lines(6).add("1\n1234567", [](std::string_view) { return true; }));
  }
}

TEST_CASE("which server: configured ones first, at random, resting after a failure") {
  SeededRandom random{3};
  std::map<std::string, int> drawn;
  for (int i = 0; i < 300; ++i) {
    Servers s(random);
    s.replace({{"c1", 1}, {"c2", 1}}, {{"l1", 1}, {"l2", 1}, {"c1", 1}});
    REQUIRE(s.size() == 4);
    std::set<Server> tried;
    std::string order;
    while (auto c = s.choose(tried, 0)) {
      CHECK(c->wait_ms == 0);
      order += c->server.host + " ";
      tried.insert(c->server);
      s.failed(c->server, 0);
    }
    CHECK(order.substr(0, 1) == "c");
    CHECK(order.substr(3, 1) == "c");
    ++drawn[order];
  }
  CHECK(drawn.size() == 4);  // two orders of each pair
  for (const auto& [order, n] : drawn) CHECK(n > 40);

  Servers s(random);
  s.replace({{"a", 1}}, {});
  int64_t now = 0, longest = 0;
  for (int i = 0; i < 20; ++i) {
    s.failed({"a", 1}, now);
    s.failed({"a", 1}, now);  // another call that failed with it
    const auto c = s.choose({}, now);
    REQUIRE(c);
    if (i == 0) CHECK((c->wait_ms >= 250 && c->wait_ms <= 500));
    CHECK(c->wait_ms <= 10'000);
    longest = std::max(longest, c->wait_ms);
    now += c->wait_ms;
  }
  CHECK(longest > 5'000);
  s.worked({"a", 1});
  CHECK(s.choose({}, now)->wait_ms == 0);
  // A learned one that rests no longer goes before a configured one that does.
  s.replace({{"a", 1}}, {{"b", 1}});
  s.failed({"a", 1}, now);
  CHECK(s.choose({}, now)->server.host == "b");
  CHECK(s.choose({}, now + 60'000)->server.host == "b");  // it stays
  CHECK(s.replace({{"a", 1}}, {}));
  std::vector<Server> many;
  for (uint16_t i = 0; i < 200; ++i) many.push_back({"x", i});
  s.replace({}, many);
  CHECK(s.size() == Servers::max_servers);
}

}  // namespace limpet::client::test
