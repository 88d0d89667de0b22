// limpet-shim exec: runs one process in a container for the daemon, so that crun or runc need not stay in
// memory while it runs, and so that it dies with whoever asked for it.
//
//   dir=DIR runtime=PATH root=DIR id=ID process=FILE name=WORD tty=0|1 timeout=MS cgroup=DIR...
//
// Standard streams are the process's own (without tty). Descriptor 3 is a socket to the daemon: it gets the
// terminal (tty), then the exit code or an error, in frames of shim_protocol.h. When it closes, or on
// frame_kill, the process group is killed.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <initializer_list>

#include "node/runtime/shim_protocol.h"
#include "shim/verbs.h"

namespace limpet::shim {
namespace {

namespace wire = node::shim;
constexpr int control = 3;

void send_frame(uint8_t type, const void* payload, size_t size) {
  char frame[wire::header_bytes + 2048];
  if (size > sizeof frame - wire::header_bytes) size = sizeof frame - wire::header_bytes;
  uint32_t n = static_cast<uint32_t>(size);
  memcpy(frame, &n, sizeof n);
  frame[4] = static_cast<char>(type);
  memcpy(frame + wire::header_bytes, payload, size);
  send(control, frame, wire::header_bytes + size, MSG_NOSIGNAL);
}

class Exec {
 public:
  explicit Exec(const Args& args) : args_(args) {}
  int run();

 private:
  void name(TextRef& out, const char* suffix) { out.add(args_.get("name")).add(suffix); }
  bool spawn_runtime();
  void take_terminal();
  void reap();
  void runtime_done(int status);
  void finish(int status);
  void report(const char* text);
  void read_control();
  void kill_process() {
    if (group_ > 0) kill(-group_, SIGKILL);
    if (process_ > 0) kill(process_, SIGKILL);
  }

  const Args& args_;
  Text<128> log_, pid_file_, console_;
  int console_listener_ = -1;
  pid_t command_ = 0;
  pid_t process_ = 0;
  pid_t group_ = 0;  // its process group
  int64_t deadline_ = 0;
  bool timed_out_ = false;
  bool killed_ = false;
  bool done_ = false;
  bool terminal_sent_ = false;
  pid_t orphan_pid_[4] = {};
  int orphan_status_[4] = {};
  int orphans_ = 0;
};

bool Exec::spawn_runtime() {
  bool tty = args_.flag("tty");
  if (tty) {
    console_listener_ = listen_here(console_.c_str(), 1);
    if (console_listener_ < 0) return false;
  }
  const char* argv[24];
  int n = 0;
  for (const char* word :
       {args_.get("runtime"), "--root", args_.get("root"), "--log", log_.c_str(), "--log-format", "json",
        "exec", "--detach", "--pid-file", pid_file_.c_str(), "--process", args_.get("process")}) {
    argv[n++] = word;
  }
  if (tty) {
    argv[n++] = "--tty";
    argv[n++] = "--console-socket";
    argv[n++] = console_.c_str();
  }
  argv[n++] = "--";
  argv[n++] = args_.get("id");
  argv[n] = nullptr;
  Spawn how;
  how.argv = argv;
  if (!tty) {
    how.in = 0;
    how.out = 1;
    how.err = 2;
  }
  command_ = spawn(how);
  deadline_ = monotonic_ms() + args_.number("timeout", 30000);
  for (int fd = 0; fd < 3; ++fd) redirect_to_null(fd);
  return command_ > 0;
}

void Exec::take_terminal() {
  if (console_listener_ < 0) return;
  int connection = accept4(console_listener_, nullptr, nullptr, SOCK_CLOEXEC);
  if (connection < 0) return;
  timeval limit{2, 0};
  setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  int master = receive_fd(connection);
  close(connection);
  close(console_listener_);
  console_listener_ = -1;
  if (master < 0) return;
  terminal_sent_ = send_fd(control, wire::frame_exec_master, master) == 0;
  close(master);
}

void Exec::report(const char* text) {
  send_frame(wire::frame_error, text, strlen(text));
  done_ = true;
}

void Exec::finish(int status) {
  int32_t code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  send_frame(wire::frame_exec_exit, &code, sizeof code);
  done_ = true;
}

void Exec::runtime_done(int status) {
  command_ = 0;
  deadline_ = 0;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || timed_out_) {
    kill_children(0);
    char log[4096];
    ssize_t n = read_tail(log_.c_str(), log, sizeof log);
    Text<1500> message;
    if (timed_out_) message.add(args_.get("runtime")).add(" exec did not come back in time and was killed");
    if (n > 0 && !timed_out_) add_last_message(message, log, static_cast<size_t>(n));
    if (message.size() == 0) message.add(args_.get("runtime")).add(" exec failed");
    report(message.c_str());
    return;
  }
  take_terminal();
  char text[32];
  read_file(pid_file_.c_str(), text, sizeof text);
  process_ = static_cast<pid_t>(strtol(text, nullptr, 10));
  if (process_ <= 1) {
    report("the runtime's exec left no process behind");
    return;
  }
  // runc makes the process leader of its own group, crun leaves it in the group that we made for crun.
  pid_t group = getpgid(process_);
  if (group > 1 && group != getpgrp()) group_ = group;
  if (killed_) kill_process();
  for (int i = 0; i < 4; ++i) {
    if (orphan_pid_[i] == process_) finish(orphan_status_[i]);
  }
}

void Exec::reap() {
  int status = 0;
  int command_status = -1;
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
    if (pid == command_) {
      command_status = status;
    } else if (process_ > 0 && pid == process_) {
      finish(status);
    } else {
      orphan_pid_[orphans_ % 4] = pid;
      orphan_status_[orphans_ % 4] = status;
      ++orphans_;
    }
  }
  if (command_status != -1) runtime_done(command_status);
}

