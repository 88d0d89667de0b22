// Containers by the runtime of this machine, from a root made of busybox.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "base/failpoint.h"
#include "rig.h"

using rig::Rig;
using namespace limpet;
using namespace limpet::node;

namespace {

std::string why(const Result<>& r) { return r ? "" : r.error().message; }
std::string why(const Result<Session::Exit>& r) { return r ? "" : r.error().message; }

std::string joined(const std::vector<std::string>& list) {
  std::string out;
  for (const std::string& s : list) out += s + "\n";
  return out;
}

}  // namespace

TEST_CASE("exit codes, signals, logs, and nothing left behind") {
  Rig r;
  REQUIRE(r.restart().containers.empty());
  MESSAGE(r.runtime->version());
  REQUIRE(r.make_pod().has_value());
  struct Case {
    const char* script;
    int code;
    int signal;
    const char* reason;
    const char* log;
  };
  const Case cases[] = {
      {"exit 0", 0, 0, "Completed", ""},
      {"echo out; echo err >&2; exit 3", 3, 0, "Error", "out\nerr\n"},
      {"echo -n no newline; exit 1", 1, 0, "Error", "no newline\n"},
      {"seq 1 2000 | tail -n 1", 0, 0, "Completed", "2000\n"},
      {"hostname; id -u; pwd; echo $HOME $PATH", 0, 0, "Completed",
       "box\n0\n/\n/root /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"},
      {"touch /proc/sys/kernel/x 2>/dev/null || echo ro; mount -t tmpfs x /tmp "
       "2>/dev/null || "
       "echo no mount",
       0, 0, "Completed", "ro\nno mount\n"},
  };
  int n = 0;
  for (const Case& c : cases) {
    CAPTURE(c.script);
    std::string id = "c" + std::to_string(n++);
    ContainerStatus s = r.run(r.container(id, {"sh", "-c", c.script}));
    CHECK_EQ(s.exit_code, c.code);
    CHECK_EQ(s.signal, c.signal);
    CHECK_EQ(s.reason, c.reason);
    CHECK_EQ(r.log(id), c.log);
    CHECK_FALSE(s.oom_killed);
    CHECK_LE(s.started_at, s.finished_at);
    Result<> removed = r.remove(id);
    CHECK_MESSAGE(removed.has_value(), why(removed));
    CHECK(r.remove(id).has_value());
  }
  CHECK(r.remove_pod().has_value());
  CHECK(r.remove_pod().has_value());
  CHECK_EQ(joined(r.leftovers()), "");
}

TEST_CASE("signals reach the first process, SIGKILL ends it") {
  Rig r;
  r.restart();
  REQUIRE(r.make_pod().has_value());
  REQUIRE(r.create(r.container("a", {"sh", "-c", "trap 'echo term; exit 7' TERM; echo up; sleep 100 & wait"}))
              .has_value());
  CHECK_EQ(static_cast<int>(r.runtime->status("a")->state), static_cast<int>(ContainerState::created));
  REQUIRE(r.start("a").has_value());
  CHECK_GT(r.runtime->status("a")->pid, 0);
  REQUIRE(r.until([&] { return r.log("a") == "up\n"; }));
  CHECK(r.kill("a", SIGTERM).has_value());
  CHECK_EQ(r.wait_exit("a").exit_code, 7);
  CHECK_EQ(r.log("a"), "up\nterm\n");
  REQUIRE(r.create(r.container("b", {"sleep", "1000"})).has_value());
  REQUIRE(r.start("b").has_value());
  CHECK(r.kill("b", SIGKILL).has_value());
  ContainerStatus s = r.wait_exit("b");
  CHECK_EQ(s.exit_code, 137);
  CHECK_EQ(s.signal, 9);
  CHECK(r.kill("b", SIGKILL).has_value());
}

TEST_CASE("memory limit: a real OOM kill is told from any other") {
  Rig r;
  r.restart();
  REQUIRE(r.make_pod().has_value());
  ContainerConfig c = r.container(
      "oom",
      {"sh", "-c", "x=$(yes aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | head -c 90000000)"});
  c.resources.memory_limit_bytes = 24 << 20;
  ContainerStatus s = r.run(std::move(c));
  CHECK(s.oom_killed);
  CHECK_EQ(s.reason, "OOMKilled");
  CHECK_EQ(s.exit_code, 137);
}

