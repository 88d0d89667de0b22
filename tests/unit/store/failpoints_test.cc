// Killed at every named place of the store, a group has all that it acknowledged when it is started again.
//
// Each run is a process that dies by SIGKILL at one hit of one name; what it was told is in a file that is
// read afterwards. Hits are the first one and some spread over the scenario. A name that is never reached, or
// never after something was acknowledged, fails the test, as does one that docs/failpoints.md does not list.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>
#include <map>
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

// What is between `text` from `at` on and the next `end`.
std::string upto(const std::string& text, size_t at, char end) {
  return text.substr(at, text.find(end, at) - at);
}

struct Row {
  std::string error;  // what it leads to
  std::string by;     // "group" is the scenario below, anything else a test file
};

std::map<std::string, Row> listed() {
  std::map<std::string, Row> out;
  std::istringstream text(read_file(source() + "/docs/failpoints.md"));
  for (std::string line; std::getline(text, line);) {
    if (!line.starts_with("| `")) continue;
    CAPTURE(line);
    std::erase(line, '`');
    std::vector<std::string> cells;
    for (size_t at = 2; at < line.size(); at = line.find('|', at) + 2) {
      cells.push_back(upto(line, at, '|'));
      REQUIRE(cells.back().ends_with(' '));
      cells.back().pop_back();
    }
    REQUIRE(cells.size() == 5);  // the last is tests/system/cluster_failpoints.py's
    CHECK(out.emplace(cells[0], Row{cells[2], cells[3]}).second);
  }
  return out;
}

void find_names(const std::string& text, std::set<std::string>& out) {
  for (const std::string call :
       {"LIMPET_FAILPOINT(", "in_transaction(", "atomically(", "write_file_atomic("}) {
    for (size_t at = text.find(call); at != std::string::npos; at = text.find(call, at + 1)) {
      const std::string arguments = upto(text, at + call.size(), ';');
      const size_t name = std::min(arguments.find("\"store."), arguments.find("\"peer."));
      if (name == std::string::npos) continue;
      const std::string found = upto(arguments, name + 1, '"');
      out.insert(found);
      if (call.starts_with("write_file")) out.insert({found + ".rename", found + ".synced"});
    }
  }
}

