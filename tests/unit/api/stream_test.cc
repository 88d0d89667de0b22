// Logs, exec and attach against a scripted device.
#include "loop/stream.h"
#include "fixture.h"
#include "http/spdy_frames.h"
#include "http/spdy_headers.h"

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
    size_t queued = 0;  // what stdin_queue_size() says
    bool closed = false, destroyed = false, paused = false;
  };
  Events events;
  std::shared_ptr<Seen> seen = std::make_shared<Seen>();
  ~FakeExec() override { seen->destroyed = true; }
  void write_stdin(std::string_view b) override { seen->in.append(b); }
  void close_stdin() override { seen->closed = true; }
  void resize(int w, int h) override { seen->sizes += std::to_string(w) + "x" + std::to_string(h) + " "; }
  size_t stdin_queue_size() const override { return seen->queued; }
  void pause(bool p) override { seen->paused = p; }
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

// An exchange that can become a WebSocket, and a stream for another protocol when it has one.
struct SocketExchange final : http::Exchange {
  http::Request r;
  std::unique_ptr<loop::Stream> stream;
  http::Headers switched;
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
  Result<std::unique_ptr<loop::Stream>> take_over(std::string_view protocol, http::Headers h) override {
    answered = true;
    chosen = protocol;
    switched = std::move(h);
    return std::move(stream);
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

namespace {

// kubectl's end of an exec over SPDY.
struct SpdyClient {
  Server& s;
  std::unique_ptr<loop::Stream> stream;
  std::shared_ptr<SocketExchange> exchange = std::make_shared<SocketExchange>();
  http::SpdyHeaderWriter writer;
  http::SpdyReader reader;
  std::string said;  // what the server's frames say, without SYN_REPLY
  int replies = 0;
  bool over = false;

  SpdyClient(Server& server, const std::string& path, const std::string& query, const char* protocols)
      : s(server) {
    auto pair = loop::stream_pair(s.loop);
    REQUIRE(pair);
    stream = std::move(pair->first);
    exchange->stream = std::move(pair->second);
    stream->set_events({.on_read = [this](std::string_view b) { read(b); },
                        .on_eof = [this] { over = true; },
                        .on_error = [this](Error) { over = true; },
                        .on_drain = {}});
    stream->read_start();
    exchange->r.method = "POST";
    exchange->r.path = path;
    exchange->r.query = *http::parse_query(query);
    exchange->r.peer.kind = http::Peer::Kind::in_process;
    exchange->r.peer.user = "admin";
    exchange->r.peer.groups = {"system:masters"};
    exchange->r.headers.add("Connection", "Upgrade");
    exchange->r.headers.add("Upgrade", "SPDY/3.1");
    for (std::string_view rest = protocols; !rest.empty();) {  // one header each, as Go sends them
      const size_t end = rest.find(' ');
      exchange->r.headers.add("X-Stream-Protocol-Version", std::string(rest.substr(0, end)));
      rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    }
    s.api->handler()(exchange);
    REQUIRE(s.until([&] { return exchange->answered; }));
  }
  void read(std::string_view bytes) {
    for (;;) {
      switch (reader.next(bytes)) {
        case http::SpdyReader::Step::need_more:
        case http::SpdyReader::Step::error:
          return;
        case http::SpdyReader::Step::data:
          said += std::to_string(reader.stream()) + ":" + std::string(reader.payload()) +
                  (reader.fin() ? "$ " : " ");
          break;
        case http::SpdyReader::Step::control:
          if (reader.type() == http::SpdyType::syn_reply) ++replies;
          if (reader.type() == http::SpdyType::rst_stream) said += "reset ";
          if (reader.type() == http::SpdyType::goaway) said += "goaway ";
          break;
      }
    }
  }
  void open(uint32_t id, const char* type) {
    http::Headers h;
    h.add("streamtype", type);
    std::string out;
    http::append_spdy_control(&out, http::SpdyType::syn_stream, 0,
                              http::spdy_numbers(id, 0) + std::string(2, '\0') + writer.write(h));
    stream->write(std::move(out));
  }
  void send(uint32_t id, std::string_view bytes, bool fin = false) {
    std::string out;
    http::append_spdy_data(&out, id, bytes, fin);
    stream->write(std::move(out));
  }
  bool until(const std::function<bool()>& done) { return s.until(done); }
};

constexpr const char* kAllVersions =
    "v5.channel.k8s.io v4.channel.k8s.io v3.channel.k8s.io v2.channel.k8s.io channel.k8s.io";

}  // namespace

TEST_CASE("exec over SPDY: streams, resize, end of input, exit code") {
  FakeNode node;
  Server s(&node);
  bound_pod(s, "p");
  SpdyClient c(s, kPods + "/p/exec", "command=sh&stdin=true&stdout=true&stderr=true", "v4.channel.k8s.io");
  CHECK(c.exchange->chosen == "SPDY/3.1");
  CHECK(c.exchange->switched.get("X-Stream-Protocol-Version") == "v4.channel.k8s.io");
  c.open(1, "error");
  c.open(3, "stdin");
  c.open(5, "stdout");
  REQUIRE(c.until([&] { return c.replies == 3; }));
  CHECK_FALSE(node.exec_session);  // one stream is missing
  c.open(7, "stdout");             // there already
  c.open(9, "resize");             // no terminal
  c.open(11, "other");
  REQUIRE(c.until([&] { return c.said == "reset reset reset "; }));
  c.said.clear();
  c.open(13, "stderr");
  REQUIRE(c.until([&] { return node.exec_session != nullptr && c.replies == 4; }));
  CHECK(node.what.command == std::vector<std::string>{"sh"});
  auto seen = node.exec_session->seen;
  c.send(3, "hel");
  c.send(3, "lo");
  c.send(5, "nobody reads this");
  c.send(3, "", true);
  REQUIRE(c.until([&] { return seen->closed; }));
  CHECK(seen->in == "hello");
  node.exec_session->events.on_output(false, "out");
  node.exec_session->events.on_output(true, "err");
  node.exec_session->events.on_exit(7);
  REQUIRE(c.until([&] { return c.said.ends_with("goaway "); }));
  const size_t status = c.said.find("1:{");
  CHECK(c.said.substr(0, status) == "5:out 13:err 5:$ 13:$ ");
  CHECK(c.said.ends_with("} 1:$ goaway "));
  const std::string text = c.said.substr(status + 2, c.said.rfind('}') - status - 1);
  CHECK(json::Cursor(text)["reason"].str() == "NonZeroExitCode");
  CHECK(json::Cursor(text)["details"]["causes"].at(0)["message"].str() == "7");
  CHECK_FALSE(c.over);  // the client leaves first: what it has not read yet is still to be read
  c.stream->shutdown();
  REQUIRE(c.until([&] { return c.over && seen->destroyed; }));
}

TEST_CASE("exec over SPDY on a terminal; sizes may be cut anywhere") {
  FakeNode node;
  Server s(&node);
  bound_pod(s, "p");
  SpdyClient c(s, kPods + "/p/exec", "command=sh&stdin=true&stdout=true&tty=true", kAllVersions);
  CHECK(c.exchange->switched.get("X-Stream-Protocol-Version") == "v5.channel.k8s.io");
  c.open(1, "error");
  c.open(3, "stdin");
  c.open(5, "stdout");
  c.open(7, "resize");
  REQUIRE(c.until([&] { return node.exec_session != nullptr; }));
  auto seen = node.exec_session->seen;
  c.send(7, "{\"Width\":80,\"Hei");
  c.send(7, "ght\":24}\n{\"Width\":100,\"Height\":50}\nnonsense\n{\"Width\":0,\"Height\":1}\n");
  REQUIRE(c.until([&] { return seen->sizes == "80x24 100x50 "; }));
  c.stream.reset();  // the client is gone: the command goes with it
  REQUIRE(c.until([&] { return seen->destroyed; }));

  SpdyClient endless(s, kPods + "/p/exec", "command=sh&stdout=true&tty=true", "v4.channel.k8s.io");
  endless.open(1, "error");
  endless.open(3, "stdout");
  endless.open(5, "resize");
  endless.send(5, std::string(2000, 'x'));
  REQUIRE(endless.until([&] { return endless.over; }));
  CHECK(endless.said == "goaway ");
}

TEST_CASE("exec over SPDY in older dialects tells a failure as text") {
  FakeNode node;
  Server s(&node);
  bound_pod(s, "p");
  for (const char* version : {"v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"}) {
    SpdyClient c(s, kPods + "/p/attach", "stdout=true", version);
    CHECK(c.exchange->switched.get("X-Stream-Protocol-Version") == version);
    c.open(1, "error");
    c.open(3, "stdout");
    node.exec_session = nullptr;
    REQUIRE(c.until([&] { return node.exec_session != nullptr; }));
    node.exec_session->events.on_exit(3);
    REQUIRE(c.until([&] { return c.said.ends_with("goaway "); }));
    CHECK(c.said == "3:$ 1:command terminated with non-zero exit code: exit status 3 1:$ goaway ");
  }
  SpdyClient well(s, kPods + "/p/attach", "stdout=true", "v2.channel.k8s.io");
  well.open(1, "error");
  node.exec_session = nullptr;
  well.open(3, "stdout");
  REQUIRE(well.until([&] { return node.exec_session != nullptr; }));
  node.exec_session->events.on_exit(0);
  REQUIRE(well.until([&] { return well.said == "3:$ 1:$ goaway "; }));
}

TEST_CASE("exec over SPDY: refusals, and who breaks the protocol") {
  FakeNode node;
  Server s(&node);
  bound_pod(s, "p");
  const std::string exec = kPods + "/p/exec";
  SpdyClient unknown(s, exec, "command=x&stdout=true", "v9.channel.k8s.io");
  CHECK(unknown.exchange->status == 403);
  CHECK(unknown.exchange->body.find("v4.channel.k8s.io") != std::string::npos);
  CHECK(SpdyClient(s, exec, "stdout=true", kAllVersions).exchange->status == 400);
  CHECK(SpdyClient(s, kPods + "/none/exec", "command=x&stdout=true", kAllVersions).exchange->status == 404);
  SpdyClient early(s, exec, "command=x&stdin=true&stdout=true", kAllVersions);
  early.open(1, "stdin");
  early.send(1, "before anything runs");
  REQUIRE(early.until([&] { return early.over; }));
  CHECK_FALSE(node.exec_session);
}

TEST_CASE("exec over SPDY: whoever is slow holds up the other side") {
  FakeNode node;
  Server s(&node);
  bound_pod(s, "p");
  SpdyClient c(s, kPods + "/p/exec", "command=x&stdin=true&stdout=true", kAllVersions);
  c.open(1, "error");
  c.open(3, "stdin");
  c.open(5, "stdout");
  REQUIRE(c.until([&] { return node.exec_session != nullptr && c.replies == 3; }));
  auto seen = node.exec_session->seen;
  c.stream->read_stop();
  node.exec_session->events.on_output(false, std::string(4 << 20, 'x'));
  CHECK(seen->paused);
  c.stream->read_start();
  REQUIRE(c.until([&] { return !seen->paused; }));
  seen->queued = 1 << 20;  // the container does not take its input
  c.send(3, std::string(4 << 20, 'y'));
  REQUIRE(c.until([&] { return !seen->in.empty(); }));
  const size_t taken = seen->in.size();
  s.turn();
  s.turn();
  CHECK(seen->in.size() == taken);
  CHECK(c.stream->write_queue_size() > 0);
  seen->queued = 0;
  node.exec_session->events.on_drain();
  REQUIRE(c.until([&] { return seen->in.size() == 4 << 20; }));
}

}  // namespace limpet::api::test
