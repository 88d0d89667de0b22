// Runs one controller: turns keys into syncs, a few at a time, with back-off for those that fail. Nothing is
// polled; the only timer is the one of the next delayed key.
//
// A sync looks at the caches, lets a pure function decide, and does what was decided; it calls `done` exactly
// once, now or later. The same key is never synced twice at the same time. Owned by the controller;
// destroying it ends everything. Loop thread only.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "controllers/timing.h"
#include "controllers/work_queue.h"

namespace limpet::controllers {

class Driver {
 public:
  using Done = std::function<void(Result<>)>;
  using Sync = std::function<void(const std::string& key, Done done)>;

  Driver(Timing& timing, const char* name, Sync sync);
  ~Driver();
  Driver(const Driver&) = delete;

  void add(const std::string& key);
  void add_after(const std::string& key, int64_t delay_ms);
  // Keys are gathered before; the first sync comes after this (the caches are filled).
  void start();
  int failures(const std::string& key) const { return queue_.failures(key); }

 private:
  void plan();
  void run();
  void sync(const std::string& key);
  void finish(const std::string& key, const Result<>& result);

  Timing& timing_;
  const char* name_;
  Sync sync_;
  WorkQueue queue_;
  std::unique_ptr<Alarm> alarm_;
  bool started_ = false, planned_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace limpet::controllers
