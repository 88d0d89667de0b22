#include "cli/scrub_text.h"

#include <algorithm>

namespace limpet::cli {

Cuts::~Cuts() {
  if (pieces_.empty()) return;
  std::string out;
  size_t copied = 0;
  for (const auto& [begin, end] : pieces_) {
    out.append(text_, copied, begin - copied).append(kGone);
    copied = end;
  }
  text_ = out.append(text_, copied);
}

void Cuts::add(size_t begin, size_t end) {
  if (!pieces_.empty() && begin < pieces_.back().second) {
    pieces_.back().second = std::max(pieces_.back().second, end);
  } else {
    pieces_.emplace_back(begin, end);
  }
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
bool of_name(char c) {
  return (lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}
bool of_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool of_quote(char c) { return c == '"' || c == '\''; }

size_t backslashes_before(std::string_view text, size_t at) {
  size_t n = 0;
  while (n < at && text[at - 1 - n] == '\\') n++;
  return n;
}

// A string of JSON in a string of JSON begins with \" and ends with the next \" that is not itself escaped,
// which then has three backslashes or more; the end of an outer string ends it too.
size_t end_of_quoted(std::string_view text, size_t open) {
  const size_t level = backslashes_before(text, open) + 1;  // 1, 2, 4, ...
  for (size_t at = open + 1; at < text.size(); at++) {
    if (text[at] == '\n') return at;
    if (text[at] != text[open]) continue;
    const size_t n = std::min(backslashes_before(text, at), at - open - 1);
    for (size_t outer = 1; outer <= level; outer *= 2) {
      if (n % (2 * outer) == outer - 1) return at - (outer - 1);
    }
  }
  return text.size();
}

}  // namespace limpet::cli
