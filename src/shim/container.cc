
#include "shim/container.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <initializer_list>

namespace limpet::shim {
namespace {

constexpr int64_t slow_client_ms = 5000;  // a peer that takes nothing for so long is dropped
constexpr int64_t status_retry_ms = 1000;
constexpr int64_t drain_ms = 500;  // how long output may outlive the first process (others can hold the pipe)
constexpr int64_t poweroff_ms = 10000;  // what a container may take of a device going down

}  // namespace

void Container::watch(int fd, uint32_t events, uint32_t tag, bool add) {
  epoll_event event{};
  event.events = events;
  event.data.u32 = tag;
  epoll_ctl(epoll_, add ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event);
}

bool Container::prepare(TextRef& error) {
  log_.open(args_.get("log"), args_.number("log_max", 0), static_cast<int>(args_.number("log_files", 1)));
  tty_ = args_.flag("tty");
  stdin_once_ = args_.flag("stdin_once");
  listener_ = listen_here(wire::socket_name, 8);
  if (listener_ < 0) {
    error.add("listen on ").add(wire::socket_name).add(": ").add(strerror(-listener_));
    return false;
  }
  if (tty_) {
    console_listener_ = listen_here(wire::console_name, 1);
    if (console_listener_ < 0) {
      error.add("listen on ").add(wire::console_name).add(": ").add(strerror(-console_listener_));
      return false;
    }
  }
  clock_gettime(CLOCK_REALTIME, &created_at_);
  write_status();
  if (status_retry_at_ != 0) {
    error.add("cannot write ").add(wire::status_name);
    return false;
  }
  return true;
}

int Container::run() {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  sigset_t wanted;
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGCHLD);
  sigaddset(&wanted, SIGTERM);
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  signals_ = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
  if (epoll_ < 0 || signals_ < 0) return 1;
  watch(listener_, EPOLLIN, tag_listener, true);
  watch(signals_, EPOLLIN, tag_signals, true);
  if (console_listener_ >= 0) watch(console_listener_, EPOLLIN, tag_console, true);
  run_create();
  while (!done_) {
    epoll_event events[8];
    int64_t deadline = next_deadline();
    int64_t wait = deadline == 0 ? -1 : deadline - monotonic_ms();
    if (deadline != 0 && wait < 0) wait = 0;
    int n = epoll_wait(epoll_, events, 8, static_cast<int>(wait));
    for (int i = 0; i < n; ++i) {
      uint32_t tag = events[i].data.u32;
      if (tag == tag_listener) accept_client();
      if (tag == tag_signals) reap();
      if (tag == tag_out) read_output(out_);
      if (tag == tag_err) read_output(err_);
      if (tag == tag_console) accept_console();
      if (tag >= tag_client) serve(static_cast<int>(tag - tag_client), events[i].events);
      if (tag == tag_stdin) {
        for (int c = 0; c < max_clients; ++c) {
          if (clients_[c] != nullptr && clients_[c]->stdin_blocked) serve(c, EPOLLOUT);
        }
      }
    }
    check_deadlines();
    update_outputs();
  }
  unlink(wire::socket_name);
  return 0;
}

// ---- the runtime's commands
// -----------------------------------------------------------------------------------------

bool Container::open_streams(Spawn& command) {
  if (tty_) return true;
  int in[2] = {-1, -1}, out[2], err[2];
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) return false;
  if (args_.flag("stdin") && pipe2(in, O_CLOEXEC) != 0) return false;
  command.in = in[0];
  command.out = out[1];
  command.err = err[1];
  stdin_fd_ = in[1];
  out_.fd = out[0];
  err_.fd = err[0];
  for (int fd : {stdin_fd_, out_.fd, err_.fd}) {
    if (fd >= 0) fcntl(fd, F_SETFL, O_NONBLOCK);
  }
  return true;
}

