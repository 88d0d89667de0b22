// Tells a torn tail from damage in a write-ahead log, which SQLite does not: its recovery stops at the first
// bad frame and forgets everything after it, acknowledged or not.
//
// Every commit is synced before the next one starts, so only the last transaction can be torn by a power cut.
// A bad frame with a whole later transaction behind it is therefore damage of bytes that were once safe on
// the disk. Format: https://www.sqlite.org/fileformat2.html#walformat
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace limpet::store {

struct WalReport {
  uint64_t frames = 0;   // good ones
  uint64_t commits = 0;  // transactions among them
  bool torn_tail = false;
};

// Of a whole log in memory. `corrupt`: damage; a foreign or older-generation rest is not an error.
Result<WalReport> check_wal(std::string_view bytes);
// Of a file; absent or empty is fine. Must not be called while the database is open in this process.
Result<WalReport> check_wal_file(const std::string& path);

}  // namespace limpet::store