TEST_CASE("who the process is") {
  Rig r;
  r.restart();
  REQUIRE(r.make_pod().has_value());
  ContainerConfig c = r.container(
      "u", {"sh", "-c", "id -u; id -g; id -G; grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status"});
  c.user = "app";
  c.supplemental_groups = {3000};
  c.allow_privilege_escalation = false;
  CHECK_EQ(r.run(std::move(c)).exit_code, 0);
  CHECK_EQ(r.log("u"),
           "1000\n1000\n1000 2000 3000\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n");
  ContainerConfig root = r.container("root", {"id"});
  root.run_as_non_root = true;
  Result<> refused = r.create(std::move(root));
  REQUIRE_FALSE(refused.has_value());
  CHECK_EQ(refused.error().code, Errc::invalid_argument);
  CHECK(refused.error().message.starts_with("container has runAsNonRoot"));
  ContainerConfig none = r.container("none", {"/no/such/program"});
  refused = r.create(std::move(none));
  REQUIRE_FALSE(refused.has_value());
  CHECK_MESSAGE(refused.error().message.find("/no/such/program") != std::string::npos,
                refused.error().message);
  ContainerConfig ro = r.container("ro", {"sh", "-c", "touch /x 2>/dev/null || echo ro"});
  ro.read_only_root = true;
  r.run(std::move(ro));
  CHECK_EQ(r.log("ro"), "ro\n");
  ContainerConfig priv =
      r.container("priv", {"sh", "-c", "mount -t tmpfs x /tmp && ls /dev/null && echo ok"});
  priv.privileged = true;
  r.run(std::move(priv));
  CHECK_EQ(r.log("priv"), "/dev/null\nok\n");
}

TEST_CASE("volumes, read-only and at a sub path that tries to get out") {
  Rig r;
  r.restart();
  REQUIRE(r.make_pod().has_value());
  std::string volume = r.dir + "/volume";
  mkdir(volume.c_str(), 0755);
  mkdir((volume + "/in").c_str(), 0755);
  std::ofstream(volume + "/in/file") << "inside\n";
  std::ofstream(r.dir + "/secret") << "outside\n";
  REQUIRE_EQ(symlink("../../..", (volume + "/out").c_str()), 0);
  ContainerConfig c =
      r.container("v", {"sh", "-c", "cat /a/file /f; touch /a/x 2>/dev/null || echo ro; touch /b/y; ls /o"});
  c.mounts = {{.source = volume + "/in", .target = "/a", .read_only = true},
              {.source = volume, .sub_path = "made/deep", .target = "/b"},
              {.source = volume, .sub_path = "in/file", .target = "/f"},
              {.source = volume, .sub_path = "out", .target = "/o"}};
  ContainerStatus s = r.run(std::move(c));
  CHECK_EQ(s.exit_code, 0);
  CHECK_EQ(r.log("v"), "inside\ninside\nro\nin\nmade\nout\n");
  CHECK_EQ(access((volume + "/made/deep/y").c_str(), F_OK), 0);
  CHECK(r.remove("v").has_value());
  CHECK_EQ(access((volume + "/made/deep/y").c_str(), F_OK), 0);
  CHECK_EQ(access((volume + "/in/file").c_str(), F_OK), 0);
}

TEST_CASE("with the host's network nothing below /sys can be written") {
  for (const char* points : {"", "runtime.sysfs=error"}) {  // a sysfs of its own, and the device's
    CAPTURE(points);
    Rig r;
    r.restart();
    REQUIRE(r.make_pod({.host_network = true}).has_value());
    failpoint::arm(points);
    const ContainerStatus s = r.run(r.container("n", {"sh", "-c", "grep ' /sys' /proc/mounts"}));
    failpoint::arm("");
    CHECK_EQ(s.exit_code, 0);
    std::istringstream mounts(r.log("n"));
    int seen = 0;
    for (std::string line; std::getline(mounts, line); ++seen) {
      CAPTURE(line);
      if (line.find(" /sys/fs/cgroup tmpfs ") != std::string::npos)
        continue;  // version 1: the container's own, made for it
      CHECK(line.find(" ro,") != std::string::npos);
    }
    CHECK_GT(seen, 1);
    CHECK(r.remove("n").has_value());
  }
}

TEST_CASE("a status that found no room on disk is written when there is room") {
  Rig r;
  r.restart();
  REQUIRE(r.make_pod().has_value());
  REQUIRE(r.create(r.container("s", {"sleep", "1000"})).has_value());
  REQUIRE(r.start("s").has_value());
  const std::string file = r.options.run_dir + "/pods/" + r.pod + "/c/s/status.json",
                    in_the_way = file + ".tmp";
  REQUIRE_EQ(mkdir(in_the_way.c_str(), 0700), 0);
  CHECK(r.kill("s", SIGKILL).has_value());
  CHECK_EQ(r.wait_exit("s").exit_code, 137);  // over the socket it is known at once
  const auto written = [&] {
    std::ifstream in(file);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  };
  CHECK(written().find(R"("state":"running")") != std::string::npos);
  REQUIRE_EQ(rmdir(in_the_way.c_str()), 0);
  CHECK(r.until([&] { return written().find(R"("state":"exited")") != std::string::npos; }));
}

