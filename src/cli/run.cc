#include <unistd.h>

#include <algorithm>

#include "cli/commands.h"
#include "cli/format.h"

namespace limpet::cli {
namespace {

struct Runner {
  const char* name;
  Outcome<int> (*run)(Context&);
  bool needs_limpetd = true;  // else it also works with a configuration that is wrong
};

constexpr Runner runners[] = {
    {"status", run_status},
    {"ps", run_ps},
    {"why", run_why},
    {"logs", run_logs},
    {"exec", run_exec},
    {"image ls", run_image_ls},
    {"image pull", run_image_pull},
    {"image import", run_image_import},
    {"image rm", run_image_rm},
    {"restart", run_restart},
    {"top", run_top},
    {"doctor", run_doctor, false},
    {"support-bundle", run_support_bundle, false},
    {"backup", run_backup},
    {"backup keygen", run_backup_keygen, false},
    {"restore", run_restore, false},
    {"reset", run_reset, false},
    {"cluster status", run_cluster_status},
    {"cluster recover", run_cluster_recover, false},
    {"token create", run_token_create},
    {"token ls", run_token_ls},
    {"token rm", run_token_rm},
    {"join", run_join},
    {"node remove", run_node_remove},
    {"node revoke", run_node_revoke},
    {"cert rotate", run_cert_rotate},
    {"cert status", run_cert_status},
    {"completion", run_completion, false},
    {"kubeconfig", run_kubeconfig},
    {"version", run_version},
};

// Messages keep within the width as all else; what stands between spaces stays whole. A hint to copy has a
// line of its own.
void complain(Output& output, std::string_view message) {
  std::string text;
  while (!message.empty()) {
    const size_t end = std::min(message.find('\n'), message.size());
    text += labelled(text.empty() ? "limpet:" : "", message.substr(0, end), 8, output.width);
    message.remove_prefix(std::min(end + 1, message.size()));
  }
  (void)output.err(text);
}

}  // namespace

Outcome<int> print(Context& context, std::string_view text, int status) {
  if (!context.output.out(text)) return failed(exit_failed, "");
  return status;
}

bool confirmed(Context& context, const std::string& what) {
  (void)context.output.err(labelled("", what, 0, context.output.width) + "Type yes to go on: ");
  std::string line;
  char c = 0;
  while (line.size() < 100 && read(STDIN_FILENO, &c, 1) == 1 && c != '\n') line += c;
  return line == "yes";
}

int run(const std::vector<std::string>& words, loop::Loop& loop, Output& output, Clock& clock) {
  auto arguments = parse_arguments(words);
  if (!arguments) {
    complain(output, arguments.error().message);
    return exit_usage;
  }
  if (arguments->help) return output.out(help_text(arguments->command)) ? exit_done : exit_failed;
  if (arguments->command.empty()) {
    (void)output.err(help_text(""));
    return exit_usage;
  }
  for (const Runner& r : runners) {
    if (arguments->command != r.name) continue;
    auto socket = find_socket(arguments->socket, arguments->config, arguments->config_given);
    if (!socket && !r.needs_limpetd) socket = find_socket("", arguments->config, false);
    if (!socket) {
      complain(output, socket.error().message);
      return socket.error().code;
    }
    Connection daemon(loop, *socket);
    Context context{*arguments, daemon, output, clock};
    const Outcome<int> ended = r.run(context);
    if (ended) return *ended;
    if (!ended.error().message.empty()) complain(output, ended.error().message);
    return ended.error().code;
  }
  return exit_usage;  // a test compares the two tables
}

}  // namespace limpet::cli
