// The in-process client and the informer against a scripted handler.
#include <doctest/doctest.h>

#include "base/json.h"
#include "client/in_process.h"
#include "client/informer.h"
#include "client/memory_exchange.h"

namespace limpet::client::test {
namespace {

struct Rig {
  loop::Loop loop;
  SeededRandom random{1};
  std::vector<http::ExchangePtr> asked;
  std::unique_ptr<InProcessClient> client = std::make_unique<InProcessClient>(
      loop, [this](http::ExchangePtr e) { asked.push_back(std::move(e)); }, "me",
      std::vector<std::string>{"g"});

  bool until(const std::function<bool()>& condition) {
    for (int i = 0; i < 1000 && !condition(); ++i) {
      loop::Timer wake(loop, "test");
      wake.start(1, [this] { loop.stop(); });
      loop.run();
    }
    return condition();
  }
};

std::string item(const std::string& name, int version) {
  return R"({"metadata":{"name":")" + name + R"(","namespace":"d","resourceVersion":")" +
         std::to_string(version) + R"("}})";
}

std::string event(const std::string& type, const std::string& object) {
  return R"({"type":")" + type + R"(","object":)" + object + "}\n";
}

std::string list(const std::vector<std::string>& items, int version, const std::string& token = "") {
  std::string all;
  for (const std::string& i : items) all += (all.empty() ? "" : ",") + i;
  return R"({"items":[)" + all + R"(],"metadata":{"resourceVersion":")" + std::to_string(version) +
         R"(","continue":")" + token + R"("}})";
}

}  // namespace

TEST_CASE("a call and its reply") {
  Rig rig;
  Reply got;
  bool done = false;
  auto p = rig.client->call({.method = "POST", .path = "/a%20b", .query = "x=%31", .body = "{}"},
                            [&](Result<Reply> r) {
                              REQUIRE(r);
                              got = *r;
                              done = true;
                            });
  REQUIRE(rig.asked.size() == 1);
  const http::Request& r = rig.asked[0]->request();
  CHECK(r.path == "/a b");
  CHECK(r.query.get("x") == "1");
  CHECK(r.peer.user == "me");
  CHECK(r.peer.kind == http::Peer::Kind::in_process);
  rig.asked[0]->respond({409, {}, R"({"reason":"AlreadyExists","message":"there"})"});
  CHECK_FALSE(done);  // never before the call returned, nor inside the server
  REQUIRE(rig.until([&] { return done; }));
  CHECK(got.status == 409);
  CHECK(got.error().code == Errc::already_exists);
  CHECK(got.error().message == "there");
}

TEST_CASE("errors by status") {
  struct {
    int status;
    const char* body;
    Errc code;
  } rows[] = {{404, "{}", Errc::not_found},     {409, R"({"reason":"Conflict"})", Errc::conflict},
              {410, "", Errc::expired},         {422, "no json", Errc::invalid_argument},
              {401, "", Errc::unauthenticated}, {403, "", Errc::permission_denied},
              {429, "", Errc::exhausted},       {503, "", Errc::unavailable},
              {504, "", Errc::timeout},         {500, "", Errc::internal}};
  for (const auto& row : rows) CHECK(Reply{row.status, row.body}.error().code == row.code);
}

TEST_CASE("an answer that breaks off, and a handler that never answers") {
  Rig rig;
  int failures = 0;
  auto note = [&](Result<Reply> r) { failures += !r; };
  auto a = rig.client->call({.path = "/a"}, note);
  rig.asked[0]->begin(200, {});
  rig.asked[0]->write("{");
  rig.asked[0]->abort();
  auto b = rig.client->call({.path = "/b"}, note);
  auto bad = rig.client->call({.path = "/%zz"}, note);
  rig.asked.clear();
  CHECK(rig.until([&] { return failures == 3; }));
}

TEST_CASE("destroying a call cancels it and tells the handler") {
  Rig rig;
  bool called = false, gone = false;
  auto p = rig.client->call({.path = "/a"}, [&](Result<Reply>) { called = true; });
  rig.asked[0]->on_gone([&] { gone = true; });
  p.reset();
  CHECK(gone);
  rig.asked[0]->respond({200, {}, "{}"});
  rig.until([] { return false; });
  CHECK_FALSE(called);
}

