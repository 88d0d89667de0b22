// Killed at every named place of the store, a group has all that it acknowledged when it is started again.
//
// Each run is a child process that dies by SIGKILL at the first hit of one name; what it was told is in a file
// that the parent reads. A name that is never reached fails the test, as does one that docs/failpoints.md does
// not list.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "base/failpoint.h"
#include "base/random.h"
#include "base/unique_fd.h"
#include "cluster.h"
#include "store/check.h"
#include "store/surgery.h"

using namespace limpet;
using namespace limpet::store;
using namespace limpet::store::test;

namespace {

std::string source() {
  const char* root = getenv("LIMPET_SOURCE");
  REQUIRE_MESSAGE(root, "LIMPET_SOURCE names the source tree");
  return root;
}

// Name -> what reaches it: "group" is the scenario below, anything else the test file that does.
std::map<std::string, std::string> listed() {
  std::map<std::string, std::string> out;
  std::istringstream text(read_file(source() + "/docs/failpoints.md"));
  const std::regex row(R"(^\| `(store\.[a-z._]+)` \|.*\| `?([a-z_.]+)`? \|$)");
  std::smatch m;
  for (std::string line; std::getline(text, line);) {
    if (std::regex_match(line, m, row)) CHECK(out.emplace(m[1], m[2]).second);
  }
  return out;
}

std::set<std::string> in_source() {
  std::set<std::string> out;
  const std::regex named(R"re((?:LIMPET_FAILPOINT|in_transaction|atomically)\("(store\.[a-z._]+)")re");
  for (const auto& file : std::filesystem::directory_iterator(source() + "/src/store")) {
    const std::string text = read_file(file.path());
    for (std::sregex_iterator it(text.begin(), text.end(), named), end; it != end; ++it) out.insert((*it)[1]);
  }
  return out;
}

// What was acknowledged, as far as the process came.
class Told {
 public:
  explicit Told(const std::string& path)
      : fd_(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {}
  void say(const std::string& line) {
    const std::string text = line + "\n";
    REQUIRE(write(fd_.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }

 private:
  UniqueFd fd_;
};

Options shape() {
  Options o;
  o.cache_bytes = 4000;
  o.history_revisions = 8;
  o.checkpoint_bytes = 24 << 10;
  o.log_bytes = 12 << 10;
  o.tick_ms = 5;
  o.unknown_ticks = 200;
  return o;
}

// Everything that a store does: alone, as one of three, one that was away, and as the only one that is left.
class Scenario {
 public:
  explicit Scenario(const std::string& dir) : dir_(dir), told_(dir + "/told"), c_(shape(), dir) {}

  void run() {
    alone();
    grow();
    fall_behind();
    end();
  }

 private:
  void write(int times, size_t bytes = 300) {
    for (int i = 0; i < times; ++i) {
      const int n = ++count_;
      const auto r = c_.write({put(strf("k%d", n % 5), std::to_string(n) + " " + std::string(bytes, 'x'))});
      if (r) told_.say(strf("k%d %d", n % 5, n));
    }
  }
  void alone() {
    write(80);
    int done = 0;
    c_.store(0).save("blob", "x", [&](const Result<>&) { ++done; });
    c_.store(0).backup(dir_ + "/backup.db", [&](const Result<>&) { ++done; });
    REQUIRE(c_.until([&] { return done == 2; }));
    c_.stop(0);
    REQUIRE(check_database(c_.options(0).path, {dir_}, 64u << 20));
    c_.start(0);
    write(5);
  }
  void grow() {
    c_.join();
    c_.join();
    write(20);
    for (size_t n = 0; n < 3; ++n) (void)c_.barrier(n);
    c_.lead((c_.leader() + 1) % 3);
    write(5);
  }
  void fall_behind() {
    const size_t away = (c_.leader() + 1) % 3;
    // By the log of the file: nobody has it in memory after a start.
    c_.stop(away);
    write(2);
    for (size_t n = 0; n < 3; ++n) {
      if (n == away) continue;
      c_.stop(n);
      c_.start(n);
    }
    c_.start(away);
    REQUIRE(c_.until([&] { return c_.has_all(away); }));
    // By a snapshot.
    c_.stop(away);
    write(40, 2000);
    c_.start(away);
    REQUIRE(c_.until([&] { return c_.has_all(away); }));
    write(5);
  }
  void end() {
    REQUIRE(c_.until([&] { return c_.has_all(0); }));
    for (size_t n = 0; n < 3; ++n) {
      REQUIRE(c_.close(n));
      c_.stop(n);
    }
    told_.say("left 0");
    SeededRandom random(1);
    REQUIRE(recover_database(c_.options(0).path, 1'700'000'000, random));
    c_.start(0);
    write(5);
  }

  std::string dir_;
  Told told_;
  Cluster c_;
  int count_ = 0;
};

std::map<std::string, int> read_told(const std::string& dir) {
  std::map<std::string, int> out;
  std::istringstream text(read_file(dir + "/told"));
  std::string key;
  for (int n; text >> key >> n;) out[key] = n;
  return out;
}

// Whoever has a file is started again.
void check_kept(const std::string& dir) {
  auto told = read_told(dir);
  const bool left = told.erase("left") != 0;
  if (left) {
    SeededRandom random(2);
    REQUIRE(recover_database(dir + "/0.db", 1'700'000'000, random));
  }
  Cluster c(shape(), dir);
  for (size_t n = 1; !left && std::filesystem::exists(dir + strf("/%zu.db", n)); ++n)
    c.start(c.add(c.consensus(0).cluster()));
  const size_t leader = c.leader();
  while (!c.barrier(leader)) {
  }
  for (const auto& [key, n] : told) {
    CAPTURE(key);
    CHECK(atoi(c.value(leader, key).c_str()) >= n);
  }
  CHECK(c.write({put("after", "x")}));
  CHECK(c.fatal.empty());
}

// The signal that ended it; 0: none did.
int run_child(const std::string& dir, const std::string& armed) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    failpoint::arm(armed);
    Scenario(dir).run();
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

}  // namespace

TEST_CASE("every failpoint of the store is listed, and no other") {
  const auto names = listed();
  CHECK(names.size() >= 40);
  std::set<std::string> rows;
  for (const auto& [name, by] : names) {
    rows.insert(name);
    if (by == "group") continue;
    CAPTURE(name);
    CAPTURE(by);
    CHECK(read_file(source() + "/tests/unit/store/" + by).find(name) != std::string::npos);
  }
  CHECK(rows == in_source());
}

TEST_CASE("killed at any failpoint, a group has all that it acknowledged") {
  for (const auto& [name, by] : listed()) {
    if (by != "group") continue;
    CAPTURE(name);
    TempDir dir;
    CHECK(run_child(dir.path(), name + "=kill@1") == SIGKILL);
    check_kept(dir.path());
  }
}
