// Where everything of one device lives, derived from its configuration, and the directories themselves.
#pragma once

#include <string>

#include "base/result.h"
#include "daemon/config.h"

namespace limpet::daemon {

struct Paths {
  std::string data_dir, run_dir;
  std::string store_file;      // dataDir/limpet.db
  std::string node_file;       // dataDir/node.db
  std::string roll_file;       // dataDir/servers.json, of an agent
  std::string pki_dir;         // dataDir/pki
  std::string images_dir;      // dataDir/images: the content store
  std::string archives_dir;    // OCI archives to import at start
  std::string pods_dir;        // dataDir/pods: volumes and root directories
  std::string socket;          // runDir/limpet.sock
  std::string containers_dir;  // runDir/containers: bundles, shim sockets, exit files
  std::string netns_dir;       // runDir/netns
  std::string logs_dir;
  std::string admin_kubeconfig;
  std::string manifests_dir;
};

Paths derive_paths(const Config& config);

// Makes what is missing. dataDir becomes 0700 whatever it was: it holds keys.
Result<> make_directories_of(const Paths& paths);

}  // namespace limpet::daemon
