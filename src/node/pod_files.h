// What a pod leaves on disk beside what the runtime keeps: its logs, volumes and files for /etc. Blocking,
// idempotent.
//
// The directory of logs outlives a reboot and may be shared with others; nothing but a name says whose logs
// they are. So they go before what shows that the pod was this device's (its row of node.db, its
// directories): a daemon that is killed in between finds at its next start what is left to do.
#pragma once

#include <string>

#include "base/result.h"
#include "node/pod/volumes.h"

namespace limpet::node {

struct PodFiles {
  std::string uid;
  std::string log_dir;  // of all pods
  VolumeDirs volumes;
  std::string etc;  // run_files.h
};

// Gone for good when it returns, also after a power cut.
Result<> remove_logs(const std::string& log_dir, const std::string& uid);
Result<> remove_pod_files(const PodFiles& files);

}  // namespace limpet::node