TEST_CASE("exec: output, input, exit code, terminal, timeout") {
  Rig r;
  r.restart();
  REQUIRE(r.make_pod().has_value());
  REQUIRE(r.create(r.container("e", {"sleep", "1000"})).has_value());
  Rig::Output early = r.exec({"e", {"true"}});
  CHECK_FALSE(early.exit.has_value());
  REQUIRE(r.start("e").has_value());

  Rig::Output plain = r.exec({"e", {"sh", "-c", "echo o; echo e >&2; exit 5"}});
  REQUIRE_MESSAGE(plain.exit.has_value(), why(plain.exit));
  CHECK_EQ(plain.exit->exit_code, 5);
  CHECK_EQ(plain.out, "o\n");
  CHECK_EQ(plain.err, "e\n");

  Rig::Output piped = r.exec({"e", {"wc", "-c"}}, std::string(300000, 'x'));
  REQUIRE_MESSAGE(piped.exit.has_value(), why(piped.exit));
  CHECK_EQ(piped.out, "300000\n");

  Rig::Output large = r.exec({"e", {"sh", "-c", "seq 1 100000"}});
  CHECK_EQ(large.out.size(), 588895);

  Rig::Output absent = r.exec({"e", {"/no/such"}});
  REQUIRE_FALSE(absent.exit.has_value());
  CHECK_MESSAGE(absent.exit.error().message.find("/no/such") != std::string::npos,
                absent.exit.error().message);

  Rig::Output slow =
      r.exec({.container_id = "e", .args = {"sh", "-c", "sleep 500 & sleep 501"}, .timeout_ms = 300});
  REQUIRE_MESSAGE(slow.exit.has_value(), why(slow.exit));
  CHECK(slow.exit->timed_out);
  CHECK_EQ(slow.exit->exit_code, 137);

  Rig::Output term;
  std::unique_ptr<Session> session =
      r.runtime->exec({.container_id = "e", .args = {"sh"}, .tty = true, .stdin = true}, r.collect(term));
  session->resize(91, 33);
  session->write_stdin("stty size; tty=$?; echo result $tty\n");
  CHECK(r.until([&] { return term.out.find("result 0") != std::string::npos; }));
  CHECK_MESSAGE(term.out.find("33 91") != std::string::npos, term.out);
  session->resize(50, 20);
  session->write_stdin("stty size\nexit 4\n");
  CHECK(r.until([&] { return term.over; }));
  REQUIRE_MESSAGE(term.exit.has_value(), why(term.exit));
  CHECK_EQ(term.exit->exit_code, 4);
  CHECK(term.out.find("20 50") != std::string::npos);

  // Whoever goes takes the process along.
  Rig::Output gone;
  session = r.runtime->exec({"e", {"sh", "-c", "echo here; sleep 777"}}, r.collect(gone));
  CHECK(r.until([&] { return gone.out == "here\n"; }));
  session.reset();
  CHECK(r.until([&] { return r.exec({"e", {"sh", "-c", "ps | grep -c '[s]leep 777'"}}).out == "0\n"; }));
  CHECK(r.exec({"e", {"sh", "-c", "ps | grep -c '[s]leep 50'"}}).out == "0\n");
}

TEST_CASE("attach: streams, stdin, terminal") {
  Rig r;
  r.restart();
  REQUIRE(r.make_pod().has_value());
  ContainerConfig c = r.container("a", {"sh", "-c", "read x; echo got $x; echo oops >&2; cat; exit 9"});
  c.stdin = c.stdin_once = true;
  REQUIRE(r.create(std::move(c)).has_value());
  Rig::Output one, two;
  std::unique_ptr<Session> in = r.runtime->attach({"a", true, true}, r.collect(one));
  std::unique_ptr<Session> watcher = r.runtime->attach({"a", false, true}, r.collect(two));
  REQUIRE(r.start("a").has_value());
  in->write_stdin("hello\n" + std::string(100000, 'y') + "\n");
  CHECK(r.until([&] { return one.out.size() >= 100011; }));
  in->close_stdin();
  CHECK(r.until([&] { return one.over && two.over; }));
  REQUIRE(one.exit.has_value());
  CHECK_EQ(one.exit->exit_code, 9);
  CHECK_EQ(one.out, "got hello\n" + std::string(100000, 'y') + "\n");
  CHECK_EQ(one.err, "oops\n");
  CHECK_EQ(two.out, one.out);
  CHECK_EQ(r.wait_exit("a").exit_code, 9);
  CHECK_EQ(r.log("a").size(), one.out.size() + one.err.size());

  ContainerConfig t = r.container("t", {"sh"});
  t.tty = t.stdin = true;
  REQUIRE(r.create(std::move(t)).has_value());
  Rig::Output term;
  in = r.runtime->attach({"t", true, true}, r.collect(term));
  in->resize(77, 44);
  REQUIRE(r.start("t").has_value());
  in->write_stdin("stty size; exit 6\n");
  CHECK(r.until([&] { return term.over; }));
  REQUIRE(term.exit.has_value());
  CHECK_EQ(term.exit->exit_code, 6);
  CHECK_MESSAGE(term.out.find("44 77") != std::string::npos, term.out);
}