void Container::run_command(Command command, const char* const* argv, Spawn how) {
  how.argv = argv;
  command_ = command;
  command_timed_out_ = false;
  unlink(wire::runtime_log_name);
  pid_t pid = spawn(how);
  if (pid < 0) {
    command_pid_ = 0;
    command_done(127 << 8);
    return;
  }
  command_pid_ = pid;
  command_deadline_ = monotonic_ms() + args_.number("timeout", 30000);
}

void Container::run_create() {
  Spawn how;
  if (!open_streams(how)) {
    fail("no descriptors left for the container's streams");
    return;
  }
  const char* argv[20];
  int n = 0;
  for (const char* word : {args_.get("runtime"), "--root", args_.get("root"), "--log", wire::runtime_log_name,
                           "--log-format", "json", "create", "--bundle", ".", "--pid-file", wire::pid_name}) {
    argv[n++] = word;
  }
  if (tty_) {
    argv[n++] = "--console-socket";
    argv[n++] = wire::console_name;
  }
  argv[n++] = "--";
  argv[n++] = args_.get("id");
  argv[n] = nullptr;
  run_command(Command::create, argv, how);
  for (int fd : {how.in, how.out, how.err}) {
    if (fd >= 0) close(fd);
  }
}

void Container::run_start(Client* by) {
  starter_ = -1;
  for (int i = 0; i < max_clients; ++i) {
    if (clients_[i] == by) starter_ = i;
  }
  const char* argv[] = {args_.get("runtime"),
                        "--root",
                        args_.get("root"),
                        "--log",
                        wire::runtime_log_name,
                        "--log-format",
                        "json",
                        "start",
                        "--",
                        args_.get("id"),
                        nullptr};
  run_command(Command::start, argv, Spawn{});
}

void Container::reap() {
  signalfd_siginfo info;
  while (read(signals_, &info, sizeof info) == sizeof info) {
    if (info.ssi_signo != SIGTERM) continue;
    leaving_ = true;
    // Process 1 sends it to all there are when the device goes down. A first process that does not listen
    // would hold up systemd for 90 seconds.
    if (info.ssi_pid == 1 && poweroff_deadline_ == 0) poweroff_deadline_ = monotonic_ms() + poweroff_ms;
  }
  if (leaving_ && over()) done_ = true;
  int status = 0;
  bool finished = false;
  int finished_status = 0;
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
    if (command_ != Command::none && pid == command_pid_) {
      finished = true;
      finished_status = status;
    } else if (pid == init_ && init_ != 0) {
      init_gone_ = true;
      init_status_ = status;
    } else {
      orphan_pid_[orphans_ % 8] = pid;
      orphan_status_[orphans_ % 8] = status;
      ++orphans_;
    }
  }
  if (finished) command_done(finished_status);
  if (init_gone_ && command_ == Command::none && (state_ == State::created || state_ == State::running)) {
    container_exited(init_status_);
  }
}

void Container::command_done(int status) {
  Command command = command_;
  command_ = Command::none;
  command_pid_ = 0;
  command_deadline_ = 0;
  bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0 && !command_timed_out_;
  if (!ok) {
    const char* verb = command == Command::create ? "create" : "start";
    char log[4096];
    ssize_t n = read_tail(wire::runtime_log_name, log, sizeof log);
    message_.clear();
    if (command_timed_out_) {
      message_.add(args_.get("runtime")).add(" ").add(verb).add(" did not come back within ");
      message_.add_number(args_.number("timeout", 30000)).add(" ms and was killed");
      if (n > 0) message_.add(": ");
    }
    if (n > 0) add_last_message(message_, log, static_cast<size_t>(n));
    if (message_.size() == 0 && err_.fd >= 0 && command == Command::create) {
      n = read(err_.fd, log, sizeof log - 1);
      if (n > 0) log[n] = 0;
      if (n > 0) add_last_message(message_, log, static_cast<size_t>(n));
    }
    if (message_.size() == 0) {
      message_.add(args_.get("runtime")).add(" ").add(verb);
      if (WIFSIGNALED(status)) {
        message_.add(" was ended by signal ").add_number(WTERMSIG(status));
      } else if (WEXITSTATUS(status) == 127 || WEXITSTATUS(status) == 126) {
        message_.add(" cannot be run");
      } else {
        message_.add(" failed with exit code ").add_number(WEXITSTATUS(status));
      }
    }
  }
  if (command == Command::create) create_done(ok);
  if (command == Command::start) start_done(ok);
}

