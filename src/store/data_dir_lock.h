// One process per directory or file: an flock on a file beside it, which also says who holds it.
//
// The kernel drops the lock with the process, so nothing is left to clean up after a crash or a power cut.
// Used by the store for its database and by the daemon for its dataDir.
#pragma once

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace limpet::store {

class FileLock {
 public:
  // Creates the file if needed and locks it. Error `already_exists`: "... is in use by limpetd, pid 123 on
  // host edge-1".
  static Result<FileLock> acquire(const std::string& lock_file, const std::string& what);

 private:
  explicit FileLock(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

// Makes the directory (mode 0700, one level) if it is missing and locks DIR/lock.
Result<FileLock> lock_data_dir(const std::string& dir);

// Descriptors 0 to 2 that are closed get /dev/null, so that no file of ours is ever written to as somebody's
// stdout.
Result<> fill_standard_fds();

}  // namespace limpet::store
