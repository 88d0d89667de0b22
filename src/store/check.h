// Whether a database is whole, found out without touching it: a copy is opened as the daemon would open it
// and every row is read, with its checksum.
//
// For tools while no limpetd has the database open. Blocking.
#pragma once

#include <cstdint>
#include <string>

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

// scratch: a directory with room for two copies of the database, which are gone when this returns. Errors as
// those of Database; not_found when there is no database; too_large when it and its log exceed max_bytes.
Result<CheckReport> check_database(const std::string& path, const std::string& scratch, uint64_t max_bytes);

}  // namespace limpet::store
