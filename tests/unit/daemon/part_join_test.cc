// A device before it is of a cluster: what it is told, what it says, and what it goes on as.
#include <doctest/doctest.h>
#include <signal.h>

#include "../temp_dir.h"
#include "base/atomic_file.h"
#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/parts.h"
#include "daemon/place.h"
#include "manager.h"

namespace limpet::daemon::test {
namespace {

std::string lines;

// Of the right form; no server listens where it is sent.
const std::string token = "limpet1." + std::string(64, 'a') + ".abcdef.0123456789abcdef";
const std::string nowhere = "https://127.0.0.1:1", nowhere_else = "https://127.0.0.1:2";

struct Fixture : limpet::test::TempDir {
  std::string socket = strf("@limpet-join-part-%d", getpid());
  Manager manager{socket};
  Notifier notifier{socket, 0};
  loop::Loop loop;
  SystemClock clock;
  SeededRandom random{1};
  Device device{.loop = loop,
                .clock = clock,
                .random = random,
                .config = check_config("").config,
                .node_name = "edge-1"};

  Fixture() {
    device.config.data_dir = path + "/data";
    device.config.node.address = "127.0.0.1";
    device.paths = derive_paths(device.config);
    REQUIRE(make_directories(device.config.data_dir, 0700).has_value());
    lines.clear();
    log::set_sink([](log::Level, std::string_view line) { lines += std::string(line) + "\n"; });
  }
  ~Fixture() { log::set_sink(nullptr); }
  void set(const char* role, const std::string& url) {
    device.config.role = role;
    device.config.join.url = url;
    device.config.join.token = url.empty() ? "" : token;
  }
  void put(const char* file) {
    REQUIRE(write_file_atomic(device.config.data_dir + file, "", 0600).has_value());
  }
  Result<> start() { return make_join_part(device)->start(); }
};

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("join part: keys that are passed over are named, with what to do") {
  struct Row {
    const char* role;
    const char* store;  // the file by which it is known
    bool told;
    const char *error, *log, *not_said;
  };
  const char *made = "/limpet.db.made", *restored = "/limpet.db";
  const Row rows[] = {
      {"server", nullptr, false, "", "", "join.url"},
      {"server", made, false, "", "", "join.url"},
      {"server", made, true, "", "limpet join URL TOKEN (--discard gives up", "set join.url"},
      {"server", restored, true, "", "limpet join URL TOKEN (--discard gives up", "set join.url"},
      {"agent", nullptr, false, "set join.url and join.token or join.tokenFile, or run limpet join URL TOKEN",
       "", "--discard"},
      {"agent", made, false, "limpet join URL TOKEN --discard", "", "set join.url"},
      {"agent", made, true, "limpet join URL TOKEN --discard", "", "set join.url"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.role);
    CAPTURE((row.store ? row.store : "no store"));
    CAPTURE(row.told);
    Fixture f;
    f.set(row.role, row.told ? nowhere : "");
    if (row.store) f.put(row.store);
    const auto started = f.start();
    CHECK_EQ(started.has_value(), *row.error == '\0');
    const std::string error = started ? "" : started.error().message;
    CHECK(has(error, row.error));
    CHECK(has(lines, row.log));
    CHECK_FALSE(has(error + lines, row.not_said));
  }
}

TEST_CASE(
    "join part: an order of limpet join that is refused is dropped by a device that is something already") {
  struct Row {
    const char* what;
    bool store, place;
    bool dropped;
  };
  for (const Row& row : {Row{"nothing yet", false, false, false}, Row{"a store", true, false, true},
                         Row{"an agent", false, true, true}}) {
    CAPTURE(row.what);
    Fixture f;
    const std::string& data = f.device.config.data_dir;
    if (row.store) f.put("/limpet.db.made");
    if (row.place) {
      Place place;
      place.cluster = std::string(16, 'c');
      place.agent = true;
      REQUIRE(write_place(data, place).has_value());
    }
    REQUIRE(write_order(data, {nowhere, "no token", false}).has_value());
    CHECK_EQ(role_of(data, "server"), "server");
    const auto started = f.start();
    REQUIRE_FALSE(started.has_value());
    CHECK(has(started.error().message, "token"));
    CHECK_EQ(has(started.error().message, "dropped"), row.dropped);
    CHECK_EQ(read_order(data).value().has_value(), !row.dropped);
    if (row.dropped) CHECK(f.start().has_value());
  }
}

TEST_CASE(
    "join part: while it waits it says for whom, follows a change of the configuration, and can be stopped") {
  Fixture f;
  f.set("server", nowhere);
  const std::string config = f.path + "/limpetd.yaml";
  const auto write = [&](const std::string& url) {
    REQUIRE(write_file_atomic(config,
                              "join: {url: '" + url + "', token: " + token + "}\nlogs: {level: info}\n", 0600)
                .has_value());
  };
  Parts parts;
  parts.push_back(make_join_part(f.device));
  Daemon daemon(f.device, std::move(parts), f.notifier, config);
  std::string said;
  int step = 0;
  loop::Timer steps(f.loop, "test");
  steps.repeat(5, [&] {
    said += f.manager.all();
    if (step == 0 && has(said, "STATUS=waits to be let in by " + nowhere + ": ")) {
      write(nowhere_else);
      kill(getpid(), SIGHUP);
      step = 1;
    } else if (step == 1 && has(said, "STATUS=waits to be let in by " + nowhere_else + ": ")) {
      kill(getpid(), SIGTERM);
      step = 2;
    }
  });
  loop::Timer limit(f.loop, "limit");
  limit.start(20'000, [&] { f.device.stopping = true; });
  CHECK(daemon.start().has_value());
  steps.stop();
  limit.stop();
  f.loop.run();
  said += f.manager.all();
  CHECK_EQ(step, 2);
  CHECK_EQ(daemon.exit_status(), 0);
  CHECK_FALSE(has(said, "READY=1"));
  CHECK_FALSE(has(said, "RELOADING=1"));
  CHECK(has(said, "EXTEND_TIMEOUT_USEC="));
  INFO(said);
  CHECK(said.ends_with("STOPPING=1\nSTATUS=stopping\n\n"));
  CHECK_FALSE(has(lines, "key=join."));
  CHECK_FALSE(has(lines, "start failed"));
}

TEST_CASE("join part: a token in a file is read when it is needed, and never by a device that has joined") {
  struct Row {
    const char* what;
    const char* text;  // null: there is no file
    unsigned mode;
    const char *error, *log, *not_said;
  };
  const std::string good = " " + token + "\n";
  const Row rows[] = {
      {"missing", nullptr, 0, "join.tokenFile: ", "", "others than root"},
      {"empty", " \n", 0600, "is empty", "", "others than root"},
      {"no token", "nonsense\n", 0600, "token", "", "others than root"},
      {"of root", good.c_str(), 0600, "", "not let into the cluster yet", "others than root"},
      {"for all to read", good.c_str(), 0644, "", "others than root may use the join token: chmod 600",
       "secret"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    Fixture f;
    f.set("agent", nowhere);
    f.device.config.join.token.clear();
    f.device.config.join.token_file = f.path + "/token";
    if (row.text) REQUIRE(write_file_atomic(f.path + "/token", row.text, row.mode).has_value());
    // Nobody listens there: it is told to stop once it waits.
    loop::Timer look(f.loop, "test");
    look.repeat(5, [&] { f.device.stopping = has(lines, "not let into the cluster yet"); });
    const auto started = f.start();
    look.stop();
    REQUIRE_FALSE(started.has_value());
    CHECK(has(started.error().message, row.error));
    CHECK(has(lines, row.log));
    CHECK_FALSE(has(lines, row.not_said));
    CHECK_FALSE(has(lines + started.error().message, "0123456789abcdef"));
  }
  Fixture joined;
  joined.set("agent", nowhere);
  joined.device.config.join.token.clear();
  joined.device.config.join.token_file = joined.path + "/gone";
  Place place;
  place.cluster = std::string(16, 'c');
  place.agent = true;
  REQUIRE(write_place(joined.device.config.data_dir, place).has_value());
  CHECK(joined.start().has_value());
}

TEST_CASE("join part: another token in the file is used for the next attempt") {
  Fixture f;
  f.set("server", nowhere);
  f.device.config.join.token.clear();
  const std::string file = f.device.config.join.token_file = f.path + "/token";
  REQUIRE(write_file_atomic(file, token, 0600).has_value());
  loop::Timer look(f.loop, "test");
  look.repeat(5, [&] {
    if (has(lines, "not let into the cluster yet")) (void)write_file_atomic(file, "another", 0600);
  });
  loop::Timer limit(f.loop, "limit");
  limit.start(20'000, [&] { f.device.stopping = true; });
  const auto started = f.start();
  look.stop();
  limit.stop();
  REQUIRE_FALSE(started.has_value());
  CHECK_FALSE(f.device.stopping);
  CHECK(has(started.error().message, "token"));  // it is none
}

}  // namespace limpet::daemon::test
