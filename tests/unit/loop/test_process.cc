// Child processes: output, input, limits, deadlines, descriptors, failures, destruction.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "../skip.h"
#include "loop/process.h"

using namespace limpet;
using namespace limpet::loop;

namespace {

bool settled(Loop& loop) {
  return loop.run_until([&] { return loop.live_handles() == 1; }, 5000);
}

ProcessOptions shell(std::string script) {
  ProcessOptions o;
  o.argv = {"sh", "-c", std::move(script)};
  o.out = Stdio::collect();
  o.err = Stdio::collect();
  return o;
}

ProcessExit run(Loop& loop, ProcessOptions options) {
  Process process;
  std::optional<ProcessExit> exit;
  const auto started = process.start(loop, std::move(options), [&](ProcessExit e) { exit = std::move(e); });
  REQUIRE_MESSAGE(started.has_value(), started.error().message);
  REQUIRE(loop.run_until([&] { return exit.has_value(); }, 20000));
  CHECK_FALSE(process.running());
  return std::move(*exit);
}

}  // namespace

TEST_CASE("status, output and environment of a child") {
  Loop loop;
  ProcessOptions o = shell("echo out; echo err >&2; echo \"$A.$HOME\"; pwd; exit 3");
  o.env = {"A=b"};
  o.cwd = "/usr";
  const ProcessExit e = run(loop, o);
  CHECK(e.status == 3);
  CHECK(e.out == "out\nb.\n/usr\n");
  CHECK(e.err == "err\n");
  CHECK(e.describe() == "exit status 3");
  CHECK(settled(loop));
}

TEST_CASE("input reaches the child and ends") {
  Loop loop;
  ProcessOptions o = shell("cat; echo done");
  o.in = Stdio::data(std::string(300000, 'x'));
  o.out = Stdio::collect(1 << 20);
  const ProcessExit e = run(loop, o);
  CHECK(e.ok());
  CHECK(e.out == std::string(300000, 'x') + "done\n");
  ProcessOptions deaf = shell("exit 0");
  deaf.in = Stdio::data(std::string(300000, 'x'));
  CHECK(run(loop, deaf).ok());
  CHECK(settled(loop));
}

TEST_CASE("output beyond the limit is dropped without blocking the child") {
  Loop loop;
  ProcessOptions o = shell("head -c 3000000 /dev/zero; echo end >&2");
  o.out = Stdio::collect(1000);
  const ProcessExit e = run(loop, o);
  CHECK(e.ok());
  CHECK(e.out.size() == 1000);
  CHECK(e.truncated);
  CHECK(e.err == "end\n");
}

TEST_CASE("a grandchild that keeps the pipe does not delay the exit") {
  Loop loop;
  const ProcessExit e = run(loop, shell("sleep 30 & echo $!; exit 0"));
  CHECK(e.ok());
  const int pid = atoi(e.out.c_str());
  REQUIRE(pid > 1);
  kill(pid, SIGKILL);
}

TEST_CASE("signals and the deadline, which reaches the whole group") {
  Loop loop;
  CHECK(run(loop, shell("kill -TERM $$")).signal == SIGTERM);
  ProcessOptions o = shell("sleep 100");
  o.deadline_ms = 30;
  o.new_session = true;
  const ProcessExit e = run(loop, o);
  CHECK(e.signal == SIGKILL);
  CHECK(e.timed_out);
  CHECK(e.describe() == "killed by signal 9 (deadline)");
}

