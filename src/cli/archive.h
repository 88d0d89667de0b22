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

}  // namespace limpet::cli
