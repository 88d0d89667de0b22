// One layer (a tar archive) into one directory, by libarchive, under the rules of the OCI image
// specification (layer.md): whiteouts, opaque directories, hard links, attributes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "unpack/input.h"
#include "unpack/tree.h"

namespace limpet::unpack {

enum class Mode {
  layer,    // as described above
  archive,  // an image archive: plain files and directories of ours, mode 0600 and 0700, nothing else kept
};

struct LayerLimits {
  InputLimits input;
  uint64_t max_entries = 1'000'000;
  size_t max_xattr_bytes = 256 * 1024;  // of one entry
};

struct LayerReport {
  std::string digest;  // of the tar archive
  uint64_t bytes = 0;  // of the tar archive
  uint64_t entries = 0;
  uint64_t files = 0;       // regular files, links not counted
  uint64_t file_bytes = 0;  // their lengths
  std::vector<std::string> implicit;
  std::vector<std::string> opaque;
};

// Blocking. Errors name the entry: `entry "usr/../../x": path escapes the root`.
Result<LayerReport> unpack_layer(int input_fd, UniqueFd root, Mode mode, const LayerLimits& limits);

}  // namespace limpet::unpack
