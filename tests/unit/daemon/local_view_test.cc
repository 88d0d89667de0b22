// What the socket of an agent answers in place of the API.
#include "daemon/local_view.h"

#include <doctest/doctest.h>

#include "base/json.h"
#include "client/memory_exchange.h"

namespace limpet::daemon::test {
namespace {

struct FakeNode final : api::NodeAccess {
  struct Log final : api::LogSession {
    void pause(bool) override {}
  };
  api::ContainerRef where;
  api::LogOptions options;
  std::optional<api::LogSession::Events> log;
  int execs = 0;
  std::unique_ptr<api::LogSession> logs(const api::ContainerRef& c, api::LogOptions o,
                                        api::LogSession::Events e) override {
    where = c;
    options = std::move(o);
    log = std::move(e);
    return std::make_unique<Log>();
  }
  std::unique_ptr<api::ExecSession> exec(const api::ContainerRef&, api::ExecRequest,
                                         api::ExecSession::Events) override {
    ++execs;
    return nullptr;
  }
};

std::string pod(const std::string& ns, const std::string& name, const std::string& phase = "Running") {
  return R"({"kind":"Pod","metadata":{"name":")" + name + R"(","namespace":")" + ns + R"(","uid":"u-)" +
         name + R"("},"spec":{"nodeName":"edge-1","containers":[{"name":"app"},{"name":"side"}]},)" +
         R"("status":{"phase":")" + phase + R"("}})";
}

struct Rig {
  loop::Loop loop;
  FakeNode node;
  NodeService service{loop, node};
  LocalView view{
      {[](std::string_view ns) {
         std::vector<std::string> all;
         for (const char* in : {"default", "other"}) {
           if (ns.empty() || ns == in) all.push_back(pod(in, "web"));
         }
         return all;
       },
       [](const std::string& ns, const std::string& name) -> std::optional<std::string> {
         if (ns != "default") return std::nullopt;
         if (name == "web") return pod(ns, name);
         if (name == "done") return pod(ns, name, "Succeeded");
         return std::nullopt;
       },
       [](uint32_t uid, uint32_t) { return uid == 1000; }, [] { return "limpet_loop_handles 7\n"; }},
      service};

