// House rules that a machine can check. Each rule says what to use instead.
#include <doctest/doctest.h>

#include <cctype>
#include <string>
#include <string_view>

#include "tree.h"

namespace {

struct Ban {
  std::string_view word;  // matched as a whole identifier; "x(" also wants the call
  std::string_view instead;
  std::string_view allowed_in;  // path prefixes, comma-separated
};

constexpr Ban bans[] = {
    {"system(", "loop::Process or posix_spawn without a shell", ""},
    {"popen(", "loop::Process", ""},
    {"strcpy(", "std::string", "src/shim/sandbox.cc"},
    {"strcat(", "std::string", ""},
    {"sprintf(", "strf", ""},
    {"vsprintf(", "vstrf", ""},
    {"gets(", "read_file", ""},
    {"strtok(", "std::string_view", ""},
    {"tmpnam(", "mkostemp", ""},
    {"mktemp(", "mkostemp", ""},
    {"rand(", "Random", ""},
    {"srand(", "Random", ""},
    {"localtime(", "rfc3339", ""},
    {"gmtime(", "rfc3339", ""},
    {"ctime(", "rfc3339", ""},
    {"time(nullptr", "Clock", ""},
    {"time(NULL", "Clock", ""},
    {"time(0", "Clock", ""},
    {"time(&", "Clock", ""},
    {"gettimeofday(", "Clock", ""},
    {"sleep(", "loop::Timer", ""},
    {"atoi(", "std::from_chars", "src/node/runtime/"},
    {"atol(", "std::from_chars", ""},
    {"alloca(", "std::vector", ""},
    {"signal(", "loop::Signal or sigaction", "src/loop/,src/shim/"},
    {"getenv(", "a parameter; only programs read the environment",
     "src/daemon/,src/cli/,src/shim/,src/unpack/,src/base/failpoint.cc,src/tls/config.cc"},
    {"setenv(", "the environment passed at spawn", ""},
    {"std::thread", "loop::Work, or the storage thread", "src/store/mailbox"},
    {"std::jthread", "loop::Work", ""},
    {"std::mutex", "messages", "src/store/mailbox,src/loop/"},
    {"std::lock_guard", "messages", "src/store/mailbox,src/loop/"},
    {"std::condition_variable", "messages", "src/store/mailbox"},
    {"pthread_create(", "loop::Work", "src/store/storage_thread"},
    {"pthread_mutex_lock(", "messages", "src/store/mailbox,src/base/failpoint.cc"},
    {"std::async", "loop::Work", ""},
    {"dynamic_cast", "a virtual function", ""},
    {"typeid(", "an enum", ""},
    {"throw", "Result", ""},
    {"std::abort(", "LIMPET_ASSERT", ""},
    {"assert(", "LIMPET_ASSERT", ""},
    {"<iostream>", "base/log.h", ""},
    {"<regex>", "code that reads it", ""},
    {"<filesystem>", "POSIX calls", ""},
    {"<thread>", "loop::Work", "src/store/mailbox"},
    {"<mutex>", "messages", "src/store/mailbox,src/loop/"},
    {"<sstream>", "strf", ""},
};

bool word_char(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

// Whether the identifier stands in the line by itself: not as the tail of a longer name, not as a member.
bool uses(std::string_view line, std::string_view word) {
  const bool name = word_char(word.front());
  for (size_t at = line.find(word); at != std::string_view::npos; at = line.find(word, at + 1)) {
    if (!name) return true;
    const char before = at > 0 ? line[at - 1] : ' ';
    const bool member = before == '.' || (at > 1 && line.substr(at - 2, 2) == "->");
    const bool declared = word.ends_with('(') && at > 1 && before == ' ' && word_char(line[at - 2]) &&
                          !line.substr(0, at).ends_with("return ");
    // ours::f( is a function of ours; std::f( and ::f( are the library's.
    const bool scoped = at > 2 && line.substr(at - 2, 2) == "::" && word_char(line[at - 3]) &&
                        !(at > 4 && line.substr(at - 5, 5) == "std::");
    const char behind = at + word.size() < line.size() ? line[at + word.size()] : ' ';
    const bool longer = word.find('(') == std::string_view::npos && word_char(behind);
    if (!word_char(before) && !member && !declared && !scoped && !longer) return true;
  }
  return false;
}

bool allowed(std::string_view path, std::string_view prefixes) {
  while (!prefixes.empty()) {
    const size_t comma = prefixes.find(',');
    if (path.starts_with(prefixes.substr(0, comma))) return true;
    if (comma == std::string_view::npos) return false;
    prefixes.remove_prefix(comma + 1);
  }
  return false;
}

// Built from halves, so that this file does not name what it forbids.
const std::string markers[] = {std::string("TO") + "DO", std::string("FIX") + "ME", std::string("XX") + "X:"};

}  // namespace

TEST_CASE("the reader of source knows code from comments and literals") {
  const auto lines = house::strip({"int a; // system(1)", "f(\"system(1)\"); g('\"');", "/* system(",
                                   "1) */ h();", "x(R\"y(system(", ")y\"); k(1'000);"});
  CHECK_EQ(lines[0], "int a; ");
  CHECK(lines[1].find("system") == std::string::npos);
  CHECK(lines[1].find("g(") != std::string::npos);
  CHECK(lines[2].find("system") == std::string::npos);
  CHECK(lines[3].find("h()") != std::string::npos);
  CHECK(lines[4].find("system") == std::string::npos);
  CHECK(lines[5].find("k(1'000);") != std::string::npos);
}

TEST_CASE("a banned word is found where it is used and only there") {
  struct Row {
    const char *line, *word;
    bool found;
  };
  const Row rows[] = {
      {"  system(cmd);", "system(", true},           {"  return time(nullptr);", "time(nullptr", true},
      {"  std::system(cmd);", "system(", true},      {"  ::system(cmd);", "system(", true},
      {"  file_system(x);", "system(", false},       {"  obj.time();", "time(", false},
      {"  ptr->signal(1);", "signal(", false},       {"  int time(int x);", "time(", false},
      {"  log::time(x);", "time(", false},           {"  monotonic_time(x);", "time(", false},
      {"#include <regex>", "<regex>", true},         {"  throw_away();", "throw", false},
      {"  throw Error();", "throw", true},           {"  std::mutex m;", "std::mutex", true},
      {"  std::mutex_like m;", "std::mutex", false}, {"  static_assert(x);", "assert(", false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.line);
    CHECK_EQ(uses(row.line, row.word), row.found);
  }
}

namespace {

// Whether line i leaves a test before its end, though nothing was wrong: it would count as passed.
bool leaves_silently(const std::vector<std::string>& lines, size_t i) {
  const std::string& line = lines[i];
  if (!line.starts_with("  if (")) return false;
  return line.find(") return;") != std::string::npos ||
         (line.ends_with(")") && i + 1 < lines.size() && lines[i + 1].starts_with("    return;"));
}

}  // namespace

TEST_CASE("what leaves a test silently is found") {
  const std::vector<std::string> lines = {"  if (getuid() != 0) return;",
                                          "  if (!have_openssl()) return;  // for the authority",
                                          "  if (access(path, X_OK) != 0)",
                                          "    return;",
                                          "  if (getuid() != 0) SKIP_TEST(\"needs root\");",
                                          "  if (found) return CHECK(true);",
                                          "    if (last) return;"};
  const bool expected[] = {true, true, true, false, false, false, false};
  for (size_t i = 0; i < lines.size(); i++) {
    CAPTURE(lines[i]);
    CHECK_EQ(leaves_silently(lines, i), expected[i]);
  }
}

TEST_CASE("a test that cannot run here says so by SKIP_TEST, which is counted") {
  for (const house::File& file : house::files_below("tests/unit", {".h", ".cc"})) {
    bool in_test = false;
    for (size_t i = 0; i < file.lines.size(); i++) {
      const std::string& line = file.lines[i];
      if (line.starts_with("TEST_CASE(")) in_test = true;
      if (line == "}") in_test = false;
      const bool silent = line.find("uid() != 0) return;") != std::string::npos ||
                          (in_test && leaves_silently(file.lines, i));
      const bool uncounted = line.find("MESSAGE(\"skip") != std::string::npos;
      CHECK_MESSAGE((file.path.ends_with("rules_test.cc") || (!silent && !uncounted)), file.path, ":", i + 1,
                    ": use SKIP_TEST of tests/unit/skip.h");
    }
  }
}

TEST_CASE("nobody in src calls what the house does not allow") {
  for (const house::File& file : house::files_below("src", {".h", ".cc", ".c"})) {
    for (size_t i = 0; i < file.code.size(); i++) {
      for (const Ban& ban : bans) {
        if (allowed(file.path, ban.allowed_in)) continue;
        CHECK_MESSAGE(!uses(file.code[i], ban.word), file.path, ":", i + 1, ": ", std::string(ban.word),
                      " is not used here; use ", std::string(ban.instead));
      }
    }
  }
}

TEST_CASE("files stay small, lines stay readable, nothing is left for later") {
  size_t seen = 0;
  for (const char* folder : {"src", "tests", "packaging", "configs"}) {
    for (const house::File& file :
         house::files_below(folder, {".h", ".cc", ".c", ".py", ".sh", ".build", ".yaml", ".service"})) {
      seen++;
      const bool schema_data = file.path.starts_with("src/schema/api/");
      const bool data = schema_data || file.path.find("/corpus/") != std::string::npos;
      CHECK_MESSAGE((data || file.lines.size() <= 700), file.path, " has ", file.lines.size(),
                    " lines; the most is 700");
      for (size_t i = 0; i < file.lines.size() && !data; i++) {
        for (const std::string& marker : markers) {
          CHECK_MESSAGE(file.lines[i].find(marker) == std::string::npos, file.path, ":", i + 1, ": ", marker);
        }
        CHECK_MESSAGE(file.lines[i].find('\t') == std::string::npos, file.path, ":", i + 1, ": a tab");
      }
    }
  }
  CHECK_GT(seen, 20);
}

TEST_CASE("headers guard themselves with pragma once") {
  for (const house::File& file : house::files_below("src", {".h"})) {
    bool guarded = false;
    for (const std::string& line : file.code) guarded = guarded || line == "#pragma once";
    CHECK_MESSAGE(guarded, file.path);
  }
}
