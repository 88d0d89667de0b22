// The configuration of this device for commands that work without limpetd. Blocking file reads.
#pragma once

#include <string>

#include "cli/options.h"
#include "daemon/config.h"
#include "daemon/paths.h"

namespace limpet::cli {

struct DeviceConfig {
  daemon::Config config;  // with defaults for what the file does not say or says wrongly
  daemon::Paths paths;
  std::string problem;  // what is wrong with the file, one line per problem; empty: nothing
};

// Of --config. A default file that is not there is no problem.
DeviceConfig read_device_config(const Arguments& arguments);

}  // namespace limpet::cli
