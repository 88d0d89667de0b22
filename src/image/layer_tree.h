// Work on the directory of an unpacked layer that only the daemon may or should do. Blocking; for the pool.
//
// The names inside come from strangers: every path is resolved beneath the root without following links.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace limpet::image {

// Directories that no entry of the layer described take owner and mode from the uppermost parent that has
// them; opaque directories get the attribute that overlayfs looks for, which the unpack child may not set.
Result<> complete_tree(const std::string& root, const std::vector<std::string>& implicit,
                       const std::vector<std::string>& opaque, const std::vector<std::string>& parents);

}  // namespace limpet::image
