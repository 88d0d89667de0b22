// A watch's bytes cut into its events: one JSON object a line. Pure; keeps at most one unfinished line.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace limpet::client {

// An object has at most 3 MiB; the event around it adds little.
constexpr size_t kMaxEventBytes = size_t{4} * 1024 * 1024;

class Lines {
 public:
  explicit Lines(size_t max_line) : max_line_(max_line) {}

  // f gets each line that is complete now, without its newline, empty ones left out; false from it ends the
  // matter, the rest is dropped. too_large: a line is longer than the bound; nothing is to be added after it.
  Result<> add(std::string_view bytes, const std::function<bool(std::string_view line)>& f);

 private:
  size_t max_line_;
  std::string rest_;
};

}  // namespace limpet::client
