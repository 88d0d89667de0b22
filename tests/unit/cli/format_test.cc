#include "cli/format.h"

#include <doctest/doctest.h>

#include "cli/progress.h"

using namespace limpet;
using namespace limpet::cli;

TEST_CASE("sizes") {
  const std::pair<int64_t, const char*> rows[] = {{0, "0 B"},
                                                  {999, "999 B"},
                                                  {1000, "1.0 KiB"},
                                                  {1536, "1.5 KiB"},
                                                  {10 * 1024, "10 KiB"},
                                                  {999 * 1024, "999 KiB"},
                                                  {1023 * 1024, "1.0 MiB"},
                                                  {5 << 20, "5.0 MiB"},
                                                  {int64_t{3} << 30, "3.0 GiB"},
                                                  {int64_t{70} << 40, "70 TiB"},
                                                  {INT64_MAX, "8.0 EiB"},
                                                  {-1, "?"}};
  for (const auto& [bytes, text] : rows) CHECK_EQ(human_size(bytes), text);
}

TEST_CASE("nothing from outside commands the terminal") {
  CHECK_EQ(printable("a\x1b[31mb\nc\x7f"), "a?[31mb?c?");
  CHECK_EQ(printable("\xc2\x9b"
                     "31m \xc3\xa9 \xe2\x82\xac"),
           "?31m \xc3\xa9 \xe2\x82\xac");
  CHECK_EQ(printable("\xc2"), "\xc2");
  Table t({"A"});
  t.add({"x\x1b]0;evil\x07"});
  CHECK(t.text(80).find('\x1b') == std::string::npos);
}

TEST_CASE("a table that fits has plain columns") {
  Table t({"POD", "STATE", "IP"});
  t.add({"web", "Running", "10.42.0.2"});
  t.add({"longer-name", "", ""});
  CHECK_EQ(t.text(80),
           "POD          STATE    IP\n"
           "web          Running  10.42.0.2\n"
           "longer-name  -        -\n");
}

TEST_CASE("an overlong cell ends its line and nothing is cut") {
  const std::string name(60, 'n'), container(30, 'c');
  Table t({"POD", "CONTAINER", "STATE", "IP"});
  t.add({name, container, "CreateContainerConfigError", "10.42.0.2"});
  t.add({"web", "app", "Running", "10.42.0.3"});
  const std::string text = t.text(80);
  CAPTURE(text);
  for (const std::string& whole : {name, container, std::string("CreateContainerConfigError")}) {
    CHECK(text.find(whole) != std::string::npos);
  }
  size_t lines = 0;
  for (size_t at = 0; at < text.size(); lines++) {
    const size_t end = text.find('\n', at);
    CHECK_LE(columns_of(text.substr(at, end - at)), 80);
    at = end + 1;
  }
  CHECK_GT(lines, 3);
  // The short row stays on one line, at the columns of the header.
  const size_t header = text.find("STATE"), row = text.find("\nweb ");
  REQUIRE(row != std::string::npos);
  CHECK_EQ(text.find("Running", row) - row - 1, header);
}

TEST_CASE("any mixture of cells keeps within the width") {
  for (size_t a = 0; a <= 78; a += 6) {
    for (size_t b = 0; b <= 78; b += 13) {
      for (size_t c = 0; c <= 78; c += 13) {
        Table t({"A", "B", "C"});
        t.add({std::string(a, 'a'), std::string(b, 'b'), std::string(c, 'c')});
        t.add({"x", "y", "z"});
        const std::string text = t.text(80);
        CAPTURE(text);
        for (size_t at = 0; at < text.size();) {
          const size_t end = text.find('\n', at);
          CHECK_LE(end - at, 80);
          at = end + 1;
        }
        CHECK(text.find(std::string(c ? c : 1, c ? 'c' : '-')) != std::string::npos);
      }
    }
  }
}

TEST_CASE("labelled text wraps under itself") {
  CHECK_EQ(labelled("a:", "one two", 4, 80), "a:  one two\n");
  CHECK_EQ(labelled("a:", "one two three", 4, 11), "a:  one two\n    three\n");
  CHECK_EQ(labelled("a:", "overlongword x", 4, 8), "a:  overlongword\n    x\n");
  CHECK_EQ(labelled("longlabel:", "x", 0, 80), "longlabel: x\n");
}

TEST_CASE("progress: a bar that fits on a terminal, lines elsewhere") {
  Output o;
  std::string err;
  o.err = [&](std::string_view s) {
    err += s;
    return true;
  };
  o.out = o.err;
  {
    Progress p(o);
    p.layer("sha256:0123456789abcdef", 10, 100, "downloading", 0);
    p.layer("sha256:0123456789abcdef", 100, 100, "unpacking", 1);
    CHECK_EQ(err, "");
    p.layer("sha256:0123456789abcdef", 100, 100, "complete", 2);
    p.layer("sha256:0123456789abcdef", 100, 100, "complete", 3);
    CHECK_EQ(err, "layer 0123456789ab complete, 100 B\n");
  }
  err.clear();
  o.err_terminal = true;
  Progress p(o);
  p.layer("a", 50, 100, "downloading", 0);
  p.layer("b", 0, 100, "waiting", 0);
  CHECK(p.bar(79).find(" 25%  50 B of 200 B  layer 1/2  downloading") != std::string::npos);
  CHECK(p.bar(79).starts_with("[#"));
  for (size_t width = 10; width < 130; width++) CHECK_LE(columns_of(p.bar(width)), width);
  // Hostile figures.
  p.layer("c", INT64_MAX, -5, "downloading", 0);
  p.layer("a", -7, 100, "downloading", 1);
  CHECK(p.bar(79).find("  0%") != std::string::npos);
  p.clear();
  CHECK(err.ends_with("\r\033[K"));
}
