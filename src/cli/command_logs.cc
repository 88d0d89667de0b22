// limpet logs.
#include "cli/pods.h"

namespace limpet::cli {
namespace {

std::string log_target(const Target& target, const Arguments& a) {
  std::string out = target.path() + "/log?container=" + http::percent_encode(target.container);
  if (a.follow) out += "&follow=true";
  if (a.previous) out += "&previous=true";
  if (a.timestamps) out += "&timestamps=true";
  if (a.tail) out += "&tailLines=" + std::to_string(*a.tail);
  if (a.since_s) out += "&sinceSeconds=" + std::to_string(*a.since_s);
  return out;
}

}  // namespace

// The bytes are the container's own and are not touched: they may be no text at all.
Outcome<int> run_logs(Context& context) {
  const auto target = find_target(context);
  if (!target) return std::unexpected(target.error());
  bool written = true;
  auto streamed =
      context.daemon.stream("GET", log_target(*target, context.arguments), "", [&](std::string_view bytes) {
        written = context.output.out(bytes);
        return written;
      });
  if (!written) return failed(exit_failed, "");
  if (!streamed) return std::unexpected(streamed.error());
  return exit_done;
}

}  // namespace limpet::cli
