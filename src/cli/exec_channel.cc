#include "cli/exec_channel.h"

#include <charconv>

#include "base/json.h"
#include "cli/format.h"

namespace limpet::cli {
namespace {

constexpr int normal_closure = 1000;

// The exit code among the causes of a Status, or -1.
int exit_code(json::Ref status) {
  for (json::Ref cause : status["details"]["causes"]) {
    if (cause["reason"].str() != "ExitCode") continue;
    const std::string_view text = cause["message"].str();
    int code = -1;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), code);
    if (error == std::errc() && end == text.data() + text.size() && code >= 0) return code & 0xff;
  }
  return -1;
}

}  // namespace

std::string exec_message(Channel channel, std::string_view bytes) {
  return std::string(1, static_cast<char>(channel)).append(bytes);
}

std::string exec_close_stdin() { return exec_message(Channel::close, std::string_view("\0", 1)); }

std::string exec_resize(int width, int height) {
  return exec_message(Channel::resize, strf("{\"Width\":%d,\"Height\":%d}\n", width, height));
}

Outcome<int> exec_result(std::string_view status, int close_code) {
  if (status.empty()) {
    if (close_code == normal_closure) return exit_done;
    return failed(
        exit_failed,
        strf("the connection to limpetd broke (%d): the command may still run in the container", close_code));
  }
  const auto parsed = json::parse(status);
  if (!parsed)
    return failed(exit_failed, "limpetd's last word cannot be understood: " + parsed.error().message);
  const json::Ref s = parsed->ref();
  if (s["status"].str() == "Success") return exit_done;
  if (const int code = exit_code(s); code >= 0) return code;
  const std::string message = printable(s["message"].str("no reason is given"));
  return failed(s["code"].integer() == 404 ? exit_not_found : exit_failed,
                "the command was not run: " + message);
}

}  // namespace limpet::cli
