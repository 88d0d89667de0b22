// Runs scenarios/*.txt: blocks of commands (cluster.h), a line "----", and all that they lead to, up to an
// empty line. With RAFT_SCENARIOS_REWRITE=1 the files are written anew with what is seen: read the difference
// like code.
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "cluster.h"

namespace {

namespace fs = std::filesystem;

fs::path directory() {
  const char* source = std::getenv("LIMPET_SOURCE");
  return fs::path(source ? source : ".") / "tests/unit/raft/scenarios";
}

struct Block {
  std::string before;  // comments and empty lines
  std::vector<std::string> commands;
  std::string expected;
};

std::vector<Block> parse(const fs::path& path, std::string& rest) {
  std::ifstream in(path);
  std::vector<Block> out;
  Block block;
  bool output = false;
  for (std::string line; std::getline(in, line);) {
    if (output && !line.empty()) {
      block.expected += line + "\n";
    } else if (output) {
      out.push_back(std::exchange(block, {}));
      output = false;
    } else if (line == "----") {
      output = true;
    } else if (line.empty() || line[0] == '#') {
      block.before += line + "\n";
    } else {
      block.commands.push_back(line);
    }
  }
  if (output) out.push_back(std::exchange(block, {}));
  rest = block.before;
  for (const std::string& command : block.commands) rest += command + " has no ----\n";
  return out;
}

void run_file(const fs::path& path, bool rewrite) {
  std::string rest, text;
  scenario::Cluster cluster;
  for (const Block& block : parse(path, rest)) {
    std::string seen;
    text += block.before;
    for (const std::string& command : block.commands) {
      text += command + "\n";
      seen += cluster.run(command);
    }
    text += "----\n" + seen + "\n";
    INFO(path.filename().string(), ": ", block.commands.empty() ? "" : block.commands.front());
    if (!rewrite) CHECK(seen == block.expected);
  }
  CHECK(rest.find("has no ----") == std::string::npos);
  if (rewrite) std::ofstream(path) << text;
}

}  // namespace

TEST_CASE("scenarios") {
  const bool rewrite = std::getenv("RAFT_SCENARIOS_REWRITE") != nullptr;
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(directory())) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  REQUIRE(files.size() > 10);
  for (const fs::path& file : files) {
    SUBCASE(file.filename().c_str()) { run_file(file, rewrite); }
  }
}
