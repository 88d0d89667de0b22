#include "cli/raw_terminal.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>

#include <cerrno>
#include <cstddef>

namespace limpet::cli {
namespace {

constexpr int fatal_signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};

// Plain memory, since a signal handler reads it.
volatile sig_atomic_t raw_fd = -1;
termios cooked;
struct sigaction before[std::size(fatal_signals)];

void restore() {
  const int fd = raw_fd;
  raw_fd = -1;
  if (fd >= 0) tcsetattr(fd, TCSADRAIN, &cooked);
}

// SA_RESETHAND has put the default action back: the signal comes again, and ends the process.
void on_fatal_signal(int signum) {
  const int saved = errno;
  restore();
  raise(signum);
  errno = saved;
}

}  // namespace

Result<> RawTerminal::enter(int fd) {
  if (raw_fd >= 0) return {};
  if (tcgetattr(fd, &cooked) != 0) return fail_errno(errno, "read the terminal's settings");
  struct sigaction action{};
  action.sa_handler = on_fatal_signal;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigemptyset(&action.sa_mask);
  for (size_t i = 0; i < std::size(fatal_signals); i++) sigaction(fatal_signals[i], &action, &before[i]);
  termios raw = cooked;
  cfmakeraw(&raw);
  raw_fd = fd;
  if (tcsetattr(fd, TCSADRAIN, &raw) == 0) return {};
  const int err = errno;
  leave();
  return fail_errno(err, "set the terminal to raw mode");
}

void RawTerminal::leave() {
  if (raw_fd < 0) return;
  restore();
  for (size_t i = 0; i < std::size(fatal_signals); i++) sigaction(fatal_signals[i], &before[i], nullptr);
}

TerminalSize terminal_size(int fd) {
  winsize size{};
  if (ioctl(fd, TIOCGWINSZ, &size) != 0) return {};
  return {size.ws_col, size.ws_row};
}

}  // namespace limpet::cli
