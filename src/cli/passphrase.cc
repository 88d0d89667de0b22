#include "cli/passphrase.h"

#include <unistd.h>

#include <cerrno>

#include "backup/header.h"
#include "base/atomic_file.h"
#include "cli/raw_terminal.h"

namespace limpet::cli {
namespace {

constexpr char ctrl_c = 3, ctrl_d = 4, backspace = 8, ctrl_u = 21, rub_out = 127;

Outcome<> check(const std::string& passphrase, const std::string& where) {
  if (passphrase.size() < backup::least_passphrase) {
    return failed(exit_usage, strf("%s: a passphrase has at least %zu characters, better four words",
                                   where.c_str(), backup::least_passphrase));
  }
  return {};
}

Outcome<std::string> cancelled() { return failed(exit_failed, "nothing was done"); }

// One line, as a terminal's line discipline would take it, but for the echo.
Outcome<std::string> read_line() {
  std::string line;
  char c = 0;
  while (line.size() < backup::most_passphrase) {
    const ssize_t n = read(STDIN_FILENO, &c, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0 || c == ctrl_c || c == ctrl_d) return cancelled();
    if (c == '\r' || c == '\n') return line;
    if (c == ctrl_u) {
      line.clear();
    } else if (c == backspace || c == rub_out) {
      if (!line.empty()) line.pop_back();
    } else {
      line += c;
    }
  }
  return failed(exit_usage, "the passphrase is too long");
}

Outcome<std::string> ask(Context& context, const std::string& prompt) {
  RawTerminal terminal;
  if (const auto raw = RawTerminal::enter(STDIN_FILENO); !raw)
    return failed(exit_failed, raw.error().message);
  (void)context.output.err(prompt);  // what is typed from here on is not shown
  auto line = read_line();
  RawTerminal::leave();
  (void)context.output.err("\n");
  return line;
}

}  // namespace

Outcome<std::string> read_passphrase(const std::string& file) {
  auto text = read_file(file, backup::most_passphrase);
  if (!text) {
    return failed(text.error().code == Errc::not_found ? exit_not_found : exit_failed,
                  "the passphrase: " + text.error().message);
  }
  std::string line = text->substr(0, text->find_first_of("\r\n"));
  if (const auto good = check(line, file); !good) return std::unexpected(good.error());
  return line;
}

Outcome<std::string> ask_passphrase(Context& context, const std::string& what, bool twice) {
  auto first = ask(context, "Passphrase " + what + ": ");
  if (!first || !twice) return first;
  if (const auto good = check(*first, "it is too short"); !good) return std::unexpected(good.error());
  const auto second = ask(context, "Once more: ");
  if (!second) return second;
  if (*first != *second) return failed(exit_failed, "the two are not the same: nothing was done");
  return first;
}

Outcome<std::string> get_passphrase(Context& context, const std::string& what, bool twice) {
  if (!context.arguments.passphrase_file.empty()) return read_passphrase(context.arguments.passphrase_file);
  if (isatty(STDIN_FILENO) == 1) return ask_passphrase(context, what, twice);
  return failed(exit_usage, "nobody can be asked for the passphrase: --passphrase-file FILE holds it");
}

}  // namespace limpet::cli
