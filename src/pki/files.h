// The files of the pki directory, for whoever reads and writes them. Internal.
#pragma once

#include <string>

#include "base/atomic_file.h"
#include "base/result.h"

namespace limpet::pki {

constexpr size_t max_pki_file = 256 * 1024;

// "" when there is no such file.
inline Result<std::string> read_if_there(const std::string& path) {
  Result<std::string> bytes = read_file(path, max_pki_file);
  if (!bytes && bytes.error().code == Errc::not_found) return std::string();
  return bytes;
}

}  // namespace limpet::pki