void Exec::read_control() {
  char bytes[64];
  ssize_t n = recv(control, bytes, sizeof bytes, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  // Whatever arrives means the same: the daemon wants an end, or is no more.
  killed_ = true;
  kill_process();
  if (command_ > 0 && n <= 0) deadline_ = monotonic_ms();
}

int Exec::run() {
  name(log_, ".log");
  name(pid_file_, ".pid");
  name(console_, ".sock");
  if (log_.cut() || chdir(args_.get("dir")) != 0) {
    report("cannot enter the container's directory");
    return 1;
  }
  join_cgroups(args_);
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  fcntl(control, F_SETFD, FD_CLOEXEC);
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  sigset_t wanted;
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGCHLD);
  int signals = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
  if (!spawn_runtime()) report("cannot run the runtime");
  bool control_open = true;
  while (!done_) {
    pollfd fds[3] = {
        {signals, POLLIN, 0}, {control_open ? control : -1, POLLIN, 0}, {console_listener_, POLLIN, 0}};
    int64_t wait = deadline_ == 0 ? -1 : deadline_ - monotonic_ms();
    poll(fds, 3, deadline_ != 0 && wait < 0 ? 0 : static_cast<int>(wait));
    if (fds[1].revents != 0) {
      read_control();
      if (killed_) control_open = false;
    }
    if (fds[2].revents != 0) take_terminal();
    if (fds[0].revents != 0) {
      signalfd_siginfo info;
      while (read(signals, &info, sizeof info) > 0) continue;
      reap();
    }
    if (deadline_ != 0 && monotonic_ms() >= deadline_) {
      timed_out_ = true;
      deadline_ = monotonic_ms() + 1000;
      if (command_ > 0) kill(-command_, SIGKILL);
      kill_children(0);
    }
  }
  unlink(log_.c_str());
  unlink(pid_file_.c_str());
  unlink(console_.c_str());
  unlink(args_.get("process"));
  return 0;
}

}  // namespace

int exec_verb(const Args& args) {
  Exec exec(args);
  return exec.run();
}

}  // namespace limpet::shim
