// The steps of limpet reset, each on its own for tests. Blocking; what they did goes into the report.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "cli/reset.h"
#include "net/link.h"
#include "node/runtime/cgroup.h"

namespace limpet::cli {

// The path without links, "." and doubled or trailing '/'; what is missing at its end stays as it is written.
std::string real_path(const std::string& path);

// A directory of the whole system, in which programs other than limpetd have their things. Of a real path.
bool is_system_directory(const std::string& path);

// Where this device's things are, as the kernel names them, and which of it is proven to be limpetd's.
struct ResetPlaces {
  std::string data_dir, run_dir;  // real paths
  bool data_ours = false, run_ours = false;
  std::set<std::string> uids;  // of every pod that limpetd knew
};
ResetPlaces find_places(const DeviceConfig& device);

// What is limpet's own in dataDir and runDir; all else there is somebody else's.
const std::vector<std::string>& own_names_in_data_dir();
const std::vector<std::string>& own_names_in_run_dir();
// Whether a directory of logs.dir has a name as limpetd gives: NAMESPACE_POD_UID. Pure.
bool is_pod_log(std::string_view name);

// Shims of containers in run_dir, wherever they run. run_dir: as configured, and its real path.
void end_shims(const std::set<std::string>& run_dirs);
// Kills and removes ROOT/podUID of these pods, the shims' group once no other pod is in ROOT, and ROOT once
// it is empty.
void end_groups(const node::Cgroups& groups, const std::string& root, const std::set<std::string>& uids,
                ResetReport& report);

// The mount points strictly below the directories, the last mounted first. Pure.
std::vector<std::string> mounts_below(std::string_view mountinfo,
                                      const std::vector<std::string>& directories);
// Unmounts what is below limpetd's own names; the points that are mounted all the same, also those on such a
// name itself.
std::vector<std::string> unmount_pods(const ResetPlaces& places, ResetReport& report);

enum class BridgeUse {
  ours,         // limpetd made it, and only links of these pods hang on it
  other_pods,   // pods of another limpetd hang on it
  other_links,  // it is no bridge of limpetd's, or the person's links hang on it
};
// Pure.
BridgeUse use_of_bridge(const net::Link& bridge, const std::vector<net::Link>& all, net::Ipv4 gateway,
                        const std::set<std::string>& uids);
void remove_network(const daemon::Config& config, const std::set<std::string>& uids, ResetReport& report);

}  // namespace limpet::cli
