// limpetd: one process, one loop, the parts of parts.cc.
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <vector>

#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/options.h"
#include "daemon/place.h"
#include "daemon/process_setup.h"
#include "daemon/versions.h"

using namespace limpet;
using namespace limpet::daemon;

namespace {

constexpr int exit_failed = 1;
constexpr int exit_usage = 2;

std::string host_name() {
  char name[256] = {};
  if (gethostname(name, sizeof name - 1) != 0) return "localhost";
  std::string out(name);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return check_format(Format::dns_name, out).empty() ? out : "localhost";
}

void print_versions() {
  const Versions v = linked_versions();
  printf("limpetd %s\nSQLite %s, mbedTLS %s, libuv %s, %s\n", v.limpet.c_str(), v.sqlite.c_str(),
         v.mbedtls.c_str(), v.libuv.c_str(), v.http_parser.c_str());
}

// The file named, or the default one, or defaults when that does not exist. *used: the file that was read, or
// empty.
Result<Config> configuration(const CommandLine& line, std::string* used) {
  auto config = load_config(line.config_path);
  if (config) {
    *used = line.config_path;
  } else if (!line.config_given && config.error().sys_errno == ENOENT) {
    return check_config("").config;
  }
  return config;
}

// *again: set when the program is to begin anew, with what its environment gets back.
int serve(const Config& config, const std::string& config_file,
          std::optional<std::vector<std::string>>* again) {
  set_up_process();
  Notifier notifier = Notifier::from_environment();
  loop::Loop loop;
  SystemClock clock;
  SystemRandom random;
  Device device{.loop = loop,
                .clock = clock,
                .random = random,
                .config = config,
                .paths = derive_paths(config),
                .node_name = config.node_name.empty() ? host_name() : config.node_name};
  device.config.role = role_of(config.data_dir, config.role);
  Daemon daemon(device, make_parts(device), notifier, config_file);
  (void)daemon.start();  // it said itself what went wrong, and is stopping
  loop.run();
  if (daemon.restarts()) *again = notifier.environment();
  return daemon.exit_status();
}

// The same program from the beginning: whoever watches over this process goes on doing so.
int begin_again(char** argv, std::vector<std::string> returned) {
  log::notice("limpetd begins anew");
  std::vector<char*> environment;
  for (char** each = environ; *each != nullptr; each++) environment.push_back(*each);
  for (std::string& each : returned) environment.push_back(each.data());
  environment.push_back(nullptr);
  execve("/proc/self/exe", argv, environment.data());
  log::error("limpetd cannot begin anew, ending", {{"error", fail_errno(errno, "execve").error()}});
  return exit_failed;
}

}  // namespace

int main(int argc, char** argv) {
  ensure_standard_descriptors();
  auto line = parse_command_line({argv + 1, argv + argc});
  if (!line) {
    fprintf(stderr, "limpetd: %s\n", line.error().message.c_str());
    return exit_usage;
  }
  if (line->action == CommandLine::Action::help) {
    fputs(help_text(), stdout);
    return 0;
  }
  if (line->action == CommandLine::Action::version) {
    print_versions();
    return 0;
  }
  std::string config_file;
  auto config = configuration(*line, &config_file);
  if (!config) {
    fprintf(stderr, "%s\n", config.error().message.c_str());
    return exit_usage;
  }
  if (line->action == CommandLine::Action::check_config) {
    printf("%s: good\n", line->config_path.c_str());
    return 0;
  }
  apply_log_level(*config);
  const Versions v = linked_versions();
  log::notice("limpetd starts", {{"version", v.limpet},
                                 {"sqlite", v.sqlite},
                                 {"mbedtls", v.mbedtls},
                                 {"libuv", v.libuv},
                                 {"http_parser", v.http_parser},
                                 {"config", config_file.empty() ? "defaults" : config_file}});
  std::optional<std::vector<std::string>> again;
  const int status = serve(*config, config_file, &again);
  if (again && status == 0) return begin_again(argv, std::move(*again));
  return status == 0 ? 0 : exit_failed;
}
