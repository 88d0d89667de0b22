// Parts of limpet-shim that need no container: text, log files, arguments, the runtime's words.
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "shim/log_file.h"
#include "shim/sys.h"
#include "shim/text.h"

using namespace limpet::shim;

namespace {

struct TempDir {
  TempDir() { path = mkdtemp(name); }
  ~TempDir() {
    for (const std::string& file : files) unlink(file.c_str());
    rmdir(path.c_str());
  }
  std::string file(const std::string& n) {
    files.push_back(path + "/" + n);
    return files.back();
  }
  char name[32] = "/tmp/limpet-shim-XXXXXX";
  std::string path;
  std::vector<std::string> files;
};

std::string slurp(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// The lines without their times.
std::string bare(const std::string& log) {
  std::stringstream in(log);
  std::string out;
  for (std::string line; std::getline(in, line);) {
    CHECK_EQ(line.size() > 31 ? line[29] : '?', 'Z');
    out += line.substr(std::min<size_t>(31, line.size())) + "\n";
  }
  return out;
}

}  // namespace

TEST_CASE("text is bounded and says so") {
  Text<8> t;
  t.add("1234").add("5678");
  CHECK_EQ(std::string(t.c_str()), "1234567");
  CHECK(t.cut());
  Text<64> n;
  n.add_number(-9223372036854775807LL - 1).add_char(' ').add_number(0);
  CHECK_EQ(std::string(n.c_str()), "-9223372036854775808 0");
}

TEST_CASE("times") {
  struct Case {
    int64_t seconds;
    uint32_t nanos;
    const char* text;
  };
  for (const Case& c :
       {Case{0, 0, "1970-01-01T00:00:00.000000000Z"}, Case{951782400, 5, "2000-02-29T00:00:00.000000005Z"},
        Case{1763837392, 123456789, "2025-11-22T18:49:52.123456789Z"},
        Case{4102444799, 999999999, "2099-12-31T23:59:59.999999999Z"}}) {
    Text<64> t;
    t.add_time(c.seconds, c.nanos);
    CHECK_EQ(std::string(t.c_str()), c.text);
  }
}

TEST_CASE("JSON strings stay valid whatever is in them") {
  struct Case {
    std::string in, out;
  };
  for (const Case& c :
       {Case{"a\"b\\c\n\t", "\"a\\\"b\\\\c\\n\\t\""}, Case{std::string("\0\x01", 2), "\"??\""},
        Case{"\xc3\xa4 \xff \xc3", "\"\xc3\xa4 ? ?\""}, Case{"\xed\xa0\x80", "\"???\""},
        Case{"\xf0\x9f\x90\x9a", "\"\xf0\x9f\x90\x9a\""}}) {
    Text<128> t;
    t.add_json(c.in.data(), c.in.size());
    CHECK_EQ(std::string(t.c_str()), c.out);
  }
}

TEST_CASE("the runtime's last words") {
  struct Case {
    std::string log, message;
  };
  for (const Case& c :
       {Case{"", ""}, Case{"one\ntwo\n", "two"},
        Case{"{\"level\":\"error\",\"msg\":\"a \\\"b\\\"\\nc\",\"time\":\"x\"}\n", "a \"b\" c"},
        Case{"{\"msg\":\"first\"}\n{\"level\":\"error\",\"msg\":\"last\"}", "last"},
        Case{"{\"msg\":\"unterminated", "unterminated"}, Case{"{\"nothing\":1}", "{\"nothing\":1}"}}) {
    Text<128> t;
    add_last_message(t, c.log.c_str(), c.log.size());
    CHECK_EQ(std::string(t.c_str()), c.message);
  }
}

TEST_CASE("arguments") {
  char a[] = "n=12", b[] = "bad=1x", c[] = "m=1", d[] = "m=2";
  char* argv[] = {a, b, c, d};
  Args args(4, argv);
  CHECK_EQ(args.number("n", 0), 12);
  CHECK_EQ(args.number("bad", 7), 7);
  CHECK_EQ(args.number("none", 3), 3);
  std::string all;
  args.each("m", [&](const char* v) { all += v; });
  CHECK_EQ(all, "12");
}

TEST_CASE("lines, partial lines, and a last line without its newline") {
  TempDir dir;
  LogFile log;
  std::string path = dir.file("0.log");
  log.open(path.c_str(), 0, 1);
  static LineBuffer out(false);
  static LineBuffer err(true);
  auto feed = [&](LineBuffer& b, std::string s) {
    while (!s.empty()) {
      size_t n = std::min(b.room_size(), s.size());
      memcpy(b.room(), s.data(), n);
      b.commit(n, log);
      s.erase(0, n);
    }
  };
  feed(out, "a\nb");
  feed(err, "e\n");
  feed(out, "c\n\n");
  feed(out, std::string(LineBuffer::capacity + 10, 'x') + "\nend");
  out.finish(log);
  out.finish(log);
  CHECK_EQ(bare(slurp(path)), "stdout F a\nstderr F e\nstdout F bc\nstdout F \nstdout P " +
                                  std::string(LineBuffer::capacity, 'x') +
                                  "\nstdout F xxxxxxxxxx\nstdout F end\n");
  CHECK_EQ(log.dropped_bytes(), 0);
}

TEST_CASE("rotation keeps the newest files within the budget") {
  TempDir dir;
  std::string path = dir.file("0.log"), one = dir.file("0.log.1"), two = dir.file("0.log.2");
  LogFile log;
  log.open(path.c_str(), 4000, 3);
  for (int i = 0; i < 1000; ++i) {
    std::string line = "line " + std::to_string(i) + "\n";
    log.write_lines(false, line.data(), line.size());
  }
  CHECK_NE(access((path + ".3").c_str(), F_OK), 0);
  std::string all = bare(slurp(two) + slurp(one) + slurp(path));
  CHECK(all.ends_with("stdout F line 998\nstdout F line 999\n"));
  for (const std::string& file : {path, one, two}) CHECK_LE(slurp(file).size(), 4000);
  // Without a gap.
  int first = atoi(all.c_str() + strlen("stdout F line "));
  std::string expected;
  for (int i = first; i < 1000; ++i) expected += "stdout F line " + std::to_string(i) + "\n";
  CHECK_EQ(all, expected);
}

TEST_CASE("output that finds no room is counted, not waited for") {
  LogFile full;
  full.open("/dev/full", 0, 1);  // no regular file: never opened
  full.write_lines(false, "x\n", 2);
  CHECK_GT(full.dropped_bytes(), 0);
  LogFile nowhere;
  nowhere.open("/nonexistent/dir/0.log", 0, 1);
  nowhere.write_lines(true, "x\ny\n", 4);
  CHECK_GT(nowhere.dropped_bytes(), 4);
}
