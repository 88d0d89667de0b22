// The files that the schedule made in a directory, told from others by their heads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backup/header.h"
#include "base/result.h"

namespace limpet::backup {

struct Found {
  std::string name;
  Label label;
  uint64_t bytes = 0;
};

// "limpet-1a2b3c4d-20261126T171200Z-r1234.backup": the beginning of the cluster's id, time and revision. No
// character that FAT lacks.
std::string file_name(const Label& label);

// Scheduled backups of this cluster, the newest first.
std::vector<Found> find_scheduled(const std::string& directory, const std::string& cluster);

// Removes all but the newest `keep`, and what a power cut left half-written; gives how many went.
Result<size_t> retain(const std::string& directory, const std::string& cluster, size_t keep);

}  // namespace limpet::backup
