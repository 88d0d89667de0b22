// Whether a database is whole, and what is in it, found out without touching it: a copy is opened as the
// daemon would open it and every row is read, with its checksum.
//
// For tools while no limpetd has the database open. Blocking. One at a time in a process: while the copy is
// there, SIGHUP, SIGINT and SIGTERM remove it before they end the process, for it holds every Secret.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "store/store.h"

namespace limpet::store {

struct CheckReport {
  uint64_t rows = 0;
  Revision revision = 0;
  int64_t last_commit = 0;  // seconds since 1970; 0 in an empty database
  bool unclean =
      false;  // the last stop was none, or a power cut: the log is put into the database at the start
};

// places: directories for the copy, in the order of preference; those on a disk are tried before those in
// memory, and each only if it has room for two copies. A copy lies in a directory of its own (mode 0700), has
// a name only until it is opened, and is gone when this returns; what a process killed before that left of
// its copy goes with the next check. Errors: not_found when there is no database; too_large when it and its
// log exceed max_bytes; exhausted when no place has room or may be written to; conflict when the database was
// changed meanwhile, so that the copy says nothing; corrupt when it is damaged, or lost where there was one;
// others as those of Database.
Result<CheckReport> check_database(const std::string& path, const std::vector<std::string>& places,
                                   uint64_t max_bytes);

// The values of all keys with the prefix, older ones too. Errors as check_database.
Result<std::vector<std::string>> read_values(const std::string& path, const std::vector<std::string>& places,
                                             uint64_t max_bytes, const std::string& prefix);

}  // namespace limpet::store
