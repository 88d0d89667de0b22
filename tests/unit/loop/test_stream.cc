// Streams, listeners and connects over real sockets: order, half-close, back-pressure, errors, destruction
// anywhere.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pty.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "loop/stream.h"

using namespace limpet;
using namespace limpet::loop;

namespace {

struct Pair {
  std::unique_ptr<Stream> a, b;
  explicit Pair(Loop& loop) {
    auto pair = stream_pair(loop);
    REQUIRE(pair);
    a = std::move(pair->first);
    b = std::move(pair->second);
  }
};

bool settled(Loop& loop) {
  return loop.run_until([&] { return loop.live_handles() == 1; }, 5000);
}

struct TempDir {
  char path[32] = "/tmp/limpet-loop-XXXXXX";
  TempDir() { REQUIRE(mkdtemp(path) != nullptr); }
  ~TempDir() { rmdir(path); }
};

}  // namespace

TEST_CASE("bytes arrive whole and in order, then end of file; the other direction goes on") {
  Loop loop;
  {
    Pair pair(loop);
    std::string got, back;
    bool eof = false;
    pair.b->set_events({.on_read = [&](std::string_view s) { got += s; },
                        .on_eof =
                            [&] {
                              eof = true;
                              pair.b->write("answer");
                            }});
    pair.a->set_events({.on_read = [&](std::string_view s) { back += s; }});
    pair.a->read_start();
    pair.b->read_start();
    pair.a->write("one ");
    pair.a->write("two");
    pair.a->shutdown();
    pair.a->write("after shutdown: dropped");
    CHECK(loop.run_until([&] { return back == "answer"; }, 5000));
    CHECK(eof);
    CHECK(got == "one two");
  }
  CHECK(settled(loop));
}

TEST_CASE("a large write queues, keeps its order, and drains") {
  Loop loop;
  Pair pair(loop);
  std::string sent, got;
  int drained = 0;
  pair.a->set_events({.on_drain = [&] { ++drained; }});
  for (int i = 0; i < 100; ++i) {
    std::string part(40000, static_cast<char>('a' + i % 26));
    sent += part;
    pair.a->write(std::move(part));
  }
  pair.a->shutdown();
  CHECK(pair.a->write_queue_size() > 0);
  CHECK(pair.a->write_queue_size() < sent.size());
  bool eof = false;
  pair.b->set_events({.on_read = [&](std::string_view s) { got += s; }, .on_eof = [&] { eof = true; }});
  pair.b->read_start();
  CHECK(loop.run_until([&] { return eof; }, 10000));
  CHECK(got == sent);
  CHECK(drained == 1);
  CHECK(pair.a->write_queue_size() == 0);
}

TEST_CASE("read_stop holds bytes back") {
  Loop loop;
  Pair pair(loop);
  std::string got;
  pair.b->set_events({.on_read = [&](std::string_view s) {
    got += s;
    pair.b->read_stop();
  }});
  pair.b->read_start();
  pair.a->write("x");
  CHECK(loop.run_until([&] { return got == "x"; }, 5000));
  pair.a->write("y");
  CHECK_FALSE(loop.run_until([&] { return got.size() > 1; }, 20));
  pair.b->read_start();
  CHECK(loop.run_until([&] { return got == "xy"; }, 5000));
}

TEST_CASE("a stream may be destroyed inside each of its callbacks") {
  Loop loop;
  for (int which = 0; which < 4; ++which) {
    CAPTURE(which);
    Pair pair(loop);
    bool hit = false;
    auto destroy = [&](int me) {
      if (me != which) return;
      hit = true;
      pair.b.reset();
    };
    pair.b->set_events({.on_read = [&](std::string_view) { destroy(0); },
                        .on_eof = [&] { destroy(1); },
                        .on_error = [&](Error) { destroy(2); },
                        .on_drain = [&] { destroy(3); }});
    pair.b->read_start();
    if (which == 0) pair.a->write("x");
    if (which == 1) pair.a->shutdown();
    if (which == 2) {
      pair.a.reset();
      pair.b->write("x");
    }
    if (which == 3) {
      pair.b->write(std::string(1 << 20, 'x'));
      pair.a->read_start();
    }
    CHECK(loop.run_until([&] { return hit; }, 5000));
    pair.a.reset();
    CHECK(settled(loop));
  }
}

