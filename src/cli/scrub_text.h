// What the passes of the scrubber share: characters, strings in quotes, and cutting pieces out of a text.
// Internal.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace limpet::cli {

inline constexpr std::string_view kGone = "[removed]";

// Pieces of a text that go, each found while the text is still whole; all go at the end, so that the time is
// that of the text's length, however many they are. Never overlapping, each after the one before.
class Cuts {
 public:
  explicit Cuts(std::string& text) : text_(text) {}
  ~Cuts();
  Cuts(const Cuts&) = delete;
  void add(size_t begin, size_t end);
  // Where what goes so far ends.
  size_t end() const { return pieces_.empty() ? 0 : pieces_.back().second; }

 private:
  std::string& text_;
  std::vector<std::pair<size_t, size_t>> pieces_;
};

char lower(char c);
bool of_name(char c);  // letters, digits, "_", "-" and "."
bool of_space(char c);
bool of_quote(char c);
size_t backslashes_before(std::string_view text, size_t at);
// The end of a string in quotes that begins after the quote at `open`.
size_t end_of_quoted(std::string_view text, size_t open);

}  // namespace limpet::cli
