#include "base/log.h"

#include <doctest/doctest.h>

#include <string>

using namespace limpet;

namespace {

std::string g_lines;

struct Capture {
  Capture() {
    g_lines.clear();
    log::set_sink([](log::Level, std::string_view line) { g_lines.append(line).append("\n"); });
  }
  ~Capture() {
    log::set_sink(nullptr);
    log::set_level(log::Level::info);
  }
};

}  // namespace

TEST_CASE("a line has journald's priority, the message, and fields that need it quoted") {
  const Capture capture;
  log::info("pod started", {{"pod", "default/web"}, {"n", 7}, {"size", size_t{9}}});
  log::error("bad", {{"why", "two words"}, {"empty", ""}, {"quote", "a\"b\\c=d"}});
  log::warning("x", {{"error", Error{Errc::io, "open /x: no", 0}}});
  log::notice("plain");
  CHECK_EQ(g_lines,
           "<6>pod started pod=default/web n=7 size=9\n"
           "<3>bad why=\"two words\" empty=\"\" quote=\"a\\\"b\\\\c=d\"\n"
           "<4>x error=\"open /x: no\"\n"
           "<5>plain\n");
}

TEST_CASE("nothing in a message or a value can start a line of its own") {
  const Capture capture;
  log::info("a\n<0>b", {{"v", "c\r\n<0>d\x7f"}});
  CHECK_EQ(g_lines, "<6>a <0>b v=\"c\\x0d\\n<0>d\\x7f\"\n");
}

TEST_CASE("the level decides") {
  const Capture capture;
  log::debug("no");
  log::set_level(log::Level::debug);
  log::debug("yes");
  log::set_level(log::Level::error);
  log::warning("no");
  log::error("yes");
  CHECK_EQ(g_lines, "<7>yes\n<3>yes\n");
}
