// A backup made the state of a device, while no limpetd runs on it. Blocking.
#pragma once

#include <string>
#include <vector>

#include "backup/file.h"
#include "backup/records.h"
#include "backup/staged.h"
#include "store/rebuild.h"

namespace limpet::cli {

struct Restored {
  backup::Manifest manifest;
  store::Refounded made;
};

// Nothing of it counts until all of it was found genuine and whole; then all of it does, also when the power
// is cut in between. Errors: already_exists (a store, another identity, a limpetd that runs), corrupt,
// unsupported, exhausted.
Result<Restored> restore(backup::BackupInput& input, const pki::SealKey& key, const backup::Places& places,
                         bool new_cluster, int64_t now);

}  // namespace limpet::cli