TEST_CASE("the daemon goes and comes back: same processes, exits and logs kept") {
  Rig r;
  r.restart();
  REQUIRE(r.make_pod().has_value());
  for (int i = 0; i < 3; ++i) {
    std::string id = "d" + std::to_string(i);
    REQUIRE(r.create(r.container(id, {"sh", "-c", i == 0 ? "echo early; exit 11" : "echo up; sleep 1000"}))
                .has_value());
    REQUIRE(r.start(id).has_value());
  }
  REQUIRE(r.create(r.container("held", {"echo", "late"})).has_value());
  r.wait_exit("d0");
  int pid1 = r.runtime->status("d1")->pid, pid2 = r.runtime->status("d2")->pid;
  Adopted found = r.restart();
  REQUIRE_EQ(found.sandboxes.size(), 1);
  REQUIRE_EQ(found.containers.size(), 4);
  CHECK_EQ(joined(found.problems), "");
  CHECK_EQ(found.containers[1].meta, "meta of d1");
  CHECK_EQ(r.runtime->status("d0")->exit_code, 11);
  CHECK_EQ(r.runtime->status("d1")->pid, pid1);
  CHECK_EQ(r.exec({"d1", {"echo", "alive"}}).out, "alive\n");
  CHECK(r.make_pod().has_value());
  REQUIRE(r.start("held").has_value());
  CHECK_EQ(r.wait_exit("held").exit_code, 0);

  // A shim that dies takes the exit status along, and the container is ended.
  std::ifstream in(r.dir + "/run/pods/" + r.pod + "/c/d2/status.json");
  std::stringstream text;
  text << in.rdbuf();
  size_t at = text.str().find("\"shimPid\":");
  REQUIRE(at != std::string::npos);
  int shim = atoi(text.str().c_str() + at + 10);
  CHECK_EQ(::kill(shim, SIGKILL), 0);
  ContainerStatus s = r.wait_exit("d2");
  CHECK_EQ(s.reason, "ContainerStatusUnknown");
  CHECK(r.gone(pid2));
  for (const char* id : {"d0", "d1", "d2", "held"}) {
    Result<> removed = r.remove(id);
    CHECK_MESSAGE(removed.has_value(), why(removed));
  }
  CHECK(r.remove_pod().has_value());
  CHECK_EQ(joined(r.leftovers()), "");
}

TEST_CASE("twenty containers leave no mount, cgroup, process or file") {
  Rig r;
  r.restart();
  REQUIRE(r.make_pod().has_value());
  std::vector<int> shims;
  for (int i = 0; i < 20; ++i) {
    std::string id = "n" + std::to_string(i);
    REQUIRE(r.create(r.container(id, {"sh", "-c", "echo up; sleep 1000"})).has_value());
    REQUIRE(r.start(id).has_value());
  }
  long pss = 0;
  for (int pid : r.shim_pids()) {
    std::ifstream rollup("/proc/" + std::to_string(pid) + "/smaps_rollup");
    for (std::string line; std::getline(rollup, line);) {
      if (line.starts_with("Pss:")) pss += atol(line.c_str() + 4);
    }
    shims.push_back(pid);
  }
  CHECK_EQ(shims.size(), 20);
  MESSAGE("PSS of a shim: " << pss / 20 << " KB");
  Result<Usage> usage = r.runtime->usage("n3");
  REQUIRE(usage.has_value());
  CHECK_GT(usage->memory_bytes, 0);
  CHECK_GT(usage->cpu_ns, 0);
  CHECK(r.runtime->pod_usage(r.pod).has_value());
  r.restart();
  // All at once, as when a device is drained.
  int left = 20;
  for (int i = 0; i < 20; ++i) {
    r.runtime->remove("n" + std::to_string(i), [&](Result<> removed) {
      CHECK_MESSAGE(removed.has_value(), why(removed));
      --left;
    });
  }
  CHECK(r.until([&] { return left == 0; }, 60000));
  CHECK(r.remove_pod().has_value());
  CHECK_EQ(joined(r.leftovers()), "");
  for (int pid : shims) CHECK(r.gone(pid));
}

