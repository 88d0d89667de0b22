// Logs, exec and attach of a container on another device: both ends over a pair of streams, a scripted node
// agent behind the one, the API's sessions played by the test in front of the other.
#include <doctest/doctest.h>

#include <optional>

#include "base/json.h"
#include "daemon/node_service.h"
#include "daemon/node_wire.h"
#include "daemon/remote_node_access.h"
#include "http/server.h"

namespace limpet::daemon::test {
namespace {

struct FakeLog final : api::LogSession {
  bool* paused;
  bool* gone;
  FakeLog(bool* p, bool* g) : paused(p), gone(g) {}
  ~FakeLog() override { *gone = true; }
  void pause(bool p) override { *paused = p; }
};

struct FakeExec final : api::ExecSession {
  struct Seen {
    std::string in, sizes;
    size_t queued = 0;
    bool closed = false, gone = false, paused = false;
  };
  Seen* seen;
  explicit FakeExec(Seen* s) : seen(s) {}
  ~FakeExec() override { seen->gone = true; }
  void write_stdin(std::string_view b) override { seen->in.append(b); }
  void close_stdin() override { seen->closed = true; }
  void resize(int w, int h) override { seen->sizes += std::to_string(w) + "x" + std::to_string(h) + " "; }
  size_t stdin_queue_size() const override { return seen->queued; }
  void pause(bool p) override { seen->paused = p; }
};

struct FakeNode final : api::NodeAccess {
  api::ContainerRef where;
  api::LogOptions options;
  api::ExecRequest what;
  std::optional<api::LogSession::Events> log;
  std::optional<api::ExecSession::Events> run;
  bool log_paused = false, log_gone = false;
  FakeExec::Seen exec_seen;
  std::unique_ptr<api::LogSession> logs(const api::ContainerRef& c, api::LogOptions o,
                                        api::LogSession::Events e) override {
    where = c;
    options = std::move(o);
    log = std::move(e);
    return std::make_unique<FakeLog>(&log_paused, &log_gone);
  }
  std::unique_ptr<api::ExecSession> exec(const api::ContainerRef& c, api::ExecRequest r,
                                         api::ExecSession::Events e) override {
    where = c;
    what = std::move(r);
    run = std::move(e);
    return std::make_unique<FakeExec>(&exec_seen);
  }
};

// What the API's side saw of a log.
struct LogSeen {
  std::string text;
  bool ready = false;
  std::optional<Result<>> end;
  api::LogSession::Events events() {
    return {[this] { ready = true; },
            [this](std::string_view b) {
              CHECK(ready);
              text.append(b);
            },
            [this](Result<> r) {
              CHECK_FALSE(end.has_value());
              end = std::move(r);
            }};
  }
};

struct ExecSeen {
  std::string out, err;
  std::optional<Result<int>> exit;
  int drains = 0;
  api::ExecSession::Events events() {
    return {[this](bool is_err, std::string_view b) { (is_err ? err : out).append(b); },
            [this](Result<int> r) {
              CHECK_FALSE(exit.has_value());
              exit = std::move(r);
            },
            [this] { ++drains; }};
  }
};

// Bytes go between the two ends through here, so that the test can hold and cut them.
struct Wire {
  std::unique_ptr<loop::Stream> a, b;
  void splice(loop::Stream& from, std::unique_ptr<loop::Stream>& to) {
    from.set_events({.on_read = [&to](std::string_view s) { to->write(std::string(s)); },
                     .on_eof = [&to] { to->shutdown(); },
                     .on_error = [](Error) {},
                     .on_drain = {}});
    from.read_start();
  }
};

struct Rig {
  loop::Loop loop;
  FakeNode node;
  std::unique_ptr<NodeService> service = std::make_unique<NodeService>(loop, node);
  std::unique_ptr<http::Server> server = std::make_unique<http::Server>(
      loop, node_service_options(), [this](http::ExchangePtr e) { service->handle(std::move(e)); });
  Wire wire;
  std::optional<Error> refuse;
  bool never = false;
  int opened = 0, opens_cancelled = 0;
  std::string opened_node;
  std::unique_ptr<RemoteNodeAccess> access = std::make_unique<RemoteNodeAccess>(
      loop, [this](const std::string& n, http::Dialer::Done d) { return open(n, std::move(d)); }, 300);

