// Reads the tables under data/: one case per line, tab-separated cells. The tables were computed with
// upstream's own libraries from inputs made here, so that they state what real clients and servers do.
#pragma once

#include <doctest/doctest.h>

#include <cstdio>
#include <string>
#include <vector>

inline std::string read_data(const std::string& name) {
  const std::string path = std::string(SCHEMA_TEST_DATA) + "/" + name;
  std::string text;
  FILE* f = fopen(path.c_str(), "re");
  REQUIRE_MESSAGE(f != nullptr, path);
  char buffer[65536];
  for (size_t n; (n = fread(buffer, 1, sizeof buffer, f)) > 0;) text.append(buffer, n);
  fclose(f);
  return text;
}

inline std::vector<std::string> split_on(const std::string& text, char separator) {
  std::vector<std::string> out;
  size_t at = 0;
  for (;;) {
    const size_t end = text.find(separator, at);
    out.push_back(text.substr(at, end - at));
    if (end == std::string::npos) return out;
    at = end + 1;
  }
}

inline std::vector<std::vector<std::string>> read_table(const std::string& name) {
  std::vector<std::vector<std::string>> rows;
  for (const std::string& line : split_on(read_data(name), '\n')) {
    if (!line.empty()) rows.push_back(split_on(line, '\t'));
  }
  REQUIRE(!rows.empty());
  return rows;
}