TEST_CASE("events may be replaced from inside a callback") {
  Loop loop;
  Pair pair(loop);
  std::string first, second;
  const std::string canary(64, 'c');
  pair.b->set_events({.on_read = [&, canary](std::string_view s) {
    pair.b->set_events({.on_read = [&](std::string_view t) { second += t; }});
    first += s;
    CHECK(canary.size() == 64);
  }});
  pair.b->read_start();
  pair.a->write("1");
  CHECK(loop.run_until([&] { return first == "1"; }, 5000));
  pair.a->write("2");
  CHECK(loop.run_until([&] { return second == "2"; }, 5000));
}

TEST_CASE("a failed write reports once, after what the peer had to say") {
  Loop loop;
  Pair pair(loop);
  std::string got;
  int errors = 0;
  pair.b->set_events(
      {.on_read = [&](std::string_view s) { got += s; }, .on_error = [&](Error) { ++errors; }});
  pair.a->write("413 too large");
  pair.a.reset();
  pair.b->read_start();
  pair.b->write("x");
  pair.b->write("y");
  CHECK(loop.run_until([&] { return errors > 0; }, 5000));
  loop.run_until([] { return false; }, 5);
  CHECK(errors == 1);
  CHECK(got == "413 too large");
}

TEST_CASE("destroying a stream with queued writes leaves nothing behind") {
  Loop loop;
  {
    Pair pair(loop);
    pair.a->write(std::string(4 << 20, 'x'));
    pair.a->shutdown();
  }
  CHECK(settled(loop));
}

TEST_CASE("pipes and ptys are streams, files and /dev/null are not") {
  Loop loop;
  {
    int fds[2];
    REQUIRE(pipe2(fds, O_CLOEXEC) == 0);
    auto reader = adopt_stream(loop, UniqueFd(fds[0]));
    auto writer = adopt_stream(loop, UniqueFd(fds[1]));
    REQUIRE(reader);
    REQUIRE(writer);
    bool eof = false;
    std::string got;
    (*reader)->set_events({.on_read = [&](std::string_view s) { got += s; }, .on_eof = [&] { eof = true; }});
    (*reader)->read_start();
    (*writer)->write("through a pipe");
    (*writer)->shutdown();
    CHECK(loop.run_until([&] { return eof; }, 5000));
    CHECK(got == "through a pipe");

    int master = -1, slave = -1;
    REQUIRE(openpty(&master, &slave, nullptr, nullptr, nullptr) == 0);
    auto pty = adopt_stream(loop, UniqueFd(master));
    REQUIRE(pty);
    got.clear();
    eof = false;
    (*pty)->set_events({.on_read = [&](std::string_view s) { got += s; }, .on_eof = [&] { eof = true; }});
    (*pty)->read_start();
    REQUIRE(write(slave, "tty", 3) == 3);
    close(slave);
    CHECK(loop.run_until([&] { return eof; }, 5000));
    CHECK(got == "tty");

    CHECK_FALSE(adopt_stream(loop, UniqueFd(open("/dev/null", O_RDWR | O_CLOEXEC))));
    CHECK_FALSE(adopt_stream(loop, UniqueFd(open("/proc/self/exe", O_RDONLY | O_CLOEXEC))));
  }
  CHECK(settled(loop));
}

