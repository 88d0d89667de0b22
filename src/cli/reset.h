// Undoing what limpetd made on this device, step by step. Every step can be done again, and goes on after
// another one failed. Nothing is taken for limpetd's because of its name alone: a directory must show that
// limpetd worked in it, a control group and a log must be of one of its pods, a bridge must be as it makes
// them. What is left for that reason is named.
#pragma once

#include <string>
#include <vector>

#include "cli/device_config.h"

namespace limpet::cli {

struct ResetReport {
  std::vector<std::string> removed, failed, kept;  // sentences without their full stop
};

// Why nothing of this device may be removed: dataDir or runDir is a directory of the whole system. Empty: it
// may. Blocking.
std::string reset_refusal(const DeviceConfig& device);

// Whether limpetd worked in dataDir: a database of its own or its lock is there. Blocking.
bool is_data_dir(const std::string& data_dir);

// In this order: processes and control groups, mounts, links, nft table, files; the locks go last.
// with_config: also the configuration file and the manifests. Blocking for seconds at most. The caller holds
// the lock on dataDir where is_data_dir says so.
ResetReport reset_device(const DeviceConfig& device, const std::string& config_file, bool with_config);

}  // namespace limpet::cli
