// The records of a backup of this device (backup/records.h), made as they are asked for: nothing of it is
// written to this device's flash, nor in memory as a whole.
//
// On the loop's thread. One question at a time; no callback after destruction.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "backup/header.h"
#include "backup/records.h"
#include "daemon/part.h"
#include "loop/loop.h"
#include "store/store.h"

namespace limpet::daemon {

class BackupSource {
 public:
  // Bytes of whole records; empty: that was all. May be called from inside.
  using Done = std::function<void(Result<std::string>)>;
  explicit BackupSource(Device& device);
  BackupSource(const BackupSource&) = delete;

  void next(Done done);
  // What the first answer began with.
  const backup::Manifest& manifest() const { return manifest_; }

 private:
  enum class Stage { beginning, state, end, over };
  void confirm();
  void read();
  Result<std::string> took(Result<store::StatePart> part);
  std::string opening(const store::StatePart& part);

  Device& device_;
  loop::Timer patience_;
  Stage stage_ = Stage::beginning;
  bool asked_ = false;  // whether the others agree
  std::string next_;
  uint64_t records_ = 0;
  backup::Manifest manifest_;
  Done done_;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace limpet::daemon