TEST_CASE("the child has the given descriptors and no others, default signals, an empty mask") {
  Loop loop;
  signal(SIGUSR2, SIG_IGN);
  const UniqueFd leaked(open("/dev/null", O_RDONLY));  // not close-on-exec, on purpose
  const UniqueFd given(open("/proc/self/status", O_RDONLY | O_CLOEXEC));
  ProcessOptions o;
  o.argv = {"ls", "/proc/self/fd"};  // which opens the directory as 4
  o.out = Stdio::collect();
  o.fds = {{3, given.get()}, {7, given.get()}};
  const ProcessExit e = run(loop, o);
  ProcessOptions masks;
  masks.argv = {"grep", "-E", "SigBlk|SigIgn", "/proc/self/status"};
  masks.out = Stdio::collect();
  const ProcessExit m = run(loop, masks);
  signal(SIGUSR2, SIG_DFL);
  CHECK(e.out == "0\n1\n2\n3\n4\n7\n");
  CHECK(m.out == "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

TEST_CASE("new session, user and group") {
  Loop loop;
  ProcessOptions o = shell("echo $$; cut -d' ' -f6 /proc/$$/stat");
  o.new_session = true;
  const ProcessExit e = run(loop, o);
  const size_t half = e.out.find('\n') + 1;
  CHECK(e.out.substr(0, half) == e.out.substr(half));
  if (getuid() != 0) SKIP_TEST("another user and group need root");
  ProcessOptions other = shell("id -u; id -g; id -G");
  other.uid = 65534;
  other.gid = 65533;
  CHECK(run(loop, other).out == "65534\n65533\n65533\n");
}

TEST_CASE("what cannot start says why") {
  Loop loop;
  struct Row {
    const char* name;
    ProcessOptions options;
    Errc code;
    const char* text;
  };
  ProcessOptions no_program, missing, directory, bad_cwd, nul, bad_fd;
  missing.argv = {"no-such-program-here"};
  directory.argv = {"/usr"};
  bad_cwd = shell("true");
  bad_cwd.cwd = "/nonexistent";
  nul.argv = {"sh", std::string("a\0b", 3)};
  bad_fd = shell("true");
  bad_fd.fds = {{3, 9999}};
  const Row rows[] = {
      {"no program", no_program, Errc::invalid_argument, "no program to run"},
      {"missing", missing, Errc::not_found, "no-such-program-here: not found in PATH"},
      {"directory", directory, Errc::permission_denied, "/usr: exec: Permission denied"},
      {"bad cwd", bad_cwd, Errc::not_found, "chdir: No such file or directory"},
      {"NUL", nul, Errc::invalid_argument, "NUL in argument or environment"},
      {"bad descriptor", bad_fd, Errc::io, "descriptors: Bad file descriptor"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    Process process;
    const auto started = process.start(loop, row.options, [](ProcessExit) { FAIL("called"); });
    REQUIRE_FALSE(started);
    CHECK(started.error().code == row.code);
    CHECK(started.error().message.find(row.text) != std::string::npos);
    CHECK_FALSE(process.running());
  }
  CHECK(settled(loop));
}

TEST_CASE("streams to and from a child") {
  Loop loop;
  {
    Process process;
    ProcessOptions o;
    o.argv = {"cat"};
    o.in = Stdio::stream();
    o.out = Stdio::stream();
    bool exited = false;
    REQUIRE(process.start(loop, o, [&](ProcessExit e) { exited = e.ok(); }));
    auto in = process.take_stream(0), out = process.take_stream(1);
    REQUIRE(in);
    REQUIRE(out);
    CHECK(process.take_stream(1) == nullptr);
    std::string got;
    bool eof = false;
    out->set_events({.on_read = [&](std::string_view s) { got += s; }, .on_eof = [&] { eof = true; }});
    out->read_start();
    in->write("hello");
    CHECK(loop.run_until([&] { return got == "hello"; }, 5000));
    in->shutdown();
    CHECK(loop.run_until([&] { return eof && exited; }, 5000));
  }
  CHECK(settled(loop));
}

TEST_CASE("destroying a running process kills and reaps it; destroying it in its own callback is safe") {
  Loop loop;
  pid_t pid = 0;
  {
    Process process;
    REQUIRE(process.start(loop, shell("sleep 100"), [](ProcessExit) { FAIL("called"); }));
    pid = process.pid();
    CHECK(kill(pid, 0) == 0);
  }
  CHECK(settled(loop));
  CHECK(kill(pid, 0) != 0);
  auto self = std::make_unique<Process>();
  bool done = false;
  REQUIRE(self->start(loop, shell("exit 0"), [&](ProcessExit) {
    self.reset();
    done = true;
  }));
  CHECK(loop.run_until([&] { return done; }, 5000));
  CHECK(settled(loop));
}

TEST_CASE("a loop reaps killed children before it ends") {
  pid_t pid = 0;
  {
    Loop loop;
    Process process;
    REQUIRE(process.start(loop, shell("sleep 100"), [](ProcessExit) {}));
    pid = process.pid();
  }
  CHECK(kill(pid, 0) != 0);
}

TEST_CASE("a hundred children at once") {
  Loop loop;
  std::vector<std::unique_ptr<Process>> all;
  int exited = 0, right = 0;
  for (int i = 0; i < 100; ++i) {
    ProcessOptions o = shell(strf("exit %d", i));
    REQUIRE(all.emplace_back(std::make_unique<Process>())->start(loop, o, [&, i](ProcessExit e) {
      ++exited;
      right += e.status == i;
    }));
  }
  CHECK(loop.run_until([&] { return exited == 100; }, 20000));
  CHECK(right == 100);
}