TEST_CASE("TCP: listen on any port, connect by address and by name") {
  Loop loop;
  {
    std::unique_ptr<Stream> server, client;
    auto listener =
        Listener::tcp(loop, "127.0.0.1", 0, [&](std::unique_ptr<Stream> s) { server = std::move(s); });
    REQUIRE(listener);
    CHECK((*listener)->port() != 0);
    for (const char* host : {"127.0.0.1", "localhost"}) {
      CAPTURE(host);
      Connect connect;
      connect.tcp(loop, host, (*listener)->port(), 5000, [&](Result<std::unique_ptr<Stream>> r) {
        REQUIRE(r);
        client = std::move(*r);
      });
      CHECK(client == nullptr);
      CHECK(loop.run_until([&] { return server && client; }, 5000));
      CHECK(server->peer().starts_with("127.0.0.1:"));
      CHECK(client->peer() == strf("127.0.0.1:%u", (*listener)->port()));
      CHECK(peer_credentials(*server)->pid == -1);
      CHECK(fcntl(server->fd(), F_GETFD) == FD_CLOEXEC);
      CHECK(fcntl(client->fd(), F_GETFD) == FD_CLOEXEC);
      server.reset();
      client.reset();
    }
  }
  CHECK(settled(loop));
}

TEST_CASE("keep-alive of a TCP stream: the defaults, and times of its owner's") {
  Loop loop;
  {
    std::unique_ptr<Stream> server, client;
    auto listener =
        Listener::tcp(loop, "127.0.0.1", 0, [&](std::unique_ptr<Stream> s) { server = std::move(s); });
    REQUIRE(listener);
    Connect connect;
    connect.tcp(loop, "127.0.0.1", (*listener)->port(), 5000, [&](Result<std::unique_ptr<Stream>> r) {
      REQUIRE(r);
      client = std::move(*r);
    });
    REQUIRE(loop.run_until([&] { return server && client; }, 5000));
    const auto option = [](const Stream& s, int level, int name) {
      int value = -1;
      socklen_t size = sizeof value;
      CHECK(getsockopt(s.fd(), level, name, &value, &size) == 0);
      return value;
    };
    for (const Stream* s : {server.get(), client.get()}) {
      CHECK(option(*s, SOL_SOCKET, SO_KEEPALIVE) == 1);
      CHECK(option(*s, IPPROTO_TCP, TCP_KEEPIDLE) == 120);
      CHECK(option(*s, IPPROTO_TCP, TCP_USER_TIMEOUT) == 0);
    }
    const KeepAlive keep{.idle_s = 15, .interval_s = 5, .count = 4};
    CHECK(keep.limit_s() == 35);
    set_keep_alive(*client, keep);
    CHECK(option(*client, IPPROTO_TCP, TCP_KEEPIDLE) == 15);
    CHECK(option(*client, IPPROTO_TCP, TCP_KEEPINTVL) == 5);
    CHECK(option(*client, IPPROTO_TCP, TCP_KEEPCNT) == 4);
    CHECK(option(*client, IPPROTO_TCP, TCP_USER_TIMEOUT) == 35'000);
    Pair local(loop);
    set_keep_alive(*local.a, keep);  // not TCP: nothing happens
  }
  CHECK(settled(loop));
}

TEST_CASE("connect failures name the place and come once") {
  Loop loop;
  uint16_t port = 0;
  {
    auto closed = Listener::tcp(loop, "127.0.0.1", 0, [](auto) {});
    REQUIRE(closed);
    port = (*closed)->port();
  }
  int calls = 0;
  Error error;
  const auto record = [&](Result<std::unique_ptr<Stream>> r) {
    ++calls;
    REQUIRE_FALSE(r);
    error = r.error();
  };
  Connect connect;
  connect.tcp(loop, "127.0.0.1", port, 5000, record);
  CHECK(loop.run_until([&] { return calls == 1; }, 5000));
  CHECK(error.code == Errc::unavailable);
  CHECK(error.message == strf("connect to 127.0.0.1 port %u: connect: Connection refused", port));

  connect.unix_socket(loop, "/nonexistent/socket", 1000, record);
  CHECK(loop.run_until([&] { return calls == 2; }, 5000));
  CHECK(error.code == Errc::not_found);

  connect.unix_socket(loop, std::string(200, 'x'), 1000, record);
  CHECK(loop.run_until([&] { return calls == 3; }, 5000));
  CHECK(error.code == Errc::invalid_argument);

  // A backlog of one that nobody accepts from: the connect never settles, the deadline ends it.
  connect.tcp(loop, "192.0.2.1", 1, 20, record);
  CHECK(loop.run_until([&] { return calls == 4; }, 5000));
}

TEST_CASE("a cancelled or destroyed connect never calls back") {
  Loop loop;
  {
    auto listener = Listener::tcp(loop, "127.0.0.1", 0, [](auto) {});
    REQUIRE(listener);
    int calls = 0;
    {
      Connect connect;
      connect.tcp(loop, "localhost", (*listener)->port(), 5000, [&](auto) { ++calls; });
    }
    Connect other;
    other.tcp(loop, "127.0.0.1", (*listener)->port(), 5000, [&](auto) { ++calls; });
    CHECK(other.busy());
    other.cancel();
    CHECK_FALSE(other.busy());
    auto self = std::make_unique<Connect>();
    bool done = false;
    self->tcp(loop, "127.0.0.1", (*listener)->port(), 5000, [&](auto) {
      self.reset();
      done = true;
    });
    CHECK(loop.run_until([&] { return done; }, 5000));
    CHECK(calls == 0);
  }
  CHECK(settled(loop));
}

TEST_CASE("unix sockets: mode, credentials, stale files, one owner") {
  Loop loop;
  TempDir dir;
  const std::string path = std::string(dir.path) + "/s";
  {
    std::unique_ptr<Stream> server, client;
    const auto accept = [&](std::unique_ptr<Stream> s) { server = std::move(s); };
    auto listener = Listener::unix_socket(loop, path, 0660, accept);
    REQUIRE(listener);
    struct stat st{};
    REQUIRE(stat(path.c_str(), &st) == 0);
    CHECK((st.st_mode & 07777) == 0660);
    auto second = Listener::unix_socket(loop, path, 0660, accept);
    REQUIRE_FALSE(second);
    CHECK(second.error().code == Errc::already_exists);
    Connect connect;
    connect.unix_socket(loop, path, 5000, [&](Result<std::unique_ptr<Stream>> r) { client = std::move(*r); });
    // The probe of the second listener was accepted and closed by now.
    CHECK(loop.run_until([&] { return server && client && server->peer() == client->peer(); }, 5000));
    CHECK(peer_credentials(*server)->pid == getpid());
    CHECK(server->peer() == strf("unix:pid=%d,uid=%u", getpid(), getuid()));
    listener->reset();
    CHECK(stat(path.c_str(), &st) != 0);
  }
  {  // left by a dead process
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, path.size());
    REQUIRE(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    close(fd);
    CHECK(Listener::unix_socket(loop, path, 0600, [](auto) {}));
  }
  CHECK(settled(loop));
}

TEST_CASE("a paused listener leaves connections waiting; a listener may be destroyed while accepting") {
  Loop loop;
  {
    int accepted = 0;
    std::unique_ptr<Listener> listener;
    auto made = Listener::tcp(loop, "127.0.0.1", 0, [&](std::unique_ptr<Stream>) {
      ++accepted;
      listener.reset();
    });
    REQUIRE(made);
    listener = std::move(*made);
    listener->pause(true);
    int connected = 0;
    Connect one, two;
    one.tcp(loop, "127.0.0.1", listener->port(), 5000, [&](auto r) { connected += r.has_value(); });
    two.tcp(loop, "127.0.0.1", listener->port(), 5000, [&](auto r) { connected += r.has_value(); });
    CHECK(loop.run_until([&] { return connected == 2; }, 5000));
    CHECK(accepted == 0);
    listener->pause(false);
    CHECK(loop.run_until([&] { return accepted == 1; }, 5000));
    CHECK(listener == nullptr);
  }
  CHECK(settled(loop));
}

TEST_CASE("bad listen addresses are refused") {
  Loop loop;
  CHECK(Listener::tcp(loop, "localhost", 0, [](auto) {}).error().code == Errc::invalid_argument);
  auto first = Listener::tcp(loop, "127.0.0.1", 0, [](auto) {});
  REQUIRE(first);
  auto second = Listener::tcp(loop, "127.0.0.1", (*first)->port(), [](auto) {});
  CHECK(second.error().code == Errc::already_exists);
}
