// The shapes in which the image room speaks to the rest of the daemon.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

namespace limpet::image {

// An operation under way; destroying it cancels, its callback is then not made.
class Operation {
 public:
  virtual ~Operation() = default;
};

struct ImageRoot {
  std::string image_id;                 // "sha256:..." of the configuration
  std::string repo_digest;              // "docker.io/library/busybox@sha256:..."
  std::vector<std::string> lower_dirs;  // overlayfs lower directories, uppermost first
  std::string config_json;
};

struct LayerProgress {
  std::string digest;
  uint64_t done = 0;  // bytes of the blob
  uint64_t total = 0;
  enum class Phase { waiting, downloading, unpacking, complete } phase = Phase::waiting;
};
using Progress = std::function<void(const LayerProgress&)>;

}  // namespace limpet::image