TEST_CASE("a stream gives whole events, however they are cut") {
  Rig rig;
  std::vector<std::string> events;
  bool ended = false;
  std::unique_ptr<Pending> p;
  p = rig.client->stream({.path = "/w"}, {[&](std::string_view e) { events.emplace_back(e); },
                                          [&](Result<> r) { ended = r.has_value(); }});
  rig.asked[0]->begin(200, {});
  rig.asked[0]->write("{\"a\":1}\n{\"b\"");
  rig.until([&] { return events.size() == 1; });
  rig.asked[0]->write(":2}\n");
  rig.asked[0]->end();
  REQUIRE(rig.until([&] { return ended; }));
  CHECK(events == std::vector<std::string>{"{\"a\":1}", "{\"b\":2}"});
  // Cancelled from inside an event: nothing more of the same batch.
  events.clear();
  p = rig.client->stream({.path = "/w"}, {[&](std::string_view e) {
                                            events.emplace_back(e);
                                            p.reset();
                                          },
                                          [&](Result<>) { events.emplace_back("end"); }});
  rig.asked[1]->begin(200, {});
  rig.asked[1]->write("{\"a\":1}\n{\"b\":2}\n");
  rig.asked[1]->end();
  rig.until([] { return false; });
  CHECK(events.size() == 1);
}

TEST_CASE("the informer lists in pages, follows, and lists again after 410") {
  Rig rig;
  std::vector<std::string> told;
  int synced = 0;
  Informer::Handlers h;
  h.on_add = [&](const std::string& k, const SharedBytes&) { told.push_back("+" + k); };
  h.on_update = [&](const std::string& k, const SharedBytes&, const SharedBytes&) {
    told.push_back("~" + k);
  };
  h.on_delete = [&](const std::string& k, const SharedBytes&) { told.push_back("-" + k); };
  h.on_synced = [&] { ++synced; };
  Informer informer(rig.loop, *rig.client, rig.random, {"/api/v1/things", "labelSelector=a"}, h);
  informer.start();
  auto asked = [&](size_t n) { return rig.until([&] { return rig.asked.size() >= n; }); };
  REQUIRE(asked(1));
  CHECK(rig.asked[0]->request().query.get("labelSelector") == "a");
  rig.asked[0]->respond({200, {}, list({item("a", 1)}, 5, "more")});
  REQUIRE(asked(2));
  CHECK(rig.asked[1]->request().query.get("continue") == "more");
  CHECK_FALSE(informer.synced());
  rig.asked[1]->respond({200, {}, list({item("b", 2)}, 5)});
  REQUIRE(asked(3));
  CHECK(informer.synced());
  CHECK(rig.asked[2]->request().query.get("watch") == "true");
  CHECK(rig.asked[2]->request().query.get("resourceVersion") == "5");
  rig.asked[2]->begin(200, {});
  rig.asked[2]->write(event("ADDED", item("c", 6)) + event("MODIFIED", item("a", 7)) +
                      event("DELETED", item("b", 8)) +
                      event("BOOKMARK", R"({"metadata":{"resourceVersion":"20"}})"));
  REQUIRE(rig.until([&] { return told.size() == 5; }));
  CHECK(told == std::vector<std::string>{"+d/a", "+d/b", "+d/c", "~d/a", "-d/b"});
  // Its time is over: on from the bookmark, without a list.
  rig.asked[2]->end();
  REQUIRE(asked(4));
  CHECK(rig.asked[3]->request().query.get("resourceVersion") == "20");
  rig.asked[3]->begin(200, {});
  rig.asked[3]->write(event("ERROR", R"({"code":410,"message":"too old"})"));
  rig.asked[3]->end();
  REQUIRE(asked(5));
  CHECK_FALSE(rig.asked[4]->request().query.has("watch"));
  rig.asked[4]->respond({200, {}, list({item("a", 30), item("e", 31)}, 40)});
  REQUIRE(asked(6));
  CHECK(told == std::vector<std::string>{"+d/a", "+d/b", "+d/c", "~d/a", "-d/b", "-d/c", "~d/a", "+d/e"});
  CHECK(synced == 1);
  CHECK(informer.size() == 2);
  CHECK(json::Cursor(*informer.get("d/a"))["metadata"]["resourceVersion"].str() == "30");
  CHECK_FALSE(informer.get("d/b"));
  // Connection lost: goes on from where it was.
  rig.asked[5]->abort();
  REQUIRE(asked(7));
  CHECK(rig.asked[6]->request().query.get("resourceVersion") == "40");
}

TEST_CASE("an informer destroyed from inside its handler") {
  Rig rig;
  std::unique_ptr<Informer> informer;
  int told = 0;
  Informer::Handlers h;
  h.on_add = [&](const std::string&, const SharedBytes&) {
    ++told;
    informer.reset();
  };
  informer = std::make_unique<Informer>(rig.loop, *rig.client, rig.random, Informer::Options{"/x", ""}, h);
  informer->start();
  rig.asked[0]->respond({200, {}, list({item("a", 1), item("b", 2)}, 5)});
  rig.until([] { return false; });
  CHECK(told == 1);
  CHECK(rig.asked.size() == 1);
}

}  // namespace limpet::client::test
