// The small JSON files by which a restarted daemon knows what runs, and the identity of a process across
// restarts.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "node/runtime/runtime.h"

namespace limpet::node {

std::string sandbox_record(const SandboxConfig& config);
std::string container_record(const ContainerConfig& config);

// Also tells whether the record is of this boot.
Result<SandboxConfig> read_sandbox_record(const std::string& path, bool& this_boot);
Result<ContainerConfig> read_container_record(const std::string& path, bool& this_boot);

uint64_t process_start_time(int pid);  // clock ticks since boot, 0 when there is none

struct ShimIdentity {
  int pid = 0;
  uint64_t start_time = 0;
  std::string boot_id;
  bool alive() const;  // that very process, not another with its pid
};
ShimIdentity shim_of(std::string_view status_json);

// SIGKILL to the shim that the status file in `dir` names, or who listens at its socket when that cannot be
// read.
void kill_shim(const std::string& dir);

}  // namespace limpet::node