  struct Answer {
    int status = 0;
    std::string body;
    bool over = false, whole = false;
  };
  std::shared_ptr<Answer> ask(const std::string& target, uint32_t uid = 0, const std::string& method = "GET",
                              http::Peer::Kind kind = http::Peer::Kind::unix_socket) {
    http::Request r;
    r.method = method;
    r.target = target;
    REQUIRE(http::split_target(target, &r.path, &r.query));
    r.peer.kind = kind;
    r.peer.uid = uid;
    auto a = std::make_shared<Answer>();
    auto e = std::make_shared<client::MemoryExchange>(
        loop, std::move(r),
        client::MemoryExchange::Receiver{[a](int status, const http::Headers&) { a->status = status; },
                                         [a](std::string_view b) { a->body.append(b); },
                                         [a](bool whole) {
                                           a->over = true;
                                           a->whole = whole;
                                         }});
    view.handle(std::move(e));
    return a;
  }
  std::shared_ptr<Answer> wait(std::shared_ptr<Answer> a) {
    REQUIRE(loop.run_until([&] { return a->over; }, 10'000));
    return a;
  }
};

}  // namespace

TEST_CASE("pods are listed and read in the API's shape") {
  Rig rig;
  struct {
    const char* path;
    size_t count;
  } lists[] = {
      {"/api/v1/pods", 2}, {"/api/v1/namespaces/other/pods", 1}, {"/api/v1/namespaces/none/pods", 0}};
  for (const auto& row : lists) {
    const auto a = rig.wait(rig.ask(row.path));
    CHECK(a->status == 200);
    const auto list = json::parse(a->body);
    REQUIRE(list);
    CHECK(list->ref()["kind"].str() == "PodList");
    CHECK(list->ref()["items"].size() == row.count);
  }
  const auto numbers = rig.wait(rig.ask("/metrics", 1000));
  CHECK(numbers->status == 200);
  CHECK(numbers->body == "limpet_loop_handles 7\n");
  const auto one = rig.wait(rig.ask("/api/v1/namespaces/default/pods/web", 1000));
  CHECK(one->status == 200);
  CHECK(one->body == pod("default", "web"));
}

TEST_CASE("what the view refuses") {
  Rig rig;
  constexpr auto tcp = http::Peer::Kind::tls;
  constexpr auto local = http::Peer::Kind::unix_socket;
  struct {
    const char* method;
    const char* target;
    uint32_t uid;
    http::Peer::Kind kind;
    int status;
  } rows[] = {
      {"GET", "/api/v1/pods", 1001, local, 403},
      {"GET", "/api/v1/pods", 0, tcp, 403},  // nobody from outside has a uid
      {"GET", "/metrics", 1001, local, 403},
      {"GET", "/metrics", 0, tcp, 403},
      {"POST", "/metrics", 0, local, 404},
      {"GET", "/api/v1/nodes", 0, local, 404},
      {"GET", "/api/v1/namespaces/default/secrets", 0, local, 404},
      {"GET", "/api/v1/namespaces/default/pods/web/log/more", 0, local, 404},
      {"GET", "/api/v1/namespaces/default", 0, local, 404},
      {"GET", "/apis/apps/v1/deployments", 0, local, 404},
      {"GET", "/api/v1/namespaces/default/pods/none", 0, local, 404},
      {"GET", "/api/v1/namespaces/other/pods/web", 0, local, 404},
      {"GET", "/api/v1/namespaces/default/pods/web/eviction", 0, local, 404},
      {"DELETE", "/api/v1/namespaces/default/pods/web", 0, local, 405},
      {"POST", "/api/v1/namespaces/default/pods", 0, local, 405},
      {"GET", "/api/v1/pods?watch=true", 0, local, 400},
      {"GET", "/api/v1/pods?labelSelector=a", 0, local, 400},
      {"GET", "/api/v1/namespaces/default/pods/web/log", 0, local, 400},  // of two containers
      {"GET", "/api/v1/namespaces/default/pods/web/log?container=none", 0, local, 400},
      {"GET", "/api/v1/namespaces/default/pods/web/log?container=app&tailLines=x", 0, local, 400},
      {"GET", "/api/v1/namespaces/default/pods/web/exec?container=app&command=sh&stdout=1", 1000, local, 403},
      {"GET", "/api/v1/namespaces/default/pods/web/attach?container=app&stdout=1", 1000, local, 403},
      {"GET", "/api/v1/namespaces/default/pods/web/exec?container=app&stdout=1", 0, local, 400},
      {"GET", "/api/v1/namespaces/default/pods/web/exec?container=app&command=sh&stdout=1", 0, local, 400},
      {"GET", "/api/v1/namespaces/default/pods/done/exec?container=app&command=sh&stdout=1", 0, local, 400}};
  for (const auto& row : rows) {
    CAPTURE(row.method);
    CAPTURE(row.target);
    const auto a = rig.wait(rig.ask(row.target, row.uid, row.method, row.kind));
    CHECK(a->status == row.status);
    CHECK(json::Cursor(a->body)["kind"].str() == "Status");
    CHECK_FALSE(json::Cursor(a->body)["message"].str().empty());
  }
  CHECK_FALSE(rig.node.log.has_value());
  CHECK(rig.node.execs == 0);
}

TEST_CASE("a log streams to a reader") {
  Rig rig;
  const auto a =
      rig.ask("/api/v1/namespaces/default/pods/web/log?container=side&follow=true&tailLines=3", 1000);
  REQUIRE(rig.node.log.has_value());
  CHECK(rig.node.where.container == "side");
  CHECK(rig.node.where.pod == "web");
  CHECK(rig.node.where.uid == "u-web");
  CHECK(rig.node.options.follow);
  CHECK(rig.node.options.tail_lines == 3);
  rig.node.log->on_ready();
  rig.node.log->on_data("line\n");
  REQUIRE(rig.loop.run_until([&] { return a->body == "line\n"; }, 10'000));
  CHECK(a->status == 200);
  rig.service.stop();  // the daemon ends
  rig.wait(a);
  CHECK_FALSE(a->whole);
}

}  // namespace limpet::daemon::test
