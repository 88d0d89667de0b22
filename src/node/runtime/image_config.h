// The parts of an OCI image configuration that a container needs. The bytes come from a registry: bounds are
// checked and an error names the field.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace limpet::node {

struct ImageConfig {
  std::vector<std::string> entrypoint, cmd;
  std::vector<std::pair<std::string, std::string>> env;
  std::string working_dir, user, stop_signal;
  std::vector<std::string> volumes;
};

// At most 256 KB of environment, 1,024 entries per list; WorkingDir absolute and not below /proc.
Result<ImageConfig> parse_image_config(std::string_view json);

// Args as Kubernetes builds them: command replaces the entrypoint (and drops Cmd), args replace Cmd.
std::vector<std::string> effective_args(const ImageConfig& image, const std::vector<std::string>& command,
                                        const std::vector<std::string>& args);

}  // namespace limpet::node
