#include "cli/doctor/apart.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

#include "base/unique_fd.h"

namespace limpet::cli::doctor {
namespace {

constexpr int64_t end_ms = 500;  // from SIGTERM to SIGKILL: time to remove what it made
constexpr int64_t look_ms = 10;

int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

[[noreturn]] void work_and_end(int out, const std::function<std::string()>& work) {
  // It must be possible to end it, whatever this process does about signals.
  struct sigaction action{};
  action.sa_handler = SIG_DFL;
  for (const int number : {SIGHUP, SIGINT, SIGTERM}) sigaction(number, &action, nullptr);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  const std::string text = work();
  for (size_t at = 0; at < text.size();) {
    const ssize_t n = write(out, text.data() + at, text.size() - at);
    if (n < 0 && errno != EINTR) _exit(1);
    if (n > 0) at += static_cast<size_t>(n);
  }
  _exit(0);
}

// Whether it ended within that time.
bool reap(pid_t child, int64_t for_ms, int& status) {
  const int64_t until = now_ms() + for_ms;
  for (;;) {
    const pid_t got = waitpid(child, &status, WNOHANG);
    if (got == child || (got < 0 && errno != EINTR)) return true;
    if (now_ms() >= until) return false;
    poll(nullptr, 0, look_ms);
  }
}

}  // namespace

std::optional<std::string> apart(int64_t deadline_ms, const std::function<std::string()>& work) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return work();
  UniqueFd in(ends[0]), out(ends[1]);
  const pid_t child = fork();
  if (child < 0) return work();
  if (child == 0) work_and_end(out.get(), work);
  out.reset();
  std::string text;
  bool ended = false;
  for (const int64_t until = now_ms() + deadline_ms; !ended && now_ms() < until;) {
    pollfd p{in.get(), POLLIN, 0};
    if (poll(&p, 1, static_cast<int>(until - now_ms())) <= 0) continue;
    char buffer[4096];
    const ssize_t n = read(in.get(), buffer, sizeof buffer);
    if (n > 0) text.append(buffer, static_cast<size_t>(n));
    ended = n == 0 || (n < 0 && errno != EINTR);
  }
  int status = 0;
  if (ended && reap(child, end_ms, status) && WIFEXITED(status) && WEXITSTATUS(status) == 0) return text;
  kill(child, SIGTERM);
  if (!reap(child, end_ms, status)) {
    kill(child, SIGKILL);
    (void)reap(child, end_ms, status);
  }
  return {};
}

}  // namespace limpet::cli::doctor
