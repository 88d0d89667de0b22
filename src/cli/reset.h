// Undoing what limpetd made on this device, step by step. Every step can be done again, and goes on after
// another one failed.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/device_config.h"

namespace limpet::cli {

struct ResetReport {
  std::vector<std::string> removed, failed, kept;  // sentences without their full stop
};

// The mount points strictly below the directories, the last mounted first. Pure.
std::vector<std::string> mounts_below(std::string_view mountinfo,
                                      const std::vector<std::string>& directories);
// Whether a directory of logs.dir has a name as limpetd gives: NAMESPACE_POD_UID. Pure.
bool is_pod_log(std::string_view name);
// What is limpet's own in dataDir and runDir; all else there is somebody else's.
const std::vector<std::string>& own_names_in_data_dir();
const std::vector<std::string>& own_names_in_run_dir();

// Removes path with all below it, without following links or crossing into another file system. True when
// nothing is left of it.
bool remove_tree(const std::string& path, ResetReport& report);

// In this order: processes and control groups, mounts, links, nft table, files. with_config: also the
// configuration file and the manifests. Blocking for seconds at most. The caller holds the lock on dataDir.
ResetReport reset_device(const DeviceConfig& device, const std::string& config_file, bool with_config);

}  // namespace limpet::cli
