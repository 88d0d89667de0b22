#include "daemon/options.h"

namespace limpet::daemon {

Result<CommandLine> parse_command_line(const std::vector<std::string>& arguments) {
  CommandLine out;
  for (size_t i = 0; i < arguments.size(); i++) {
    const std::string& a = arguments[i];
    if (a == "--help" || a == "-h") {
      out.action = CommandLine::Action::help;
      return out;
    }
    if (a == "--version") {
      out.action = CommandLine::Action::version;
      return out;
    }
    if (a == "--check-config") {
      out.action = CommandLine::Action::check_config;
    } else if (a == "--config" || a == "-c") {
      if (++i == arguments.size()) return fail(Errc::invalid_argument, a + " needs a file");
      out.config_path = arguments[i];
      out.config_given = true;
    } else if (a.starts_with("--config=")) {
      out.config_path = a.substr(9);
      out.config_given = true;
    } else {
      return fail(Errc::invalid_argument, "unknown argument " + a.substr(0, 100) + "; see limpetd --help");
    }
  }
  if (out.config_path.empty()) return fail(Errc::invalid_argument, "--config needs a file");
  return out;
}

const char* help_text() {
  return "limpetd: the daemon of limpet, a container orchestrator with the Kubernetes API\n"
         "\n"
         "usage: limpetd [--config FILE] [--check-config]\n"
         "\n"
         "  -c, --config FILE  configuration; without it /etc/limpet/limpetd.yaml, or defaults\n"
         "                     when that does not exist\n"
         "  --check-config     check the configuration, print what is wrong with it, and exit\n"
         "  --version          print versions and exit\n"
         "  -h, --help         this text\n"
         "\n"
         "signals: SIGTERM, SIGINT stop (twice: at once); SIGHUP reads the configuration again\n"
         "exit status: 0 stopped or good, 1 failed, 2 wrong arguments or configuration\n";
}

}  // namespace limpet::daemon
