// Files that are replaced whole: after a power cut a reader finds the old bytes or the new ones, never a
// mixture.
//
// The write is: temporary file in the same directory, fsync, rename, fsync of the directory. Blocking: at
// start-up, on the pool, or for files small enough that it does not matter. Temporary names are
// `.NAME.tmp-XXXXXX`; leftovers of a cut are removed by remove_temporaries().
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace limpet {

// Creates or replaces path with these bytes and exactly this mode. The error names the path and the step.
// `failpoint` names the place for tests: "X" is reached before anything, "X.rename" between fsync and rename,
// "X.synced" after the rename and before the directory is synced.
Result<> write_file_atomic(const std::string& path, std::string_view bytes, uint32_t mode,
                           std::string_view failpoint = "base.atomic_file");

// The whole file, at most max_size bytes (Errc::too_large beyond). not_found when there is none.
Result<std::string> read_file(const std::string& path, size_t max_size);

// Creates the directory with this mode (its parents with 0755). One that exists already keeps its mode.
Result<> make_directories(const std::string& path, uint32_t mode);

// Removes what write_file_atomic left behind in this directory when the power went.
void remove_temporaries(const std::string& directory);

}  // namespace limpet
