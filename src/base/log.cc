#include "base/log.h"

#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace limpet::log {

namespace {

std::atomic<int> g_level{static_cast<int>(Level::info)};
std::atomic<void (*)(Level, std::string_view)> g_sink{nullptr};

bool plain(std::string_view v) {
  if (v.empty()) return false;
  for (char c : v) {
    if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c == 0x7f) return false;
  }
  return true;
}

void append_escaped(std::string& out, std::string_view v) {
  static constexpr char kDigits[] = "0123456789abcdef";
  for (char c : v) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '\n') {
      out += "\\n";
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (u < 0x20 || u == 0x7f) {
      out += "\\x";
      out += kDigits[u >> 4];
      out += kDigits[u & 15];
    } else {
      out += c;
    }
  }
}

// The message stands unquoted; control characters in it (a hostile name, say) must not start a line of their
// own.
void append_message(std::string& out, std::string_view m) {
  for (char c : m) out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
}

}  // namespace

void set_level(Level level) { g_level = static_cast<int>(level); }
bool enabled(Level level) { return static_cast<int>(level) <= g_level; }
void set_sink(void (*sink)(Level, std::string_view)) { g_sink = sink; }

void write(Level level, std::string_view message, Fields fields) {
  if (!enabled(level)) return;
  std::string line = "<";
  line += static_cast<char>('0' + static_cast<int>(level));
  line += '>';
  append_message(line, message);
  for (const Field& f : fields) {
    line += ' ';
    line += f.key;
    line += '=';
    if (plain(f.value)) {
      line += f.value;
    } else {
      line += '"';
      append_escaped(line, f.value);
      line += '"';
    }
  }
  if (auto* sink = g_sink.load()) {
    sink(level, line);
    return;
  }
  line += '\n';
  // One write a line, so that lines of two threads never mix. A log that cannot be written is lost, by
  // intent.
  while (::write(STDERR_FILENO, line.data(), line.size()) < 0 && errno == EINTR) {
  }
}

}  // namespace limpet::log
