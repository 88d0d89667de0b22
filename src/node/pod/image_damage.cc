#include "node/pod/image_damage.h"

#include <algorithm>
#include <cctype>
#include <csignal>
#include <initializer_list>
#include <string>

namespace limpet::node {

bool start_error_hints_at_damage(std::string_view message) {
  std::string text(message);
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  // ENOEXEC, ENOENT, EIO, EUCLEAN, EBADMSG, ELIBBAD; crun and runc word them as the C library does. The last
  // two: an executable that is not found by its name.
  for (const char* words :
       {"exec format error", "no such file or directory", "input/output error", "structure needs cleaning",
        "bad message", "corrupted shared library", "executable file not found", "executable file `"}) {
    if (text.find(words) != std::string::npos) return true;
  }
  return false;
}

bool signal_hints_at_damage(int signal) { return signal == SIGSEGV || signal == SIGILL || signal == SIGBUS; }

}  // namespace limpet::node
