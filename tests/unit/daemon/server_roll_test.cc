// The servers that an agent keeps for its next start.
#include "daemon/server_roll.h"

#include <doctest/doctest.h>

#include <unistd.h>

#include <cstdio>

#include "base/atomic_file.h"

namespace limpet::daemon::test {

TEST_CASE("a roll is what it was after a restart") {
  const ServerRoll roll{{0xfedcba9876543210, "s1", {"10.0.0.1:6444", "[fd00::1]:6444"}, 6443},
                        {1, "s2.example", {}, 7443}};
  const auto back = parse_roll(roll_text(roll));
  REQUIRE(back);
  CHECK(*back == roll);
  CHECK(parse_roll(roll_text({})).value().empty());
  CHECK(api_servers(roll) == std::vector<client::Server>{{"10.0.0.1", 6443}, {"fd00::1", 6443}});
}

TEST_CASE("a roll that is damaged is refused") {
  const std::string good = R"("name":"s1","member":"0000000000000001","addresses":["a:1"],"apiPort":6443)";
  REQUIRE(parse_roll("[{" + good + "}]"));
  std::string many = "[";
  for (int i = 0; i < 65; ++i) many += (i ? ",{" : "{") + good + "}";
  const std::string rows[] = {
      "",
      "{",
      "{}",
      "null",
      "[1]",
      "[{}]",
      many + "]",
      R"([{"name":"S 1","member":"0000000000000001","addresses":[],"apiPort":1}])",
      R"([{"name":"s1","member":"1","addresses":[],"apiPort":1}])",
      R"([{"name":"s1","member":"000000000000000g","addresses":[],"apiPort":1}])",
      R"([{"name":"s1","member":"0000000000000000","addresses":[],"apiPort":1}])",
      R"([{"name":"s1","member":"00000000000000001","addresses":[],"apiPort":1}])",
      R"([{"name":"s1","member":"000000000000000A","addresses":[],"apiPort":1}])",
      R"([{"name":"s1","member":"0000000000000001","addresses":[],"apiPort":0}])",
      R"([{"name":"s1","member":"0000000000000001","addresses":[],"apiPort":65536}])",
      R"([{"name":"s1","member":"0000000000000001","addresses":["a b"],"apiPort":1}])",
      R"([{"name":"s1","member":"0000000000000001","addresses":["a:1","a:2","a:3",)"
      R"("a:4","a:5","a:6","a:7","a:8","a:9"],"apiPort":1}])"};
  for (const std::string& row : rows) {
    CAPTURE(row);
    CHECK_FALSE(parse_roll(row));
  }
}

TEST_CASE("no file and a damaged file are no roll") {
  const std::string path = "/tmp/limpet-roll-" + std::to_string(getpid());
  CHECK(load_roll(path).empty());
  REQUIRE(write_file_atomic(path, "[{", 0600));
  CHECK(load_roll(path).empty());
  REQUIRE(write_file_atomic(path, roll_text({{1, "s1", {"a:1"}, 6443}}), 0600));
  CHECK(load_roll(path).size() == 1);
  remove(path.c_str());
}

}  // namespace limpet::daemon::test
