// The files of one configMap, secret, downwardAPI or projected volume on disk: each version is a directory of
// its own, `..data` a link to the current one, and the names that people see are links through `..data`, so
// that all of them change at once. https://kubernetes.io/docs/concepts/storage/volumes/
//
// A container may have the directory mounted, so every step goes by descriptors from the volume's own
// directory and follows no link: whatever was put there meanwhile, nothing is written outside. Blocking.
#pragma once

#include <string>

#include "base/result.h"
#include "node/pod/volumes.h"

namespace limpet::node {

// Makes or updates the volume in `dir`, whose parents belong to the daemon alone. The same files again change
// nothing.
Result<> write_volume_files(const std::string& dir, const VolumePlan& plan);

}  // namespace limpet::node