TEST_CASE("a runtime that hangs, dies, lies or is missing is reported and cleaned up") {
  struct Case {
    const char* create;  // what the fake does on `create`
    const char* message;
    int64_t timeout_ms =
        60'000;  // short only where it is to pass; what must end in time has all the time there is
  };
  const Case cases[] = {
      {"sleep 1000", "did not come back within 3000 ms and was killed", 3000},
      {"exit 137", "failed with exit code 137"},
      {"kill -9 $$", "was ended by signal 9"},
      {"echo garbage nobody expects >&2; exit 1", "garbage nobody expects"},
      {"yes; exit 1", "did not come back within 3000 ms and was killed", 3000},
      {"exit 0", "left no process behind"},
      {"echo '{\"level\":\"error\",\"msg\":\"disk \\\"x\\\" is full\"}' > $LOG; exit 1",
       "disk \"x\" is full"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.create);
    Rig r("fake");
    std::string path = r.dir + "/fake";
    std::ofstream(path) << "#!/bin/sh\n[ \"$1\" = --version ] && echo 'fake version 1.0' && exit 0\nLOG=$4\n"
                           "for word; do case $word in create) "
                        << c.create << " ;; esac; done\nexit 0\n";
    chmod(path.c_str(), 0755);
    r.options.runtime = path;
    r.options.command_timeout_ms = c.timeout_ms;
    r.restart();
    CHECK_EQ(r.runtime->version(), "fake 1.0");
    REQUIRE(r.make_pod().has_value());
    Result<> made = r.create(r.container("x", {"true"}));
    REQUIRE_FALSE(made.has_value());
    CHECK_MESSAGE(made.error().message.find(c.message) != std::string::npos, made.error().message);
    CHECK(r.runtime->status("x") == nullptr);
    CHECK(r.remove_pod().has_value());
    CHECK_EQ(joined(r.leftovers()), "");
  }
  Rig r("/no/such/runtime");
  bool over = false;
  r.runtime->adopt([&](Result<Adopted> adopted) {
    over = true;
    REQUIRE_FALSE(adopted.has_value());
    CHECK(adopted.error().message.find("/no/such/runtime") != std::string::npos);
  });
  CHECK(r.until([&] { return over; }));
}

TEST_CASE("an error at any step of making a container leaves nothing") {
  Rig r;
  r.restart();
  int failures = 0;
  for (const char* point : {"runtime.sandbox.before", "runtime.sandbox.record", "runtime.sandbox.made"}) {
    failpoint::arm(std::string(point) + "=error");
    failures += r.make_pod().has_value() ? 0 : 1;
    failpoint::arm("");
    CHECK_EQ(joined(r.leftovers()), "");
  }
  REQUIRE(r.make_pod().has_value());
  std::vector<std::string> before = r.leftovers();
  for (const char* point : {"runtime.create.before", "runtime.record", "runtime.root", "runtime.volumes",
                            "runtime.spec", "runtime.shim"}) {
    CAPTURE(point);
    failpoint::arm(std::string(point) + "=error");
    failures += r.create(r.container("f", {"true"})).has_value() ? 0 : 1;
    failpoint::arm("");
    CHECK_EQ(joined(r.leftovers()), joined(before));
  }
  CHECK_EQ(failures, 9);
  CHECK_EQ(r.run(r.container("f", {"true"})).exit_code, 0);
}

TEST_CASE("a daemon killed in the middle of making a container is cleaned up after") {
  Rig r;
  r.restart();
  REQUIRE(r.make_pod().has_value());
  bool called = false;
  for (int steps = 0; steps < 12; ++steps) {
    CAPTURE(steps);
    r.runtime->create(r.container("k", {"true"}), [&](Result<>) { called = true; });
    int turns = 0;
    r.loop.run_until([&] { return ++turns > steps * 3; }, 1000);
    r.restart();
    if (r.runtime->status("k") != nullptr) {
      r.until([&] { return r.runtime->status("k")->state != ContainerState::creating; });
      CHECK(r.remove("k").has_value());
    }
  }
  CHECK(r.remove_pod().has_value());
  CHECK_EQ(joined(r.leftovers()), "");
}
