// One blob from a registry into the store: streamed to a partial file with back-pressure, hashed on the way,
// resumed where it broke off, verified, synced, renamed.
//
// Works through the sessions in order, each going on where the one before broke off; mirrors that were silent
// lately are passed over. The bytes pass the loop in pieces; the file is written on the pool. A partial file
// (partial.h) survives the daemon and the device and is taken up again.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "image/fetch.h"
#include "image/store.h"
#include "image/transport.h"

namespace limpet::image {

class Download {
 public:
  using Progress = std::function<void(uint64_t done)>;
  using Done = std::function<void(Result<>)>;
  // done comes once, not from inside; destroying cancels and keeps what was written.
  Download(Transport& transport, const Store& store, std::vector<SessionPtr> sessions, std::string digest,
           uint64_t size, Progress progress, Done done);
  ~Download();
  Download(const Download&) = delete;

 private:
  struct File;  // touched by the pool only while work is under way
  void opened();
  void ask();
  void answer(int status, const http::Headers& headers);
  void drop();
  void received(std::string_view bytes);
  void flush();
  void flushed();
  void ended(Result<> result);
  void settle();
  bool next_session();
  void next_try(Error error);
  void start_over();
  void commit();
  void finish(Result<> result);

  Transport& transport_;
  std::vector<SessionPtr> sessions_;
  std::string digest_;
  uint64_t size_;
  Progress progress_;
  Done done_;
  std::shared_ptr<File> file_;
  std::unique_ptr<Fetch> fetch_;
  loop::Work work_;
  loop::Timer timer_;
  std::string pending_;  // received, not yet given to the pool
  bool paused_ = false;
  bool writing_ = false;
  bool answered_ = false;          // this try
  bool inherited_ = false;         // some of the bytes are not of this attempt, or not of this source
  std::unique_ptr<Result<>> end_;  // of the fetch, while bytes are still being written
  size_t session_ = 0;
  int tries_ = 0;          // without progress, at this session
  uint64_t taken_ = 0;     // bytes of the blob that came so far, written or not
  uint64_t furthest_ = 0;  // the most that was there when a try was last taken for progress
  int64_t marked_ms_ = 0;
};

}  // namespace limpet::image
