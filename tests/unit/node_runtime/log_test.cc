// CRI log lines, and reading them across rotation.
#include <doctest/doctest.h>
#include <stdio.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "node/runtime/cri_log.h"

using namespace limpet;
using namespace limpet::node;

TEST_CASE("log lines") {
  struct Case {
    std::string line;
    const char* expect;  // stream, tag, text; "" when refused
  };
  const std::string t = "2025-11-22T18:49:52.123456789Z";
  const Case cases[] = {
      {t + " stdout F hello world", "o F hello world"},
      {t + " stderr P x", "e P x"},
      {t + " stdout F ", "o F "},
      {t + " stdout F", "o F "},
      {t + " stdout F:tag:more a", "o F a"},
      {"2025-11-22T18:49:52+02:00 stdout F a", "o F a"},
      {t + " stdin F a", ""},
      {t + " stdout X a", ""},
      {t + "  stdout F a", ""},
      {"yesterday stdout F a", ""},
      {"", ""},
      {t, ""},
      {std::string(70000, 'x'), ""},
      {t + " stdout F " + std::string(65536, 'x'), ""},
  };
  for (const Case& c : cases) {
    CAPTURE(c.line.substr(0, 80));
    std::optional<LogLine> line = parse_log_line(c.line);
    std::string got;
    if (line)
      got = std::string(line->is_stderr ? "e " : "o ") + (line->partial ? "P " : "F ") +
            std::string(line->text);
    CHECK_EQ(got, c.expect);
  }
}

namespace {

std::string at(int second, const std::string& rest) {
  char text[64];
  snprintf(text, sizeof text, "2025-11-22T18:49:%02d.000000000Z ", second);
  return text + rest + "\n";
}

struct Logs {
  Logs() { dir = mkdtemp(name); }
  ~Logs() {
    for (const char* f : {"/0.log", "/0.log.1", "/0.log.2"}) unlink((dir + f).c_str());
    rmdir(dir.c_str());
  }
  void put(const std::string& file, const std::string& text) {
    std::ofstream(dir + "/" + file, std::ios::app) << text;
  }
  std::string read(const LogOptions& options) {
    std::string out;
    bool over = false;
    Result<std::unique_ptr<LogReader>> reader =
        open_log(loop, dir + "/0.log", options,
                 {[&](std::string_view s) { out += s; }, [&](Result<>) { over = true; }});
    if (!reader) return "error";
    CHECK(loop.run_until([&] { return over; }, 10000));
    return out;
  }
  char name[32] = "/tmp/limpet-logs-XXXXXX";
  std::string dir;
  loop::Loop loop;
};

}  // namespace

TEST_CASE("what kubectl logs asks for") {
  Logs l;
  CHECK_EQ(l.read({}), "error");
  l.put("0.log.2", at(1, "stdout F one"));
  l.put("0.log.1", at(2, "stderr F two") + "damaged\n" + at(3, "stdout P thr") + at(3, "stdout F ee"));
  l.put("0.log", at(4, "stdout F four") + at(5, "stderr F five"));
  struct Case {
    LogOptions options;
    const char* expect;
  };
  LogOptions since;
  since.since = *parse_rfc3339("2025-11-22T18:49:04Z");
  const Case cases[] = {
      {{}, "one\ntwo\nthree\nfour\nfive\n"},
      {{.tail_lines = 0}, ""},
      {{.tail_lines = 1}, "five\n"},
      {{.tail_lines = 3}, "three\nfour\nfive\n"},
      {{.tail_lines = 5}, "one\ntwo\nthree\nfour\nfive\n"},
      {{.tail_lines = 99}, "one\ntwo\nthree\nfour\nfive\n"},
      {{.tail_lines = 1, .stream = LogOptions::Stream::out}, "four\n"},
      {{.stream = LogOptions::Stream::err}, "two\nfive\n"},
      {{.limit_bytes = 6}, "one\ntw"},
      {{.timestamps = true, .tail_lines = 1}, "2025-11-22T18:49:05.000000000Z five\n"},
      {since, "four\nfive\n"},
  };
  for (const Case& c : cases) CHECK_EQ(l.read(c.options), c.expect);
}

TEST_CASE("tail over more than one slice") {
  Logs l;
  std::string text, expect;
  for (int i = 0; i < 5000; ++i) {
    std::string line = "line " + std::to_string(i) + std::string(static_cast<size_t>(i % 97), '.');
    text += at(1, "stdout F " + line);
    if (i >= 1000) expect += line + "\n";
  }
  l.put("0.log", text);
  CHECK_EQ(l.read({.tail_lines = 4000}), expect);
}

TEST_CASE("following goes on across rotation and ends when the container is gone") {
  Logs l;
  l.put("0.log", at(1, "stdout F a"));
  std::string out;
  bool over = false;
  Result<std::unique_ptr<LogReader>> reader =
      open_log(l.loop, l.dir + "/0.log", {.follow = true},
               {[&](std::string_view s) { out += s; }, [&](Result<>) { over = true; }});
  REQUIRE(reader.has_value());
  CHECK(l.loop.run_until([&] { return out == "a\n"; }, 5000));
  l.put("0.log", at(2, "stdout F b"));
  CHECK(l.loop.run_until([&] { return out == "a\nb\n"; }, 5000));
  (*reader)->pause(true);
  l.put("0.log", at(3, "stdout F c"));
  REQUIRE_EQ(rename((l.dir + "/0.log").c_str(), (l.dir + "/0.log.1").c_str()), 0);
  l.put("0.log", at(4, "stdout F d"));
  (*reader)->pause(false);
  CHECK(l.loop.run_until([&] { return out == "a\nb\nc\nd\n"; }, 5000));
  CHECK_FALSE(over);
  l.put("0.log", at(5, "stdout F e"));
  (*reader)->finish();
  CHECK(l.loop.run_until([&] { return over; }, 5000));
  CHECK_EQ(out, "a\nb\nc\nd\ne\n");
}
