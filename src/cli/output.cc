#include "cli/output.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

namespace limpet::cli {
namespace {

constexpr size_t usual_width = 80, widest = 250, narrowest = 40;

size_t width_of(int fd) {
  winsize size{};
  if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return usual_width;
  return std::clamp<size_t>(size.ws_col, narrowest, widest);
}

bool colours_wanted() {
  const char* no = getenv("NO_COLOR");
  if (no && *no) return false;
  const char* term = getenv("TERM");
  return term && *term && std::string_view(term) != "dumb";
}

}  // namespace

bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n >= 0) {
      bytes.remove_prefix(static_cast<size_t>(n));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return false;
    // Somebody made the terminal or pipe that we share non-blocking.
    pollfd p{.fd = fd, .events = POLLOUT, .revents = 0};
    if (poll(&p, 1, -1) < 0 && errno != EINTR) return false;
  }
  return true;
}

Output standard_output() {
  Output o;
  o.out = [](std::string_view bytes) { return write_all(STDOUT_FILENO, bytes); };
  o.err = [](std::string_view bytes) { return write_all(STDERR_FILENO, bytes); };
  o.out_terminal = isatty(STDOUT_FILENO) == 1;
  o.err_terminal = isatty(STDERR_FILENO) == 1;
  if (o.out_terminal) o.width = width_of(STDOUT_FILENO);
  o.colour = o.out_terminal && colours_wanted();
  return o;
}

std::string coloured(const Output& output, Colour colour, std::string_view text) {
  const char* codes[] = {"", "\033[32m", "\033[33m", "\033[31m"};
  if (!output.colour || colour == Colour::none) return std::string(text);
  return std::string(codes[static_cast<int>(colour)]).append(text).append("\033[0m");
}

}  // namespace limpet::cli
