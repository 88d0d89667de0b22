#include "tree.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string_view>

namespace house {
namespace {

void walk(const std::string& path, std::vector<std::string>& out) {
  DIR* dir = opendir(path.c_str());
  if (!dir) return;
  while (const dirent* entry = readdir(dir)) {
    const std::string name = entry->d_name;
    if (name.starts_with('.') || name == "__pycache__") continue;
    const std::string child = path + "/" + name;
    struct stat st{};
    if (lstat(child.c_str(), &st) != 0) continue;
    if (S_ISDIR(st.st_mode)) {
      walk(child, out);
    } else if (S_ISREG(st.st_mode)) {
      out.push_back(child);
    }
  }
  closedir(dir);
}

// Where the reader stands between two lines: in code, in a block comment, or in a raw string with its
// delimiter.
struct Position {
  bool in_comment = false, in_raw = false;
  std::string raw_end;
};

// Blanks from i to the end of a literal that opens with `quote`; returns the index behind it.
size_t blank_literal(std::string& line, size_t i, char quote) {
  for (i++; i < line.size() && line[i] != quote; i++) {
    if (line[i] == '\\' && i + 1 < line.size()) line[i++] = ' ';
    line[i] = ' ';
  }
  return i + 1;
}

bool digit_separator(const std::string& line, size_t i) {
  return i > 0 && isxdigit(static_cast<unsigned char>(line[i - 1])) && i + 1 < line.size() &&
         isxdigit(static_cast<unsigned char>(line[i + 1]));
}

std::string strip_line(std::string line, Position& at) {
  size_t i = 0;
  while (i < line.size()) {
    if (at.in_comment || at.in_raw) {
      const std::string end = at.in_comment ? "*/" : at.raw_end;
      const size_t stop = line.find(end, i);
      const size_t behind = stop == std::string::npos ? line.size() : stop + end.size();
      std::fill(line.begin() + static_cast<long>(i), line.begin() + static_cast<long>(behind), ' ');
      if (stop != std::string::npos) at = {};
      i = behind;
    } else if (line.compare(i, 2, "//") == 0) {
      line.resize(i);
    } else if (line.compare(i, 2, "/*") == 0) {
      at.in_comment = true;
    } else if (line.compare(i, 2, "R\"") == 0 && line.find('(', i) != std::string::npos) {
      at.in_raw = true;
      at.raw_end = ")" + line.substr(i + 2, line.find('(', i) - i - 2) + "\"";
      i += 2;
    } else if (line[i] == '"' || (line[i] == '\'' && !digit_separator(line, i))) {
      i = blank_literal(line, i, line[i]);
    } else {
      i++;
    }
  }
  return line;
}

}  // namespace

std::string source_root() {
  const char* root = std::getenv("LIMPET_SOURCE");
  return root ? root : ".";
}

std::vector<std::string> read_lines(const std::string& path) {
  std::ifstream in(path);
  std::vector<std::string> out;
  for (std::string line; std::getline(in, line);) out.push_back(line);
  return out;
}

std::vector<std::string> strip(const std::vector<std::string>& lines) {
  Position at;
  std::vector<std::string> out;
  // An include's path is not a literal that anybody wants blanked.
  for (const std::string& line : lines) {
    out.push_back(!at.in_comment && !at.in_raw && line.starts_with("#include") ? line : strip_line(line, at));
  }
  return out;
}

std::vector<File> files_below(const std::string& folder, const std::vector<std::string>& extensions) {
  const std::string root = source_root() + "/";
  std::vector<std::string> paths;
  walk(root + folder, paths);
  std::sort(paths.begin(), paths.end());
  std::vector<File> out;
  for (const std::string& path : paths) {
    const auto ends = [&](const std::string& e) { return path.ends_with(e); };
    if (std::none_of(extensions.begin(), extensions.end(), ends)) continue;
    File f{path.substr(root.size()), read_lines(path), {}};
    f.code = strip(f.lines);
    out.push_back(std::move(f));
  }
  return out;
}

}  // namespace house
