// The table of docs/architecture.md against every #include line of src.
#include <doctest/doctest.h>

#include <map>
#include <set>
#include <string>

#include "tree.h"

namespace {

using Table = std::map<std::string, std::set<std::string>>;

// Rows look like: | `src/http` | what it is | base, loop, tls |
Table read_table(const std::vector<std::string>& lines) {
  Table out;
  for (const std::string& line : lines) {
    if (!line.starts_with("| `src/")) continue;
    const size_t name_end = line.find('`', 3);
    const std::string room = line.substr(7, name_end - 7);
    const size_t last = line.rfind('|'), before = line.rfind('|', last - 1);
    std::string allowed = line.substr(before + 1, last - before - 1);
    std::set<std::string>& row = out[room];
    std::string word;
    for (char c : allowed + ",") {
      if (c == ',') {
        if (!word.empty()) row.insert(word);
        word.clear();
      } else if (c != ' ') {
        word += c;
      }
    }
  }
  return out;
}

std::string room_of(const std::string& path) { return path.substr(0, path.find('/')); }

// The quoted include of a line, or empty.
std::string included(const std::string& line) {
  if (!line.starts_with("#include \"")) return "";
  return line.substr(10, line.find('"', 10) - 10);
}

std::string violation(const Table& table, const std::string& room, const std::string& header) {
  const auto row = table.find(room);
  if (row == table.end()) return "the room " + room + " is not in the table of docs/architecture.md";
  if (header.find('/') == std::string::npos)
    return "\"" + header + "\" must name its room, as in \"base/result.h\"";
  const std::string other = room_of(header);
  if (other == room || row->second.contains("all")) return "";
  if (!table.contains(other)) return "\"" + header + "\" is in no room of the table";
  if (row->second.contains(other)) return "";
  return room + " may not include " + other;
}

}  // namespace

TEST_CASE("the include table can be read and has no cycle") {
  const Table table = read_table(house::read_lines(house::source_root() + "/docs/architecture.md"));
  REQUIRE_GE(table.size(), 20);
  CHECK((table.at("http") == std::set<std::string>{"base", "loop", "tls"}));
  CHECK(table.at("base").contains("nothingofours"));
  // Rooms can be put in an order in which each includes only earlier ones.
  std::set<std::string> done;
  for (size_t round = 0; round < table.size(); round++) {
    for (const auto& [room, row] : table) {
      bool ready = true;
      for (const std::string& other : row) {
        ready = ready && (other == "nothingofours" || other == "all" || done.contains(other));
      }
      if (ready) done.insert(room);
    }
  }
  CHECK_EQ(done.size(), table.size());
}

TEST_CASE("a violation is seen") {
  const Table table = read_table({"| `src/base` | a | nothing of ours |", "| `src/loop` | b | base |",
                                  "| `src/api` | c | base, loop |", "| `src/daemon` | d | all |"});
  CHECK_EQ(violation(table, "api", "loop/loop.h"), "");
  CHECK_EQ(violation(table, "loop", "loop/stream.h"), "");
  CHECK_EQ(violation(table, "daemon", "api/server.h"), "");
  CHECK_EQ(violation(table, "loop", "api/server.h"), "loop may not include api");
  CHECK_EQ(violation(table, "base", "loop/loop.h"), "base may not include loop");
  CHECK_NE(violation(table, "api", "server.h"), "");
  CHECK_NE(violation(table, "new", "base/result.h"), "");
}

TEST_CASE("every include of src follows the table") {
  const Table table = read_table(house::read_lines(house::source_root() + "/docs/architecture.md"));
  const auto files = house::files_below("src", {".h", ".cc", ".c"});
  REQUIRE_GT(files.size(), 10);
  for (const house::File& file : files) {
    const std::string room = room_of(file.path.substr(4));
    for (size_t i = 0; i < file.lines.size(); i++) {
      const std::string header = included(file.lines[i]);
      if (header.empty()) continue;
      const std::string wrong = violation(table, room, header);
      CHECK_MESSAGE(wrong.empty(), file.path, ":", i + 1, ": ", wrong);
    }
  }
}
