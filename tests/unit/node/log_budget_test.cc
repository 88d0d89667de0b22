#include "node/log_budget.h"
#include "base/tree.h"

#include <doctest/doctest.h>
#include <stdlib.h>

#include <algorithm>

#include "base/atomic_file.h"
#include "node/runtime/rootfs.h"

using namespace limpet;
using namespace limpet::node;

TEST_CASE("what goes when logs are over their budget") {
  const std::vector<LogFileInfo> files = {
      {"a/0.log", 100, 10, false, false}, {"a/1.log", 100, 50, false, true},
      {"a/1.log.1", 100, 40, true, true}, {"a/1.log.2", 100, 30, true, true},
      {"b/0.log", 100, 5, false, true},
  };
  struct Row {
    int64_t budget;
    std::vector<std::string> gone;
  };
  const Row rows[] = {{500, {}},
                      {499, {"a/0.log"}},
                      {400, {"a/0.log"}},
                      {399, {"a/0.log", "a/1.log.2"}},
                      {200, {"a/0.log", "a/1.log.2", "a/1.log.1"}},
                      {0, {"a/0.log", "a/1.log.2", "a/1.log.1"}}};  // what is being written stays
  for (const Row& row : rows) {
    CAPTURE(row.budget);
    CHECK(over_budget(files, row.budget) == row.gone);
  }
}

TEST_CASE("runs before the previous one go whatever the budget") {
  const std::vector<LogFileInfo> files = {{"a/0.log", 10, 1, false, false, true},
                                          {"a/1.log", 10, 2, false, false, false},
                                          {"a/2.log", 10, 3, false, true, false}};
  CHECK(over_budget(files, 1000) == std::vector<std::string>{"a/0.log"});
  CHECK(over_budget(files, 10) == std::vector<std::string>{"a/0.log", "a/1.log"});
}

TEST_CASE("logs are found below pods and containers, nothing else is") {
  char dir[] = "/tmp/limpet-logs-XXXXXX";
  REQUIRE(mkdtemp(dir));
  const std::string base = dir;
  REQUIRE(make_directories(base + "/ns_pod_uid/app", 0755).has_value());
  for (const char* name : {"0.log", "4.log", "5.log", "5.log.1", "notes.txt", "1.logx", "x.log"}) {
    REQUIRE(write_file_atomic(base + "/ns_pod_uid/app/" + name, "x", 0600).has_value());
  }
  std::vector<LogFileInfo> found = find_logs(base);
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  REQUIRE(found.size() == 4);
  CHECK(found[0].outdated);
  CHECK_FALSE(found[1].newest_run);
  CHECK_FALSE(found[1].outdated);
  CHECK(found[2].newest_run);
  CHECK(found[3].rotated);
  CHECK(remove_tree(base).has_value());
}
