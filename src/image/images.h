// The images of this device: finds, pulls, repairs, lists, removes, imports and collects them.
//
// One ImageStore per daemon, on the loop's thread; it outlives the operations it hands out. The pods' part of
// its interface has the shape of node::Images, which the daemon adapts. Errors of pull are worded for events
// of pods; unavailable and timeout mean that the registry could not be asked.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "image/holds.h"
#include "image/layer_jobs.h"
#include "image/pull.h"
#include "image/store.h"
#include "image/transport.h"
#include "image/types.h"

namespace limpet::image {

class Import;

struct ImageStoreOptions {
  std::string directory;     // dataDir/image
  std::string archives_dir;  // *.tar files to import and pin at start; empty: none
  UnpackOptions unpack;
  TransportOptions transport;
  size_t max_parallel_pulls = 2;
  int gc_high_percent = 85;
  int gc_low_percent = 80;
  // What came, or was let go by its last pod, less than this ago is not collected (kubelet:
  // imageMinimumGCAge).
  int64_t gc_min_age_ms = 120'000;
  std::function<int(const std::string& directory)> disk_used = disk_used_percent;  // another one in tests
};

struct PullOptions {
  std::string reference;
  std::vector<std::string> docker_configs;  // texts of .dockerconfigjson
  Progress progress;                        // optional
  Check check = Check::presence;            // of layers that are here already; damaged ones are made again
};

struct ImageInfo {
  std::string id;
  std::vector<std::string> references, repo_digests;
  uint64_t size = 0;  // of the blobs, as registries count
  bool pinned = false;
  bool in_use = false;
};

class ImageStore {
 public:
  ImageStore(loop::Loop& loop, Clock& clock, tls::Engine* engine, ImageStoreOptions options);
  ~ImageStore();
  ImageStore(const ImageStore&) = delete;

  // Opens the directory and reads the index. Blocks; once, at start. A damaged index is given up: the warning
  // says so, images are pulled again and their layers found.
  Result<> open(std::string* warning);
  // Imports the archives of the device that are not in yet, and lets go of images whose archive is gone or
  // has others in it now. told: once per archive, then an empty name.
  void import_archives(std::function<void(const std::string& archive, Result<>)> told);
  Result<> configure(TransportOptions options) { return transport_.configure(std::move(options)); }
  void configure_collection(int high_percent, int low_percent);

  // The image when all of it is here. By name, name and digest, or id ("sha256:...").
  std::optional<ImageRoot> find(const std::string& reference) const;
  [[nodiscard]] std::unique_ptr<Operation> pull(PullOptions options,
                                                std::function<void(Result<ImageRoot>)> done);
  // Reads every file of the image's layers and makes those again that are damaged: from their blobs, the
  // image's archive, or the registry. Does nothing else when all is whole. Layers that the registry gives
  // only to who has a secret are taken out of sight, so that the next pull brings them.
  [[nodiscard]] std::unique_ptr<Operation> repair(const std::string& image_id,
                                                  std::function<void(Result<>)> done);
  // What the pods of this device run or will run, by id or by name: never collected. Before the first call
  // nothing is.
  void set_in_use(std::vector<std::string> ids_and_references);

  std::vector<ImageInfo> list() const;
  // The pulls under way and those that wait, in the order they came.
  std::vector<PullStatus> pulls() const;
  uint64_t pulled() const { return pulled_; }  // pulls that came to an end, since the start
  uint64_t failed() const { return failed_; }
  const Traffic& traffic() { return transport_.traffic(); }
  // Takes the name away, and the image with its last name. conflict while a pod uses it.
  [[nodiscard]] std::unique_ptr<Operation> remove(const std::string& reference,
                                                  std::function<void(Result<>)> done);
  // An OCI or Docker archive, plain or compressed. The names of the images that were in it.
  [[nodiscard]] std::unique_ptr<Operation> import(const std::string& path, bool pinned,
                                                  std::function<void(Result<std::vector<std::string>>)> done);
  // Removes images when the disk is fuller than it should be, the one that was used least recently first,
  // until it is empty enough: none that is pinned, in use, young, or held by an operation under way. Called
  // by itself after pulls and from time to time.
  void collect();
  // Whether nothing is being removed or written. For tests.
  bool quiet() const { return !saving_ && !removal_ && !collect_work_.busy(); }

 private:
  struct SharedPull;
  class PullTicket;
  class RemoveOperation;
  class RepairOperation;
  friend class Import;

  // Waits for its turn to be taken off the disk.
  struct Removal {
    std::vector<Image> condemned;
    int64_t max_age_ms = 0;
    std::vector<loop::Task> done;
  };
  struct Save {
    uint64_t upto;
    std::function<void(Result<>)> done;
  };
  Image* find_image(const std::string& reference);
  const Image* find_image(const std::string& reference) const;
  const Image* complete_image(const std::string& manifest) const;
  bool is_complete(const Image& image) const;
  Result<ImageRoot> root_of(const Image& image) const;
  PullContext context();
  void start_pulls();
  void pull_done(SharedPull& pull, Result<Image> result);
  void leave_pull(uint64_t waiter);
  // Merges into the index and saves it.
  void record(Image image, std::function<void(Result<>)> done);
  void save(std::function<void(Result<>)> done);
  void write_index();
  void drop(std::vector<Image> condemned, int64_t max_age_ms, loop::Task done);
  void start_removal();
  void sweep_removed(std::vector<std::string> paths, std::vector<loop::Task> done);
  bool in_use(const Image& image) const;
  bool young(const Image& image) const;
  void seen(const std::string& image_id) { last_seen_ms_[image_id] = clock_.monotonic_ms(); }
  void let_go_of_archives();
  void import_next(std::shared_ptr<std::vector<std::string>> archives,
                   std::function<void(const std::string&, Result<>)> told);
  bool collect_one();

  loop::Loop& loop_;
  Clock& clock_;
  ImageStoreOptions options_;
  Store store_;
  Transport transport_;
  Holds holds_;
  LayerJobs jobs_;
  Platform platform_;
  std::vector<Image> images_;
  std::optional<std::set<std::string>> in_use_;  // ids and normalised names
  std::map<std::string, int64_t> last_seen_ms_;  // by id; monotonic, since wall clocks of devices jump
  std::vector<std::unique_ptr<SharedPull>> pulls_;
  std::vector<std::unique_ptr<SharedPull>> finishing_;
  uint64_t next_id_ = 1;
  uint64_t pulled_ = 0, failed_ = 0;
  std::vector<Save> saves_;
  uint64_t change_ = 0;
  bool saving_ = false;
  std::optional<Removal> removal_;
  std::shared_ptr<Store::Leftovers> leftovers_ = std::make_shared<Store::Leftovers>();  // the removals' own
  int64_t swept_ms_ = 0;
  bool collecting_ = false;  // the disk was too full and is not yet empty enough
  loop::Work save_work_, collect_work_;
  loop::Timer collect_timer_, pull_timer_;
  std::unique_ptr<Operation> archive_import_;
};

}  // namespace limpet::image
