// Evidence that the tree of a layer is what was unpacked: counts and sums taken when it was, and taken again
// to compare. Blocking; for the pool.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace limpet::image {

struct TreeEvidence {
  uint64_t files = 0;      // regular files, hard links counted once
  uint64_t bytes = 0;      // their lengths
  std::string attributes;  // SHA-256 over names, types, modes, owners, sizes, times and link targets
  std::string contents;    // over what is in the files, and the attributes that overlayfs and exec look at
};

// with_contents reads every file; without it `contents` stays empty. The sum over a file's bytes finds rot,
// not a forger: whoever may write below dataDir may also write what it is compared with.
Result<TreeEvidence> examine_tree(const std::string& root, bool with_contents);

}  // namespace limpet::image