std::set<std::string> in_source() {
  std::set<std::string> out;
  for (const char* room : {"store", "peer"}) {
    for (const auto& file : std::filesystem::directory_iterator(source() + "/src/" + room))
      find_names(read_file(file.path()), out);
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
  explicit Scenario(const std::string& dir) : dir_(dir), told_(dir + "/told"), c_(shape(), dir) {
    c_.goes_on_without = false;
  }

  void run() {
    alone();
    grow();
    fall_behind();
    end();
  }
  bool stopped() const { return !c_.fatal.empty(); }

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
    REQUIRE(c_.until([&] { return done == 1; }));
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
    write(10, 40000);  // several parts
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

// Key -> the number of the last write that was acknowledged; "left": the group was given up for one of it.
std::map<std::string, int> read_told(const std::string& dir) {
  std::map<std::string, int> out;
  std::istringstream text(read_file(dir + "/told"));
  std::string key;
  for (int n; text >> key >> n;) out[key] = n;
  return out;
}

// Whoever has a file is started again. What was lost; nothing: "".
std::string lost(const std::string& dir, std::map<std::string, int> told) {
  const bool left = told.erase("left") != 0;
  if (left) {
    SeededRandom random(2);
    const auto recovered = recover_database(dir + "/0.db", 1'700'000'000, random);
    if (!recovered) return "all: " + recovered.error().message;
  }
  Cluster c(shape(), dir);
  for (size_t n = 1; !left && std::filesystem::exists(dir + strf("/%zu.db", n)); ++n)
    c.start(c.add(c.consensus(0).cluster()));
  const auto after = c.write({put("after", "x")});
  if (!after) return "the use of the group: " + after.error().message;
  const size_t leader = c.leader();
  for (const auto& [key, n] : told) {
    const std::string is = upto(c.value(leader, key), 0, ' ');
    if (atoi(is.c_str()) < n) return key + strf(" %d, it is ", n) + is;
  }
  return c.fatal.empty() ? "" : "a store: " + c.fatal.front();
}

// In a process of its own. A check that fails in it says so on its own, and it does not end well.
pid_t start_process(const std::function<void()>& body) {
  std::cout.flush();
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child != 0) return child;
  int code = 0;
  try {
    body();
  } catch (...) {
    code = 1;
  }
  std::cout.flush();
  _exit(code);
}

int status_of(pid_t child) {
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return status;
}

enum class End { whole, failed, stopped };

// A run in a process of its own, which may be killed.
pid_t start_run(const std::string& dir, const std::string& armed) {
  return start_process([&] {
    failpoint::arm(armed);
    End end = End::whole;
    {
      Scenario scenario(dir);
      try {
        scenario.run();
      } catch (...) {
        end = End::failed;
      }
      if (scenario.stopped()) end = End::stopped;
    }
    std::string lines;
    for (const auto& [name, hits] : failpoint::hits())
      lines += name + strf(" %llu\n", (unsigned long long)hits);
    write_file(dir + "/hits", lines);
    std::cout.flush();
    _exit(static_cast<int>(end));
  });
}

std::map<std::string, uint64_t> hits_of_a_run() {
  TempDir dir;
  REQUIRE(status_of(start_run(dir.path(), "")) == 0);
  std::map<std::string, uint64_t> out;
  std::istringstream text(read_file(dir / "hits"));
  std::string name;
  for (uint64_t n; text >> name >> n;) out[name] = n;
  return out;
}

// Kills a run at one hit of it. No two runs are equal: only the first hit must be reached.
// Whether something had been acknowledged by then.
bool kill_at(const std::string& name, uint64_t hit) {
  CAPTURE(hit);
  TempDir dir;
  const int status = status_of(start_run(dir.path(), name + strf("=kill@%llu", (unsigned long long)hit)));
  const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  REQUIRE((killed || (hit > 1 && status == 0)));
  const auto told = read_told(dir.path());
  REQUIRE(lost(dir.path(), told) == "");
  return killed && !told.empty();
}

// Of a run in which one hit of it is an error. What the checks of the scenario say of that is of no interest.
void fail_at(const std::string& name, const std::string& error, uint64_t hit) {
  CAPTURE(hit);
  TempDir dir;
  const int status = status_of(start_process([&] {
    REQUIRE(freopen("/dev/null", "w", stdout));
    _exit(WEXITSTATUS(status_of(start_run(dir.path(), name + strf("=error@%llu", (unsigned long long)hit)))));
  }));
  REQUIRE(WIFEXITED(status));
  const bool stopped = static_cast<End>(WEXITSTATUS(status)) == End::stopped;
  REQUIRE(stopped == (error == "stops"));
  REQUIRE(lost(dir.path(), read_told(dir.path())) == "");
}

void try_at_some(const std::string& name, const std::string& error, uint64_t hits) {
  failpoint::arm("");
  bool acknowledged = false;
  for (const uint64_t hit : std::set<uint64_t>{1, 2, hits / 4, hits / 2, hits / 4 * 3, hits}) {
    if (hit > 0) acknowledged |= kill_at(name, hit);
  }
  REQUIRE_MESSAGE(acknowledged, "nothing was acknowledged when it was killed");
  fail_at(name, error, 1);
}

constexpr size_t kAtOnce = 4;

}  // namespace

TEST_CASE("every failpoint of the store and of the connections to peers is listed, and no other") {
  std::set<std::string> rows;
  for (const auto& [name, row] : listed()) {
    rows.insert(name);
    if (row.by == "group") continue;
    CAPTURE(name);
    CAPTURE(row.by);
    CHECK(read_file(source() + "/tests/unit/" + row.by).find(name) != std::string::npos);
  }
  for (const std::string& name : in_source()) {
    CAPTURE(name);
    CHECK(rows.erase(name) == 1);
  }
  CHECK(rows.empty());
}

TEST_CASE("killed at any failpoint, a group has all that it acknowledged") {
  const auto hits = hits_of_a_run();
  const auto rows = listed();
  for (const auto& [name, n] : hits) {
    CAPTURE(name);
    CHECK((rows.contains(name) || !name.starts_with("store.")));
  }
  // No thread of this process is there when it forks: what runs stores are its children.
  std::map<pid_t, std::string> running;
  const auto reap = [&] {
    int status = 0;
    const pid_t child = waitpid(-1, &status, 0);
    REQUIRE(running.contains(child));
    CHECK_MESSAGE(status == 0, running[child]);
    running.erase(child);
  };
  size_t names = 0;
  for (const auto& [name, row] : rows) {
    if (row.by != "group") continue;
    ++names;
    if (running.size() == kAtOnce) reap();
    CAPTURE(name);
    REQUIRE(hits.contains(name));
    running[start_process([&, n = name, e = row.error] { try_at_some(n, e, hits.at(n)); })] = name;
  }
  while (!running.empty()) reap();
  CHECK(names >= 40);
}
