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

// A pull as a whole. Totals grow while its manifest is not known yet: they are 0 then.
struct PullStatus {
  std::string reference;         // normalised
  bool running = false;          // false: it waits for its turn
  uint64_t done = 0, total = 0;  // bytes of the blobs
  size_t layers_done = 0, layers = 0;
};

// The news of single layers, added up.
class PullTally {
 public:
  void add(const LayerProgress& news) {
    for (LayerProgress& known : layers_) {
      if (known.digest == news.digest) {
        known = news;
        return;
      }
    }
    layers_.push_back(news);
  }
  const std::vector<LayerProgress>& layers() const { return layers_; }
  PullStatus sum() const {
    PullStatus out;
    out.layers = layers_.size();
    for (const LayerProgress& l : layers_) {
      const bool complete = l.phase == LayerProgress::Phase::complete;
      out.layers_done += complete ? 1 : 0;
      out.done += complete ? l.total : l.done;
      out.total += l.total;
    }
    return out;
  }

 private:
  std::vector<LayerProgress> layers_;  // at most 128: an image has no more
};

}  // namespace limpet::image
