// Every key of the configuration is acted on by somebody: a key that is only parsed promises what does not
// happen.
#include <doctest/doctest.h>

#include <algorithm>
#include <cctype>
#include <string>
#include <vector>

#include "tree.h"

namespace {

// The members of Config that the table of keys fills, "network.mode" for one.
std::vector<std::string> members(const house::File& table) {
  std::vector<std::string> out;
  for (const std::string& line : table.code) {
    if (line.find("#define") != std::string::npos) continue;
    for (size_t at = line.find("TO("); at != std::string::npos; at = line.find("TO(", at + 1)) {
      out.push_back(line.substr(at + 3, line.find(')', at) - at - 3));
    }
  }
  return out;
}

bool word_char(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

// As a member of something ("c.network.mode"), not as the head of a longer name.
bool reads(const std::string& line, const std::string& member) {
  const std::string word = "." + member;
  for (size_t at = line.find(word); at != std::string::npos; at = line.find(word, at + 1)) {
    const size_t end = at + word.size();
    if (end == line.size() || !word_char(line[end])) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("every key of the configuration is read outside of the code that parses it") {
  // Says in configs/limpetd.yaml that it has no effect yet.
  const std::vector<std::string> without_effect = {"network.dns"};
  std::vector<std::string> keys;
  std::vector<house::File> users;
  for (house::File& file : house::files_below("src/daemon", {".cc"})) {
    if (file.path == "src/daemon/config_keys.cc") keys = members(file);
    if (!file.path.starts_with("src/daemon/config")) users.push_back(std::move(file));
  }
  REQUIRE(keys.size() > 30);
  for (const std::string& key : keys) {
    bool found = false;
    for (const house::File& file : users) {
      for (const std::string& line : file.code) found = found || reads(line, key);
    }
    const bool excused = std::find(without_effect.begin(), without_effect.end(), key) != without_effect.end();
    CHECK_MESSAGE(found != excused, key,
                  excused ? " has an effect now: not excused any more" : " is read by nobody");
  }
}
