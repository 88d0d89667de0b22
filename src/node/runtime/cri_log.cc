#include "node/runtime/cri_log.h"

#include <algorithm>

namespace limpet::node {

std::optional<LogLine> parse_log_line(std::string_view line) {
  // TIME SP STREAM SP TAGS SP TEXT; TAGS are separated by ':', the first is F or P.
  if (line.size() > 64 * 1024) return std::nullopt;
  LogLine out;
  size_t space = line.find(' ');
  if (space == std::string_view::npos || space > 40) return std::nullopt;
  out.time_text = line.substr(0, space);
  Result<WallTime> time = parse_rfc3339(out.time_text);
  if (!time) return std::nullopt;
  out.time = *time;
  std::string_view rest = line.substr(space + 1);
  if (rest.starts_with("stderr ")) {
    out.is_stderr = true;
  } else if (!rest.starts_with("stdout ")) {
    return std::nullopt;
  }
  rest.remove_prefix(7);
  size_t end = std::min(rest.find(' '), rest.size());
  std::string_view tags = rest.substr(0, end);
  std::string_view first = tags.substr(0, tags.find(':'));
  if (first != "F" && first != "P") return std::nullopt;
  out.partial = first == "P";
  out.text = rest.substr(std::min(end + 1, rest.size()));
  return out;
}

}  // namespace limpet::node