  ~Rig() {
    access.reset();
    service.reset();
    server.reset();
    wire = {};
    CHECK(loop.run_until([&] { return loop.live_handles() == 1; }, 10'000));
  }
  struct Opening final : http::Dialer::Dial {
    loop::Timer timer;
    Rig& rig;
    bool done = false;
    Opening(Rig& r) : timer(r.loop, "open"), rig(r) {}
    ~Opening() override { rig.opens_cancelled += !done; }
  };
  std::unique_ptr<http::Dialer::Dial> open(const std::string& name, http::Dialer::Done done) {
    ++opened;
    opened_node = name;
    auto o = std::make_unique<Opening>(*this);
    if (never) return o;
    o->timer.start(0, [this, o = o.get(), done = std::move(done)] {
      o->done = true;
      if (refuse) return done(std::unexpected(*refuse));
      auto near = loop::stream_pair(loop), far = loop::stream_pair(loop);
      REQUIRE((near && far));
      wire.a = std::move(near->second);
      wire.b = std::move(far->first);
      wire.splice(*wire.a, wire.b);
      wire.splice(*wire.b, wire.a);
      server->serve(std::move(far->second), {});
      done(std::move(near->first));
    });
    return o;
  }
  bool until(const std::function<bool()>& f) { return loop.run_until(f, 10'000); }
  void spin(int64_t ms = 20) {
    loop.run_until([] { return false; }, ms);
  }
  void cut() { wire = {}; }
};

const api::ContainerRef kContainer{"default", "web", "6d1b-uid", "edge-1", "app"};

std::unique_ptr<api::ExecSession> run_exec(Rig& rig, ExecSeen& seen) {
  auto s = rig.access->exec(kContainer, {{"sh", "-c", "echo a&b=c"}, true, true, true, false}, seen.events());
  REQUIRE(rig.until([&] { return rig.node.run.has_value(); }));
  return s;
}

bool names_the_device(const Error& e) { return e.message.find("\"edge-1\"") != std::string::npos; }

}  // namespace

TEST_CASE("a log streams through, with its options") {
  Rig rig;
  LogSeen seen;
  api::LogOptions o;
  o.follow = o.previous = o.timestamps = true;
  o.tail_lines = 0;
  o.limit_bytes = 100;
  o.since_time = WallTime{1'700'000'000, 0};
  o.stream = "Stderr";
  auto s = rig.access->logs(kContainer, o, seen.events());
  REQUIRE(rig.until([&] { return rig.node.log.has_value(); }));
  CHECK(rig.opened_node == "edge-1");
  CHECK(rig.node.where.ns == "default");
  CHECK(rig.node.where.pod == "web");
  CHECK(rig.node.where.uid == "6d1b-uid");
  CHECK(rig.node.where.container == "app");
  const api::LogOptions& got = rig.node.options;
  CHECK((got.follow && got.previous && got.timestamps));
  CHECK(got.tail_lines == 0);
  CHECK(got.limit_bytes == 100);
  CHECK(got.since_time == WallTime{1'700'000'000, 0});
  CHECK_FALSE(got.since_seconds.has_value());
  CHECK(got.stream == "Stderr");
  rig.node.log->on_ready();
  REQUIRE(rig.until([&] { return seen.ready; }));
  CHECK(seen.text.empty());
  rig.node.log->on_data("one\n");
  rig.node.log->on_data("two\n");
  REQUIRE(rig.until([&] { return seen.text == "one\ntwo\n"; }));
  rig.node.log->on_end({});
  REQUIRE(rig.until([&] { return seen.end.has_value(); }));
  CHECK(seen.end->has_value());
  CHECK(rig.until([&] { return rig.service->sessions() == 0 && rig.node.log_gone; }));
}

TEST_CASE("an empty log is a log") {
  Rig rig;
  LogSeen seen;
  auto s = rig.access->logs(kContainer, {}, seen.events());
  REQUIRE(rig.until([&] { return rig.node.log.has_value(); }));
  rig.node.log->on_end({});
  REQUIRE(rig.until([&] { return seen.end.has_value(); }));
  CHECK(seen.end->has_value());
  CHECK(seen.ready);
}

TEST_CASE("why a log cannot be had is told as the device told it") {
  struct {
    Errc code, told;
    const char* message;
  } rows[] = {{Errc::invalid_argument, Errc::invalid_argument,
               "container \"app\" in pod \"web\" is waiting to start: ContainerCreating"},
              {Errc::not_found, Errc::not_found, "pod \"web\" is not on this device"},
              {Errc::exhausted, Errc::exhausted, "no more files can be opened"},
              {Errc::io, Errc::internal, "read /var/log/pods: input/output error"}};
  for (const auto& row : rows) {
    CAPTURE(row.message);
    Rig rig;
    LogSeen seen;
    auto s = rig.access->logs(kContainer, {}, seen.events());
    REQUIRE(rig.until([&] { return rig.node.log.has_value(); }));
    rig.node.log->on_end(fail(row.code, row.message));
    REQUIRE(rig.until([&] { return seen.end.has_value(); }));
    CHECK_FALSE(seen.ready);
    CHECK(seen.end->error().code == row.told);
    CHECK(seen.end->error().message == row.message);
  }
}

TEST_CASE("a reader that is slow slows the device; one that leaves ends its session") {
  Rig rig;
  LogSeen seen;
  auto s = rig.access->logs(kContainer, {}, seen.events());
  REQUIRE(rig.until([&] { return rig.node.log.has_value(); }));
  rig.node.log->on_ready();
  s->pause(true);
  size_t sent = 0;
  // The test's own wire has no bound, so that what counts is that reading stops: cut it out of the way.
  rig.wire.a->read_stop();
  rig.wire.b->read_stop();
  while (!rig.node.log_paused && sent < (64u << 20)) {
    rig.node.log->on_data(std::string(64 * 1024, 'x'));
    sent += 64 * 1024;
    rig.spin(0);
  }
  REQUIRE(rig.node.log_paused);
  CHECK(sent < (4u << 20));
  rig.wire.a->read_start();
  rig.wire.b->read_start();
  rig.spin(50);
  CHECK(seen.text.size() < sent);  // paused: what came stays in the connection
  s->pause(false);
  REQUIRE(rig.until([&] { return seen.text.size() == sent && !rig.node.log_paused; }));
  s.reset();
  CHECK(rig.until([&] { return rig.node.log_gone; }));
}

TEST_CASE("a log whose device vanishes in the middle is not complete") {
  for (const bool broken_off : {false, true}) {
    Rig rig;
    LogSeen seen;
    auto s = rig.access->logs(kContainer, {}, seen.events());
    REQUIRE(rig.until([&] { return rig.node.log.has_value(); }));
    rig.node.log->on_ready();
    rig.node.log->on_data("half");
    REQUIRE(rig.until([&] { return seen.text == "half"; }));
    broken_off ? rig.node.log->on_end(fail(Errc::io, "the disk is gone")) : rig.cut();
    REQUIRE(rig.until([&] { return seen.end.has_value(); }));
    REQUIRE_FALSE(seen.end->has_value());
    CHECK(names_the_device(seen.end->error()));
  }
}

TEST_CASE("a device that cannot be reached is named, with what to do") {
  for (const bool silent : {false, true}) {
    Rig rig;
    if (silent) {
      rig.never = true;
    } else {
      rig.refuse = Error{Errc::unavailable, "it holds no connection to any server", 0};
    }
    LogSeen log;
    ExecSeen exec;
    auto l = rig.access->logs(kContainer, {}, log.events());
    auto x = rig.access->exec(kContainer, {{"true"}, false, true, false, false}, exec.events());
    REQUIRE(rig.until([&] { return log.end && exec.exit; }));
    for (const Error& e : {log.end->error(), exec.exit->error()}) {
      CHECK(names_the_device(e));
      CHECK(e.message.find(silent ? "timed out" : "it holds no connection") != std::string::npos);
      CHECK(e.message.find("kubectl get node edge-1") != std::string::npos);
      CHECK(e.code == Errc::internal);  // a 503 would be repeated by clients
    }
    if (silent) CHECK(rig.opens_cancelled == 2);
  }
}

TEST_CASE("exec: input, output, size, half-close, exit code") {
  for (const int code : {0, 1, 7, 137, 255}) {
    Rig rig;
    ExecSeen seen;
    auto s =
        rig.access->exec(kContainer, {{"sh", "-c", "echo a&b=c"}, true, true, true, false}, seen.events());
    s->resize(80, 24);
    s->resize(100, 30);  // before there is a connection only the last counts
    s->write_stdin("early ");
    CHECK(s->stdin_queue_size() == 6);
    REQUIRE(rig.until([&] { return rig.node.exec_seen.in == "early "; }));
    CHECK(rig.node.what.command == std::vector<std::string>{"sh", "-c", "echo a&b=c"});
    CHECK((rig.node.what.in && rig.node.what.out && rig.node.what.err));
    CHECK_FALSE(rig.node.what.tty);
    CHECK(rig.node.where.uid == "6d1b-uid");
    s->write_stdin("late");
    s->resize(120, 40);
    s->close_stdin();
    REQUIRE(rig.until([&] { return rig.node.exec_seen.closed; }));
    CHECK(rig.node.exec_seen.in == "early late");
    CHECK(rig.node.exec_seen.sizes == "100x30 120x40 ");
    CHECK(seen.drains >= 1);
    rig.node.run->on_output(false, "out");
    rig.node.run->on_output(true, "err");
    rig.node.run->on_output(false, std::string("\0\xff", 2));
    rig.node.run->on_exit(code);
    REQUIRE(rig.until([&] { return seen.exit.has_value(); }));
    CHECK(seen.out == std::string("out\0\xff", 5));
    CHECK(seen.err == "err");
    REQUIRE(seen.exit->has_value());
    CHECK(**seen.exit == code);
    s.reset();
    CHECK(rig.until([&] { return rig.service->sessions() == 0 && rig.node.exec_seen.gone; }));
  }
}

TEST_CASE("attach, with a terminal, and input that was closed before anything was there") {
  Rig rig;
  ExecSeen seen;
  auto s = rig.access->exec(kContainer, {{}, true, true, false, true}, seen.events());
  s->write_stdin("x");
  s->close_stdin();
  REQUIRE(rig.until([&] { return rig.node.exec_seen.closed; }));
  CHECK(rig.node.what.command.empty());
  CHECK(rig.node.what.tty);
  CHECK(rig.node.exec_seen.in == "x");
  rig.node.run->on_exit(0);
  REQUIRE(rig.until([&] { return seen.exit.has_value(); }));
  CHECK(**seen.exit == 0);
}

TEST_CASE("why a command was not run is told as the device told it") {
  Rig rig;
  ExecSeen seen;
  auto s = run_exec(rig, seen);
  rig.node.run->on_exit(fail(Errc::not_found, "container \"app\" of pod \"web\" is not running"));
  REQUIRE(rig.until([&] { return seen.exit.has_value(); }));
  CHECK(seen.exit->error().code == Errc::not_found);
  CHECK(seen.exit->error().message == "container \"app\" of pod \"web\" is not running");
}

TEST_CASE("a command whose device vanishes ends with an error, whatever it said before") {
  enum How { cut, half_closed, service_stops, server_stops };
  for (const How how : {cut, half_closed, service_stops, server_stops}) {
    CAPTURE(how);
    Rig rig;
    ExecSeen seen;
    auto s = run_exec(rig, seen);
    rig.node.run->on_output(false, "some");
    REQUIRE(rig.until([&] { return seen.out == "some"; }));
    if (how == cut) rig.cut();
    if (how == half_closed) rig.wire.a->shutdown();
    if (how == service_stops) rig.service.reset();
    if (how == server_stops) rig.server->shutdown(100, [] {});
    REQUIRE(rig.until([&] { return seen.exit.has_value(); }));
    REQUIRE_FALSE(seen.exit->has_value());
    CHECK(names_the_device(seen.exit->error()));
    CHECK(seen.exit->error().message.find("may still run") != std::string::npos);
  }
}

TEST_CASE("output and input wait for who is slow") {
  Rig rig;
  ExecSeen seen;
  auto s = run_exec(rig, seen);
  s->pause(true);
  rig.wire.a->read_stop();
  rig.wire.b->read_stop();
  size_t sent = 0;
  while (!rig.node.exec_seen.paused && sent < (64u << 20)) {
    rig.node.run->on_output(false, std::string(32 * 1024, 'x'));
    sent += 32 * 1024;
    rig.spin(0);
  }
  REQUIRE(rig.node.exec_seen.paused);
  rig.wire.a->read_start();
  rig.wire.b->read_start();
  rig.spin(50);
  CHECK(seen.out.size() < sent);
  s->pause(false);
  REQUIRE(rig.until([&] { return seen.out.size() == sent && !rig.node.exec_seen.paused; }));
  // Input that the container does not take fills the queue that the API looks at, and is taken later.
  rig.node.exec_seen.queued = 10u << 20;
  size_t typed = 0;
  while (s->stdin_queue_size() < (512u << 10) && typed < (64u << 20)) {
    s->write_stdin(std::string(64 * 1024, 'i'));
    typed += 64 * 1024;
    rig.wire.b->write_queue_size() > (1u << 20) ? rig.wire.a->read_stop() : void();
    rig.spin(0);
  }
  CHECK(s->stdin_queue_size() >= (512u << 10));
  CHECK(rig.node.exec_seen.in.size() < typed);
  const int before = seen.drains;
  rig.node.exec_seen.queued = 0;
  rig.node.run->on_drain();
  rig.wire.a->read_start();
  REQUIRE(rig.until([&] { return rig.node.exec_seen.in.size() == typed; }));
  CHECK(rig.until([&] { return seen.drains > before; }));
  s.reset();
  CHECK(rig.until([&] { return rig.node.exec_seen.gone; }));
}

TEST_CASE("the node service refuses what it does not serve") {
  struct {
    const char* request;
    int status;
  } rows[] = {{"GET /", 404},
              {"GET /api/v1/pods", 404},
              {"GET /containerLogs/ns/pod/uid", 404},
              {"GET /containerLogs/ns/pod/uid/c/more", 404},
              {"GET /run/ns/pod/uid/c", 404},
              {"GET /containerLogs/ns/pod/uid/c?tailLines=x", 400},
              {"GET /containerLogs/ns/pod/uid/c?tailLines=-1", 422},
              {"POST /containerLogs/ns/pod/uid/c", 405},
              {"GET /exec/ns/pod/uid/c?stdout=true", 400},
              {"GET /exec/ns/pod/uid/c?command=sh", 400},
              {"GET /exec/ns/pod/uid/c?command=sh&stdout=true", 400},  // no WebSocket
              {"GET /attach/ns/pod/uid/c", 400}};
  for (const auto& row : rows) {
    CAPTURE(row.request);
    Rig rig;
    auto pair = loop::stream_pair(rig.loop);
    std::string got;
    pair->first->set_events({.on_read = [&](std::string_view b) { got.append(b); },
                             .on_eof = {},
                             .on_error = {},
                             .on_drain = {}});
    pair->first->read_start();
    rig.server->serve(std::move(pair->second), {});
    pair->first->write(std::string(row.request) + " HTTP/1.1\r\nHost: h\r\n\r\n");
    REQUIRE(rig.until([&] { return got.find("\"kind\":\"Status\"") != std::string::npos; }));
    CHECK(got.starts_with("HTTP/1.1 " + std::to_string(row.status)));
    CHECK_FALSE(rig.node.log.has_value());
    CHECK_FALSE(rig.node.run.has_value());
    pair->first.reset();
    rig.spin(1);
  }
}

TEST_CASE("the last word of a command: no exit code out of what says none") {
  for (const int code : {0, 1, 255}) CHECK(read_exec_end(exec_end(code)).value() == code);
  const Result<int> why = fail(Errc::not_found, "is not running");
  CHECK(read_exec_end(exec_end(why)).error().code == Errc::not_found);
  CHECK(read_exec_end(exec_end(why)).error().message == "is not running");
  for (const char* bad :
       {"", "{", "{}", "null", "[]", R"({"status":"Failure"})", R"({"status":"success"})",
        R"({"status":"Failure","code":200})", R"({"status":"Failure","code":-1})",
        R"({"status":"Failure","details":{"causes":[{"reason":"ExitCode","message":"0"}]}})",
        R"({"status":"Failure","details":{"causes":[{"reason":"ExitCode","message":"x"}]}})",
        R"({"status":"Failure","details":{"causes":[{"reason":"ExitCode","message":"1x"}]}})",
        R"({"status":"Failure","details":{"causes":[{"reason":"ExitCode","message":"-1"}]}})",
        R"({"status":"Failure","details":{"causes":[{"reason":"ExitCode","message":"99999999999"}]}})"}) {
    CAPTURE(bad);
    CHECK_FALSE(read_exec_end(bad));
  }
  CHECK_FALSE(read_exec_end("\"" + std::string(100'000, 'x') + "\""));
}

TEST_CASE("who is asked: this device for its own, the other one else") {
  FakeNode own, other;
  AnyNodeAccess any("edge-1", own, other);
  auto here = any.logs(kContainer, {}, {});
  api::ContainerRef far = kContainer;
  far.node = "edge-2";
  auto there = any.exec(far, {}, {});
  CHECK(own.log.has_value());
  CHECK_FALSE(own.run.has_value());
  CHECK(other.run.has_value());
  CHECK_FALSE(other.log.has_value());
}

}  // namespace limpet::daemon::test
