// The source tree as the house tests see it.
#pragma once

#include <string>
#include <vector>

namespace house {

struct File {
  std::string path;                // from the source root: "src/base/json.h"
  std::vector<std::string> lines;  // comments and string literals kept
  std::vector<std::string> code;   // the same lines with comments and literals blanked
};

std::string source_root();
std::vector<std::string> read_lines(const std::string& path);
// Regular files below a folder of the source root, sorted; names ending in one of the extensions.
std::vector<File> files_below(const std::string& folder, const std::vector<std::string>& extensions);
// Blanks comments and the inside of string and character literals, line by line.
std::vector<std::string> strip(const std::vector<std::string>& lines);

}  // namespace house
