// Logs, exec and attach against a scripted device.
#include "fixture.h"

namespace limpet::api::test {
namespace {

struct FakeLog final : LogSession {
  Events events;
  ContainerRef container;
  LogOptions options;
  bool paused = false;
  void pause(bool p) override { paused = p; }
};

struct FakeExec final : ExecSession {
  struct Seen {
    std::string in, sizes;
    bool closed = false, destroyed = false;
  };
  Events events;
  std::shared_ptr<Seen> seen = std::make_shared<Seen>();
  ~FakeExec() override { seen->destroyed = true; }
  void write_stdin(std::string_view b) override { seen->in.append(b); }
  void close_stdin() override { seen->closed = true; }
  void resize(int w, int h) override { seen->sizes += std::to_string(w) + "x" + std::to_string(h) + " "; }
  size_t stdin_queue_size() const override { return 0; }
  void pause(bool) override {}
};

struct FakeNode final : NodeAccess {
  FakeLog* log = nullptr;  // the last one, owned by the server
  FakeExec* exec_session = nullptr;
  ContainerRef where;
  ExecRequest what;
  std::unique_ptr<LogSession> logs(const ContainerRef& c, LogOptions o, LogSession::Events e) override {
    auto s = std::make_unique<FakeLog>();
    s->container = c;
    s->options = std::move(o);
    s->events = std::move(e);
    log = s.get();
    return s;
  }
  std::unique_ptr<ExecSession> exec(const ContainerRef& c, ExecRequest r, ExecSession::Events e) override {
    where = c;
    what = std::move(r);
    auto s = std::make_unique<FakeExec>();
    s->events = std::move(e);
    exec_session = s.get();
    return s;
  }
};

struct FakeSocket final : http::WebSocket {
  struct Seen {
    std::vector<std::string> sent;
    int code = 0;
    Events events;
  };
  std::shared_ptr<Seen> seen;
  std::string protocol;
  void set_events(Events e) override { seen->events = std::move(e); }
  void send(std::string_view m, bool) override { seen->sent.emplace_back(m); }
  void close(int code, std::string_view) override { seen->code = code; }
  size_t write_queue_size() const override { return 0; }
  void pause_reading(bool) override {}
  const std::string& subprotocol() const override { return protocol; }
};

// An exchange that can become a WebSocket.
struct SocketExchange final : http::Exchange {
  http::Request r;
  std::shared_ptr<FakeSocket::Seen> seen = std::make_shared<FakeSocket::Seen>();
  std::string chosen;
  int status = 0;
  std::string body;
  const http::Request& request() const override { return r; }
  void respond(http::Response response) override {
    answered = true;
    status = response.status;
    body = response.body;
  }
  void begin(int s, http::Headers) override { status = s; }
  void write(std::string_view) override {}
  void end() override {}
  size_t write_queue_size() const override { return 0; }
  void abort() override {}
  void on_gone(std::function<void()>) override {}
  void on_drain(std::function<void()>) override {}
  Result<std::unique_ptr<http::WebSocket>> upgrade(std::string_view p) override {
    answered = true;
    chosen = p;
    auto s = std::make_unique<FakeSocket>();
    s->seen = seen;
    s->protocol = p;
    return s;
  }
};

const std::string kPods = "/api/v1/namespaces/default/pods";

void bound_pod(Server& s, const std::string& name) {
  REQUIRE(s.post(kPods, pod(name, "", R"(,"nodeName":"n1")")).status == 201);
}

std::shared_ptr<SocketExchange> session(Server& s, const std::string& path, const std::string& query,
                                        const std::string& protocols) {
  auto e = std::make_shared<SocketExchange>();
  e->r.method = "GET";
  e->r.path = path;
  e->r.query = *http::parse_query(query);
  e->r.peer.kind = http::Peer::Kind::in_process;
  e->r.peer.user = "admin";
  e->r.peer.groups = {"system:masters"};
  e->r.headers.add("Sec-WebSocket-Protocol", protocols);
  s.api->handler()(e);
  s.until([&] { return e->answered; });
  return e;
}

}  // namespace

TEST_CASE("logs stream through, with their options") {
  FakeNode node;
  Server s(&node);
  bound_pod(s, "p");
  auto o = s.open(
      {.target = kPods + "/p/log?follow=true&tailLines=5&timestamps=true&sinceSeconds=9&limitBytes=100"});
  REQUIRE(s.until([&] { return node.log != nullptr; }));
  CHECK(node.log->container.container == "app");
  CHECK(node.log->container.node == "n1");
  CHECK(node.log->options.follow);
  CHECK(node.log->options.timestamps);
  CHECK(*node.log->options.tail_lines == 5);
  CHECK(*node.log->options.since_seconds == 9);
  node.log->events.on_ready();
  node.log->events.on_data("one\n");
  REQUIRE(s.until([&] { return o.answer->body == "one\n"; }));
  CHECK(o.answer->status == 200);
  CHECK(o.answer->headers.get("Content-Type") == "text/plain");
  node.log->events.on_data(std::string(1 << 20, 'x'));
  CHECK(node.log->paused);
  REQUIRE(s.until([&] { return !node.log->paused; }));
  node.log->events.on_end({});
  REQUIRE(s.until([&] { return o.answer->over; }));
  CHECK(o.answer->whole);
}

TEST_CASE("logs that cannot be had") {
  FakeNode node;
  Server s(&node);
  bound_pod(s, "p");
  REQUIRE(s.post(kPods, pod("unbound")).status == 201);
  CHECK(s.get(kPods + "/none/log").status == 404);
  CHECK(s.get(kPods + "/unbound/log").status == 400);
  CHECK(s.get(kPods + "/p/log?container=zzz").message() == "container zzz is not valid for pod p");
  CHECK(s.get(kPods + "/p/log?tailLines=-1").status == 422);
  CHECK(s.get(kPods + "/p/log?tailLines=x").status == 400);
  CHECK(s.get(kPods + "/p/log?sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z").status == 422);
  auto o = s.open({.target = kPods + "/p/log"});
  REQUIRE(s.until([&] { return node.log != nullptr; }));
  node.log->events.on_end(
      fail(Errc::invalid_argument, "container \"app\" in pod \"p\" is waiting to start: ContainerCreating"));
  REQUIRE(s.until([&] { return o.answer->over; }));
  CHECK(o.answer->status == 400);
  CHECK(o.answer->message().find("ContainerCreating") != std::string::npos);
}

TEST_CASE("exec: channels, resize, half-close, exit code") {
  FakeNode node;
  Server s(&node);
  bound_pod(s, "p");
  auto e = session(s, kPods + "/p/exec", "command=sh&command=-c&stdin=true&stdout=1&stderr=true",
                   "v5.channel.k8s.io");
  REQUIRE(node.exec_session);
  CHECK(e->chosen == "v5.channel.k8s.io");
  CHECK(node.what.command == std::vector<std::string>{"sh", "-c"});
  CHECK(node.what.in);
  CHECK(node.what.err);
  auto seen = node.exec_session->seen;
  e->seen->events.on_message(std::string("\0hello", 6), true);
  e->seen->events.on_message(std::string("\4{\"Width\":80,\"Height\":24}\n"), true);
  e->seen->events.on_message(std::string("\xff\0", 2), true);
  CHECK(seen->in == "hello");
  CHECK(seen->sizes == "80x24 ");
  CHECK(seen->closed);
  node.exec_session->events.on_output(false, "out");
  node.exec_session->events.on_output(true, "err");
  node.exec_session->events.on_exit(7);
  REQUIRE(e->seen->sent.size() == 3);
  CHECK(e->seen->sent[0] == "\1out");
  CHECK(e->seen->sent[1] == "\2err");
  CHECK(e->seen->sent[2][0] == 3);
  std::string status = e->seen->sent[2].substr(1);
  CHECK(json::Cursor(status)["reason"].str() == "NonZeroExitCode");
  CHECK(json::Cursor(status)["details"]["causes"].at(0)["message"].str() == "7");
  CHECK(e->seen->code == 1000);
  e->seen->events.on_close(1000, "");
  s.turn();
  CHECK(seen->destroyed);
}

TEST_CASE("exec in other dialects, and refusals") {
  FakeNode node;
  Server s(&node);
  bound_pod(s, "p");
  const std::string exec = kPods + "/p/exec";
  auto v4 = session(s, exec, "command=x&stdout=true", "v4.channel.k8s.io, channel.k8s.io");
  CHECK(v4->chosen == "v4.channel.k8s.io");
  node.exec_session->events.on_exit(0);
  REQUIRE(v4->seen->sent.size() == 1);
  std::string success = v4->seen->sent[0].substr(1);
  CHECK(json::Cursor(success)["status"].str() == "Success");
  auto old = session(s, exec, "command=x&stdout=true", "channel.k8s.io");
  node.exec_session->events.on_exit(0);
  for (const std::string& m : old->seen->sent) CHECK(m.size() == 1);  // nothing but announcements
  CHECK(old->seen->code == 1000);
  auto text = session(s, exec, "command=x&stdout=true", "v5.channel.k8s.io");
  text->seen->events.on_message("hello", false);
  CHECK(text->seen->code == 1003);
  CHECK(session(s, exec, "command=x&stdout=true", "base64.channel.k8s.io")->status == 400);
  CHECK(session(s, exec, "stdout=true", "v5.channel.k8s.io")->status == 400);
  CHECK(session(s, exec, "command=x", "v5.channel.k8s.io")->status == 400);
  CHECK(session(s, kPods + "/none/exec", "command=x&stdout=1", "v5.channel.k8s.io")->status == 404);
  auto attach =
      session(s, kPods + "/p/attach", "stdin=true&stdout=true&tty=true&stderr=true", "v5.channel.k8s.io");
  CHECK(attach->chosen == "v5.channel.k8s.io");
  CHECK(node.what.command.empty());
  CHECK(node.what.tty);
  CHECK_FALSE(node.what.err);
  auto seen = node.exec_session->seen;
  attach->seen->events.on_close(1006, "");  // the client vanished
  s.turn();
  CHECK(seen->destroyed);
}

}  // namespace limpet::api::test
