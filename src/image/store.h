// What images are on disk: a directory of blobs, one of unpacked layers, and one small file that says which
// images there are.
//
//   blobs/HEX            configurations, manifests and compressed layers, whole and verified
//   ingest/HEX           a blob being downloaded, with its note; kept over interruptions and resumed
//   layers/HEX24/fs      an unpacked layer, named by the start of its chain id
//   layers/HEX24/layer.json  what it is, with evidence to check it by; written last: without it it is none
//   damaged/HEX24.N      what a layer was before it was made again, while containers may stand on it
//   tmp/                 layers and archives being unpacked, and what is being removed; emptied at start
//   index.json           the images; replaced whole
//
// The functions block: they run at start or on the pool. Nothing here knows the network.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"

namespace limpet::image {

struct Layer {
  std::string chain_id;
  std::string diff_id;
  std::string digest;  // of the blob
  std::string media_type;
  uint64_t size = 0;  // of the blob
  bool operator==(const Layer&) const = default;
};

struct Image {
  std::string id;        // digest of the configuration
  std::string manifest;  // digest of the manifest of this platform
  uint64_t config_size = 0;
  std::vector<std::string> references;    // "docker.io/library/busybox:1", normalised
  std::vector<std::string> repo_digests;  // "docker.io/library/busybox@sha256:..."
  std::vector<Layer> layers;              // lowest first
  bool pinned = false;                    // from an archive of the device; never collected
  std::vector<std::string> archives;      // which ones, each with its size and time
  int64_t last_used = 0;                  // seconds since 1970

  uint64_t blob_bytes() const;
};

// How closely a layer is looked at.
enum class Check {
  presence,    // the directory and its note
  attributes,  // names, sizes, times, owners and modes: finds what a crash or a hand took away
  contents,    // every byte: finds what a flash chip forgot
};

class Store {
 public:
  explicit Store(std::string root) : root_(std::move(root)) {}

  // Makes the directories and takes away what an interruption left.
  Result<> open() const;
  Result<std::vector<Image>> load_index() const;
  static std::string render_index(const std::vector<Image>& images);
  Result<> write_index(const std::string& text) const;

  std::string blob_path(const std::string& digest) const;
  std::string partial_path(const std::string& digest) const;
  static constexpr const char* note_suffix = ".note";  // of the evidence beside a partial blob (partial.h)
  std::string layer_dir(const std::string& chain_id) const;
  std::string layer_root(const std::string& chain_id) const { return layer_dir(chain_id) + "/fs"; }
  std::string temporary(const std::string& name) const { return root_ + "/tmp/" + name; }
  const std::string& root() const { return root_; }

  bool has_blob(const std::string& digest, uint64_t size) const;
  // Whether the layer is there and says that it is this one. Cheap; does not look into its files.
  bool has_layer(const Layer& layer) const;
  // Whether it is there and what was unpacked. Slow, save for presence.
  bool layer_intact(const Layer& layer, Check check) const;
  // Reads the blob against its digest; one that does not match is removed, so that it is got anew. Slow.
  bool blob_intact(const std::string& digest) const;
  // The blob's bytes, checked against its digest.
  Result<std::string> read_blob(const std::string& digest, size_t limit) const;
  // After blobs were renamed into place: from here on they survive a power cut.
  Result<> sync_blobs() const;
  // Writes a small blob durably.
  Result<> write_blob(const std::string& digest, std::string_view bytes) const;

  struct Unpacked {
    uint64_t files = 0, file_bytes = 0;
    std::vector<std::string> implicit, opaque;
  };
  // What the unpack child left in temporary(name)/fs becomes the layer: what only we may set is set,
  // everything is synced, then renamed into place. Parents uppermost first.
  Result<> commit_layer(const std::string& name, const Layer& layer, const Unpacked& unpacked,
                        const std::vector<std::string>& parents) const;
  // Takes a damaged layer out of sight, for the next pull to make it.
  Result<> set_aside(const std::string& chain_id) const;

  struct Unneeded {
    std::vector<Image> needed;     // what these have stays, whatever else is said
    std::vector<Image> condemned;  // what these have goes
    std::vector<Image> asked;      // what these have was wanted since the last time
    // Anything else is left over from pulls that broke off (partial blobs, layers), may be taken up again,
    // and goes when nobody asked for it during so long, by the monotonic clock.
    int64_t max_age_ms = 0;
    int64_t now_ms = 0;
    // A file below blobs or ingest that is seen for the first time brings the age that its own time gives it,
    // or a device that is switched off every night would keep it for ever; no more than max_credit_ms of it,
    // and none by a date that a clock without a battery makes up. A layer brings none: a container may stand
    // on it whose image the index lost.
    int64_t wall_s = 0;
    int64_t max_credit_ms = 0;
    // Images of running containers, below which damaged layers stay; nullopt: nobody knows yet.
    std::optional<std::vector<Image>> running;
  };
  // Since when each path below the root is left over, as far as calls of take_out have seen.
  using Leftovers = std::map<std::string, int64_t>;
  // Takes it out of sight. What is returned is to be removed with remove_tree.
  std::vector<std::string> take_out(const Unneeded& what, Leftovers& known) const;

 private:
  Result<> keep_damaged(const std::string& from, const std::string& layer) const;

  std::string root_;
};

// Percent of the blocks in use on the file system that holds path, as df counts; -1 when it cannot be told.
int disk_used_percent(const std::string& path);
uint64_t disk_free_bytes(const std::string& path);

}  // namespace limpet::image
