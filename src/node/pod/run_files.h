// Where a pod's files for /etc and its termination logs live: a small file system of their own. Containers
// may write to them, and must not be able to fill the runtime directory of the device by doing so. Blocking,
// short.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace limpet::node {

struct RunFile {
  const char* name;
  std::string text;
};

// Makes the directory (a tmpfs with room for the files twice and some termination logs) unless it is there,
// and writes the files, each replaced whole.
Result<> write_run_files(const std::string& dir, const std::vector<RunFile>& files);
// Idempotent.
Result<> remove_run_files(const std::string& dir);

}  // namespace limpet::node