void Container::create_done(bool ok) {
  if (!ok) {
    kill_children(0);
    fail(nullptr);
    return;
  }
  char text[32];
  read_file(wire::pid_name, text, sizeof text);
  char* end = nullptr;
  long pid = strtol(text, &end, 10);
  uint64_t started = pid > 1 ? process_start_time(static_cast<pid_t>(pid)) : 0;
  if (started == 0) {
    kill_children(0);
    message_.clear();
    message_.add(args_.get("runtime")).add(" create left no process behind");
    fail(nullptr);
    return;
  }
  init_ = static_cast<pid_t>(pid);
  for (int i = 0; i < 8; ++i) {
    if (orphan_pid_[i] == init_) {
      init_gone_ = true;
      init_status_ = orphan_status_[i];
    }
  }
  if (tty_ && out_.fd < 0) accept_console();
  if (tty_ && out_.fd < 0) {
    kill_children(0);
    message_.clear();
    message_.add(args_.get("runtime")).add(" create handed over no terminal");
    fail(nullptr);
    return;
  }
  state_ = State::created;
  message_.clear();
  write_status();
  broadcast_status();
}

void Container::start_done(bool ok) {
  if (ok) {
    clock_gettime(CLOCK_REALTIME, &started_at_);
    state_ = State::running;
  } else {
    start_failed_ = true;
    kill_container();
  }
  Client* starter = starter_ >= 0 ? clients_[starter_] : nullptr;
  int index = starter_;
  starter_ = -1;
  if (ok) {
    write_status();
    broadcast_status();
  }
  if (starter != nullptr) {
    answer(*starter, ok ? nullptr : message_.c_str());
    update_client(index);
  }
}

void Container::kill_container() {
  if (init_ != 0 && !init_gone_) kill(init_, SIGKILL);
}

void Container::fail(const char* reason) {
  if (reason != nullptr) message_.add(reason);
  state_ = State::failed;
  clock_gettime(CLOCK_REALTIME, &finished_at_);
  close_output(out_);
  close_output(err_);
  write_status();
  broadcast_status();
  for (int i = 0; i < max_clients; ++i) {
    if (clients_[i] != nullptr && clients_[i]->attached) drop(i);
  }
}

void Container::container_exited(int status) {
  if (drain_deadline_ == 0) {
    clock_gettime(CLOCK_REALTIME, &finished_at_);
    exit_signal_ = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    exit_code_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    if (start_failed_) exit_code_ = 128;
    drain_deadline_ = monotonic_ms() + drain_ms;
  }
  if (out_.fd < 0 && err_.fd < 0) finish_exit();
}

void Container::finish_exit() {
  if (state_ == State::exited) return;
  drain(out_);
  drain(err_);
  close_output(out_);
  close_output(err_);
  if (stdin_fd_ >= 0) close(stdin_fd_);
  stdin_fd_ = -1;
  drain_deadline_ = 0;
  uint64_t killed = 0;
  args_.each("oom", [&](const char* path) { killed += keyed_number(path, "oom_kill"); });
  oom_killed_ = killed > 0 && exit_code_ != 0 && !start_failed_;
  state_ = State::exited;
  write_status();
  broadcast_status();
  uint8_t code = static_cast<uint8_t>(exit_code_);
  for (int i = 0; i < max_clients; ++i) {
    if (clients_[i] == nullptr || !clients_[i]->attached) continue;
    clients_[i]->send(wire::frame_exit, &code, 1);
    clients_[i]->doomed = true;
    update_client(i);
  }
  if (leaving_) done_ = true;
}

