#include "client/lines.h"

#include "base/bytes.h"

namespace limpet::client {

Result<> Lines::add(std::string_view bytes, const std::function<bool(std::string_view)>& f) {
  for (size_t end; (end = bytes.find('\n')) != std::string_view::npos; bytes.remove_prefix(end + 1)) {
    if (rest_.size() + end > max_line_) break;
    std::string joined;
    std::string_view line = bytes.substr(0, end);
    if (!rest_.empty()) {
      joined = std::move(rest_);
      rest_.clear();
      line = joined.append(line);
    }
    if (!line.empty() && !f(line)) return {};
  }
  const size_t more = std::min(bytes.find('\n'), bytes.size());
  if (rest_.size() + more > max_line_)
    return fail(Errc::too_large, strf("an event of the watch is longer than %zu bytes", max_line_));
  rest_.append(bytes);
  return {};
}

}  // namespace limpet::client
