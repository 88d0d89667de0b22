// A tar archive in memory (POSIX ustar), packed with gzip. Small files only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace limpet::cli {

class Archive {
 public:
  explicit Archive(int64_t time) : time_(time) {}
  // name: at most 100 bytes, relative.
  void add(std::string_view name, std::string_view bytes);
  size_t size() const { return tar_.size(); }
  std::string tar() const;
  Result<std::string> gzip() const;

 private:
  int64_t time_;
  std::string tar_;
};

// The whole lines at the end of text, at most max_bytes; empty when the last line alone is longer.
std::string_view last_lines(std::string_view text, size_t max_bytes);
// Those of a file, of which no more is read. not_found when there is none.
Result<std::string> read_end(const std::string& path, size_t max_bytes);

}  // namespace limpet::cli
