// limpet-shim: the small process beside every container. See verbs.h; limpetd is its only caller.
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <new>

#include "shim/container.h"
#include "shim/verbs.h"

namespace limpet::shim {

void join_cgroups(const Args& args) {
  args.each("cgroup", [](const char* dir) {
    Text<512> path;
    path.add(dir).add("/cgroup.procs");
    write_file(path.c_str(), "0");
  });
}

namespace {

void say(const char* text) {
  ssize_t ignored = write(2, text, strlen(text));
  static_cast<void>(ignored);
}

// In static storage: the object is large, and pages of it that are never used cost nothing.
Container& the_container(const Args& args) {
  alignas(Container) static char place[sizeof(Container)];
  return *new (place) Container(args);
}

}  // namespace

int run_verb(const Args& args) {
  if (chdir(args.get("dir")) != 0) {
    say("limpet-shim: cannot enter the container's directory\n");
    return 1;
  }
  int ready[2];
  if (pipe2(ready, O_CLOEXEC) != 0) return 1;
  pid_t pid = fork();
  if (pid < 0) {
    say("limpet-shim: cannot fork\n");
    return 1;
  }
  if (pid > 0) {
    close(ready[1]);
    char answer[512];
    ssize_t n = read(ready[0], answer, sizeof answer);
    if (n == 1 && answer[0] == '+') return 0;
    if (n > 0) {
      say("limpet-shim: ");
      n = write(2, answer, static_cast<size_t>(n));
    } else {
      say("limpet-shim: died while starting\n");
    }
    return 1;
  }
  close(ready[0]);
  setsid();
  join_cgroups(args);
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  // Last to be killed for memory; not permitted everywhere, and then not needed for correctness.
  write_file("/proc/self/oom_score_adj", "-998");
  Container& container = the_container(args);
  Text<400> error;
  if (!container.prepare(error)) {
    error.add("\n");
    ssize_t n = write(ready[1], error.data(), error.size());
    return n < 0 ? 2 : 1;
  }
  for (int fd = 0; fd < 3; ++fd) redirect_to_null(fd);
  ssize_t n = write(ready[1], "+", 1);
  close(ready[1]);
  return n == 1 ? container.run() : 1;
}

}  // namespace limpet::shim

int main(int argc, char** argv) {
  using namespace limpet::shim;
  const char* verb = argc > 1 ? argv[1] : "";
  Args args(argc - 2, argv + 2);
  bool exec = strcmp(verb, "exec") == 0;
  syscall(SYS_close_range, exec ? 4u : 3u, ~0u, 0u);
  if (strcmp(verb, "run") == 0) return run_verb(args);
  if (exec) return exec_verb(args);
  if (strcmp(verb, "sandbox") == 0) return sandbox_verb(args);
  const char text[] =
      "limpet-shim " LIMPET_VERSION "\nStarted by limpetd, one for each container; not for use by hand.\n";
  ssize_t n = write(1, text, sizeof text - 1);
  return n < 0 || strcmp(verb, "--version") != 0 ? 2 : 0;
}