// ---- time
// -----------------------------------------------------------------------------------------------------------

int64_t Container::next_deadline() const {
  int64_t nearest = 0;
  auto consider = [&](int64_t t) {
    if (t != 0 && (nearest == 0 || t < nearest)) nearest = t;
  };
  consider(command_deadline_);
  consider(drain_deadline_);
  consider(poweroff_deadline_);
  consider(status_retry_at_);
  for (const Client* client : clients_) {
    if (client != nullptr && client->has_output()) consider(client->last_progress_ms + slow_client_ms);
  }
  return nearest;
}

void Container::check_deadlines() {
  int64_t now = monotonic_ms();
  if (command_deadline_ != 0 && now >= command_deadline_) {
    command_timed_out_ = true;
    command_deadline_ = now + 1000;  // again, should one not die at once
    kill(-command_pid_, SIGKILL);
    kill_children(init_);
  }
  if (poweroff_deadline_ != 0 && now >= poweroff_deadline_) {
    poweroff_deadline_ = 0;
    if (!over() && init_ != 0 && !init_gone_) kill(init_, SIGKILL);
  }
  if (drain_deadline_ != 0 && now >= drain_deadline_) finish_exit();
  if (status_retry_at_ != 0 && now >= status_retry_at_) save_status();
  for (int i = 0; i < max_clients; ++i) {
    Client* client = clients_[i];
    if (client != nullptr && client->has_output() && now >= client->last_progress_ms + slow_client_ms)
      drop(i);
  }
}

// ---- status
// ---------------------------------------------------------------------------------------------------------

void Container::write_status() {
  static const char* const names[] = {"creating", "created", "running", "exited", "failed"};
  auto time = [&](const char* key, const timespec& t) {
    status_.add(",\"").add(key).add("\":\"");
    if (t.tv_sec != 0) status_.add_time(t.tv_sec, static_cast<uint32_t>(t.tv_nsec));
    status_.add("\"");
  };
  bool alive = state_ == State::created || state_ == State::running;
  status_.clear();
  status_.add("{\"state\":\"")
      .add(names[static_cast<int>(state_)])
      .add("\",\"pid\":")
      .add_number(alive ? init_ : 0);
  status_.add(",\"exitCode\":").add_number(exit_code_).add(",\"signal\":").add_number(exit_signal_);
  status_.add(",\"oomKilled\":").add(oom_killed_ ? "true" : "false");
  status_.add(",\"startFailed\":").add(start_failed_ ? "true" : "false");
  time("createdAt", created_at_);
  time("startedAt", started_at_);
  time("finishedAt", finished_at_);
  status_.add(",\"logBytesDropped\":").add_number(static_cast<int64_t>(log_.dropped_bytes()));
  status_.add(",\"shimPid\":").add_number(getpid());
  status_.add(",\"shimStart\":").add_number(static_cast<int64_t>(process_start_time(getpid())));
  status_.add(",\"bootId\":\"");
  add_boot_id(status_);
  status_.add("\",\"message\":").add_json(message_.c_str(), message_.size()).add("}");
  save_status();
}

// Whoever is connected has it already; a daemon that comes later reads the file. A full disk must not make
// the file lie for good: it is tried again until it is written.
void Container::save_status() {
  const bool saved = write_file_atomic(wire::status_name, status_.data(), status_.size()) == 0;
  status_retry_at_ = saved ? 0 : monotonic_ms() + status_retry_ms;
}

void Container::broadcast_status() {
  for (int i = 0; i < max_clients; ++i) {
    if (clients_[i] == nullptr || !clients_[i]->watching) continue;
    if (clients_[i]->send(wire::frame_status, status_.data(), status_.size())) {
      update_client(i);
    } else {
      drop(i);
    }
  }
}

}  // namespace limpet::shim
