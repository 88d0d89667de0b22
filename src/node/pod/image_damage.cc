#include "node/pod/image_damage.h"

#include <algorithm>
#include <cctype>
#include <csignal>
#include <initializer_list>
#include <string>

namespace limpet::node {

namespace {

std::string lower(std::string_view message) {
  std::string text(message);
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

}  // namespace

bool start_error_hints_at_damage(std::string_view message) {
  const std::string text = lower(message);
  // ENOEXEC, ENOENT, EIO, EUCLEAN, EBADMSG, ELIBBAD; crun and runc word them as the C library does. The last
  // two: an executable that is not found by its name.
  for (const char* words :
       {"exec format error", "no such file or directory", "input/output error", "structure needs cleaning",
        "bad message", "corrupted shared library", "executable file not found", "executable file `"}) {
    if (text.find(words) != std::string::npos) return true;
  }
  return false;
}

bool output_hints_at_damage(std::string_view lines) {
  const std::string text = lower(lines);
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = std::string_view(text).substr(at, end - at);
    at = end + 1;
    // runc: "exec /bin/app: exec format error". crun: {"msg":"exec container process `/bin/app`: Exec ..."}
    const bool of_runtime =
        line.starts_with("exec /") || line.find("exec container process") != std::string_view::npos;
    if (of_runtime && start_error_hints_at_damage(line)) return true;
    // The loaders of glibc and musl.
    if (line.find("error while loading shared libraries") != std::string_view::npos ||
        line.find("error loading shared library") != std::string_view::npos)
      return true;
  }
  return false;
}

bool signal_hints_at_damage(int signal) { return signal == SIGSEGV || signal == SIGILL || signal == SIGBUS; }

}  // namespace limpet::node
