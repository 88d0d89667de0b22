#include "cli/passphrase.h"

#include <doctest/doctest.h>

#include <cstdlib>

#include "base/atomic_file.h"
#include "base/tree.h"

using namespace limpet;
using namespace limpet::cli;

TEST_CASE("a passphrase is the first line of its file") {
  std::string directory = "/tmp/limpet-passphrase-XXXXXX";
  REQUIRE(mkdtemp(directory.data()) != nullptr);
  const std::string file = directory + "/phrase";
  const std::pair<std::string, const char*> good[] = {{"tide and time", "tide and time"},
                                                      {"tide and time\n", "tide and time"},
                                                      {"tide and time\r\n", "tide and time"},
                                                      {" tide and time \nsecond", " tide and time "},
                                                      {"zwölf Möwen", "zwölf Möwen"}};
  for (const auto& [text, expected] : good) {
    REQUIRE(write_file_atomic(file, text, 0600));
    CHECK_EQ(read_passphrase(file).value(), expected);
  }
  for (const std::string& text : {std::string(), std::string("\ntide and time"), std::string("1234567\n")}) {
    REQUIRE(write_file_atomic(file, text, 0600));
    const auto refused = read_passphrase(file);
    REQUIRE_FALSE(refused);
    CHECK_EQ(refused.error().code, exit_usage);
    CHECK(refused.error().message.find("at least 8 characters") != std::string::npos);
  }
  REQUIRE(write_file_atomic(file, std::string(5000, 'x'), 0600));
  CHECK_EQ(read_passphrase(file).error().code, exit_failed);
  CHECK_EQ(read_passphrase(file + "none").error().code, exit_not_found);
  REQUIRE(remove_tree(directory));
}
