// limpetd's command line.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace limpet::daemon {

struct CommandLine {
  enum class Action { run, check_config, version, help } action = Action::run;
  std::string config_path = "/etc/limpet/limpetd.yaml";
  bool config_given = false;  // a missing default file means defaults; a missing named one is an error
};

// The arguments without the program's name.
Result<CommandLine> parse_command_line(const std::vector<std::string>& arguments);
const char* help_text();

}  // namespace limpet::daemon
