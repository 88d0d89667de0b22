#include "loop/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "loop/internal.h"
#include "loop/poll.h"
#include "loop/process_spawn.h"

namespace limpet::loop {
namespace {

// The pipe that a collected descriptor is read from.
struct Collector {
  UniqueFd fd;
  std::unique_ptr<Poll> poll;  // after fd: goes first
  size_t limit = 0;
  std::string bytes;
  bool truncated = false;

  // Reads what is there, but not for ever: a flood is continued on the next turn. False at the end.
  bool drain(char* buffer, size_t size, int rounds) {
    while (rounds-- > 0) {
      const ssize_t n = read(fd.get(), buffer, size);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return errno == EAGAIN;
      if (n == 0) return false;
      const size_t room = limit - bytes.size(), got = static_cast<size_t>(n);
      bytes.append(buffer, std::min(room, got));
      truncated |= got > room;
    }
    return true;
  }
};

}  // namespace

std::string ProcessExit::describe() const {
  if (signal != 0) return strf("killed by signal %d%s", signal, timed_out ? " (deadline)" : "");
  return strf("exit status %d", status);
}

struct Process::Impl {
  explicit Impl(Loop& l) : loop(l) {}

  Loop& loop;
  Process* owner = nullptr;  // null: destroyed, the Impl only waits for the exit
  pid_t pid = 0;
  bool group = false;
  bool exited = false;
  bool timed_out = false;
  UniqueFd pidfd;
  std::unique_ptr<Poll> watch;  // after pidfd: goes first
  std::unique_ptr<Timer> deadline;
  Collector collectors[2];
  std::unique_ptr<Stream> streams[3];
  OnExit on_exit;

  int signal_child(int signum) const {
    if (exited) return ESRCH;
    if (group && ::kill(-pid, signum) == 0) return 0;
    return ::kill(pid, signum) == 0 ? 0 : errno;
  }

  void collect(size_t i) {
    if (collectors[i].drain(loop.impl().buffer(), Loop::Impl::read_buffer_size, 16)) return;
    collectors[i].poll.reset();
    collectors[i].fd.reset();
  }

  void child_readable() {
    int status = 0;
    const pid_t r = waitpid(pid, &status, WNOHANG);
    if (r == 0 || (r < 0 && errno == EINTR)) return;
    exited = true;
    watch.reset();
    pidfd.reset();
    deadline.reset();
    if (owner == nullptr) {
      --loop.impl().lingering;
      delete this;
      return;
    }
    ProcessExit exit;
    exit.timed_out = timed_out;
    exit.status = r > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    exit.signal = r > 0 && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    for (Collector& c : collectors) {
      // What the child wrote before it died is in the pipe; 64 rounds are more than a pipe can hold.
      if (c.fd) c.drain(loop.impl().buffer(), Loop::Impl::read_buffer_size, 64);
      c.poll.reset();
      c.fd.reset();
      exit.truncated |= c.truncated;
    }
    exit.out = std::move(collectors[0].bytes);
    exit.err = std::move(collectors[1].bytes);
    if (OnExit f = std::exchange(on_exit, nullptr)) f(std::move(exit));  // may destroy this
  }

  Result<> open_stdio(ProcessOptions& options, SpawnPlan* plan, UniqueFd (&theirs)[3]);
  Result<> watch_child();
};

// Makes the pipes: our ends go to collectors and streams, the child's to `theirs`.
Result<> Process::Impl::open_stdio(ProcessOptions& options, SpawnPlan* plan, UniqueFd (&theirs)[3]) {
  Stdio* const wanted[3] = {&options.in, &options.out, &options.err};
  for (int i = 0; i < 3; ++i) {
    Stdio& io = *wanted[i];
    if (io.kind == Stdio::Kind::null) continue;
    if (io.kind == Stdio::Kind::fd) {
      plan->stdio[i] = io.fd;
      continue;
    }
    LIMPET_ASSERT(i == 0 ? io.kind != Stdio::Kind::collect : io.kind != Stdio::Kind::data);
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return fail_errno(errno, "pipe");
    UniqueFd ours(ends[i == 0 ? 1 : 0]);
    theirs[i].reset(ends[i == 0 ? 0 : 1]);
    plan->stdio[i] = theirs[i].get();
    if (io.kind == Stdio::Kind::collect) {
      fcntl(ours.get(), F_SETFL, O_NONBLOCK);
      Collector& c = collectors[i - 1];
      c.fd = std::move(ours);
      c.limit = io.limit;
      TRY(c.poll, Poll::make(loop, c.fd.get()));
      c.poll->start(true, false, [this, i](PollEvents) { collect(static_cast<size_t>(i - 1)); });
    } else {
      TRY(streams[i], adopt_stream(loop, std::move(ours)));
    }
  }
  return {};
}

Result<> Process::Impl::watch_child() {
  pidfd.reset(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd) return fail_errno(errno, "pidfd_open");
  TRY(watch, Poll::make(loop, pidfd.get()));
  watch->start(true, false, [this](PollEvents) { child_readable(); });
  return {};
}

Process::~Process() {
  if (impl_ == nullptr) return;
  Impl* impl = std::exchange(impl_, nullptr);
  if (impl->exited) {
    delete impl;
    return;
  }
  impl->signal_child(SIGKILL);
  impl->owner = nullptr;
  impl->on_exit = nullptr;
  impl->deadline.reset();
  for (Collector& c : impl->collectors) {
    c.poll.reset();
    c.fd.reset();
  }
  for (auto& stream : impl->streams) stream.reset();
  ++impl->loop.impl().lingering;
}

Result<> Process::start(Loop& loop, ProcessOptions options, OnExit f) {
  LIMPET_ASSERT(loop.in_loop_thread());
  LIMPET_ASSERT(impl_ == nullptr || impl_->exited);
  auto impl = std::make_unique<Impl>(loop);
  impl->group = options.new_session;
  SpawnPlan plan{.options = &options};
  UniqueFd theirs[3];
  CHECK_OK(impl->open_stdio(options, &plan, theirs));
  TRY(impl->pid, spawn(plan));
  if (auto watched = impl->watch_child(); !watched) {
    impl->signal_child(SIGKILL);
    waitpid(impl->pid, nullptr, 0);
    return watched;
  }
  if (options.in.kind == Stdio::Kind::data) {
    // A child that does not read its input is no failure of ours: the exit says what happened.
    impl->streams[0]->write(std::move(options.in.input));
    impl->streams[0]->shutdown();
  }
  if (options.deadline_ms > 0) {
    impl->deadline = std::make_unique<Timer>(loop, "process-deadline");
    impl->deadline->start(options.deadline_ms, [p = impl.get()] {
      p->timed_out = true;
      p->signal_child(SIGKILL);
    });
  }
  impl->on_exit = std::move(f);
  impl->owner = this;
  delete std::exchange(impl_, impl.release());
  return {};
}

bool Process::running() const { return impl_ != nullptr && !impl_->exited; }
pid_t Process::pid() const { return impl_ != nullptr ? impl_->pid : 0; }

Result<> Process::kill(int signum) {
  const int err = impl_ != nullptr ? impl_->signal_child(signum) : ESRCH;
  if (err != 0) return fail_errno(err, "kill");
  return {};
}

std::unique_ptr<Stream> Process::take_stream(int number) {
  LIMPET_ASSERT(number >= 0 && number < 3);
  return impl_ != nullptr ? std::move(impl_->streams[number]) : nullptr;
}

void Process::release() { delete std::exchange(impl_, nullptr); }

}  // namespace limpet::loop
