// Exec sessions over pipes that the test holds.
#include "node/runtime/sessions.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "node/runtime/shim_protocol.h"

using namespace limpet;
using namespace limpet::node;

TEST_CASE("output that waits in the pipe when the grace is over is not cut off") {
  loop::Loop loop;
  int control[2], out[2];
  REQUIRE_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control), 0);
  REQUIRE_EQ(pipe2(out, O_CLOEXEC), 0);
  const UniqueFd helper(control[1]), writer(out[1]);  // stays open: a child of the process holds it
  std::string got;
  bool over = false;
  int code = -1;
  Session::Events events;
  events.on_stdout = [&](std::string_view bytes) { got += bytes; };
  events.on_exit = [&](Result<Session::Exit> e) {
    over = true;
    if (e) code = e->exit_code;
  };
  ExecSession session(loop, std::move(events));
  session.begin(UniqueFd(control[0]), false, 0);
  auto stream = loop::adopt_stream(loop, UniqueFd(out[0]));
  REQUIRE(stream.has_value());
  session.set_streams(nullptr, std::move(*stream), nullptr);
  const int32_t status = 7;
  const std::string frame = frame_bytes(
      shim::frame_exec_exit, std::string_view(reinterpret_cast<const char*>(&status), sizeof status));
  REQUIRE_EQ(send(helper.get(), frame.data(), frame.size(), MSG_NOSIGNAL),
             static_cast<ssize_t>(frame.size()));
  (void)loop.run_until([] { return false; }, 50);  // the exit is known, and the grace runs
  const std::string tail(60000, 'x');
  REQUIRE_EQ(write(writer.get(), tail.data(), tail.size()), static_cast<ssize_t>(tail.size()));
  poll(nullptr, 0, 700);  // the loop is held up past its end
  REQUIRE(loop.run_until([&] { return over; }, 20'000));
  CHECK_EQ(got.size(), tail.size());
  CHECK_EQ(code, 7);
}
