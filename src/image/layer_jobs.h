// Layers being made: downloaded two at a time, unpacked one at a time and parents first, each once however
// many pulls want it.
//
// On the loop's thread; owned by ImageStore. A job whose tickets are all gone is given up.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "image/download.h"
#include "image/store.h"
#include "image/transport.h"
#include "image/types.h"
#include "image/unpacker.h"

namespace limpet::image {

struct LayerRequest {
  Layer layer;
  std::vector<std::string> parents;  // chain ids, uppermost first
  std::vector<SessionPtr> sessions;  // where the blob can be had; empty: only from the store
  bool keep_blob = false;
  bool again = false;  // even if there is such a layer: it is damaged
  Progress progress;
};

class LayerJobs {
 public:
  using Done = std::function<void(Result<>)>;
  static constexpr size_t max_downloads = 2;

  LayerJobs(Transport& transport, const Store& store, UnpackOptions options);
  ~LayerJobs();
  LayerJobs(const LayerJobs&) = delete;
  // done comes once, not from inside; destroying the ticket cancels. Errors name the layer.
  [[nodiscard]] std::unique_ptr<Operation> make(LayerRequest request, Done done);
  // The limits for unpacking now: what is free on the disk, less what everyone else needs.
  UnpackOptions unpack_options() const;
  // What an unpacking with such limits ended with, in words for who has too small a disk.
  Error unpack_error(Error error, uint64_t max_bytes) const;
  // Removes a temporary directory in its own time.
  void discard(std::string path);

 private:
  struct Job;
  class Ticket;
  struct Waiter {
    uint64_t id;
    Progress progress;
    Done done;
  };
  void pump();
  void start_check(Job& job);
  uint64_t missing_bytes(const Job& job) const;
  void start_download(Job& job);
  void start_unpack(Job& job);
  void unpacked(Job& job, Result<UnpackReport> report);
  void commit(Job& job, const UnpackReport& report);
  void spoiled(Job& job, Error error);
  std::vector<std::string> partial_files(const Job& job) const;
  void give_back(Job& job, std::vector<std::string> paths, Error error);  // the files' room, then completes
  void complete(Job& job, Result<> result);
  void tell(Job& job, uint64_t done, LayerProgress::Phase phase);
  void leave(uint64_t waiter);
  bool being_made(const std::string& chain_id) const;
  bool blob_wanted(const Job& except) const;
  void pump_soon();
  void sweep(const Job& job);
  void sweep_next();
  static bool drop_waiter(Job& job, uint64_t waiter);

  Transport& transport_;
  const Store& store_;
  UnpackOptions options_;
  std::list<std::unique_ptr<Job>> jobs_;       // in the order they came
  std::list<std::unique_ptr<Job>> finishing_;  // their waiters are being told
  std::vector<std::string> leftovers_;         // directories of jobs that came to nothing
  loop::Work sweeper_;
  uint64_t next_id_ = 1;
  loop::Timer pump_;
};

}  // namespace limpet::image
