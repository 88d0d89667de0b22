#include "daemon/daemon.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/stat.h>

#include <cstdlib>
#include <string>

#include "base/log.h"
#include "daemon/options.h"
#include "manager.h"

using namespace limpet;
using namespace limpet::daemon;
using limpet::daemon::test::Manager;

namespace {

// Writes what happens to it into a journal.
class RecordedPart final : public Part {
 public:
  struct Script {
    const char* name;
    bool fails = false;
    bool stops_later = false;
    std::string not_ready;
    bool turns = false;  // the loop while it starts, until the daemon is to stop
  };
  RecordedPart(Device& device, Script script, std::string& journal)
      : device_(device), script_(std::move(script)), journal_(journal) {}
  const char* name() const override { return script_.name; }
  Result<> start() override {
    journal_ += strf("start %s\n", script_.name);
    if (script_.turns) {
      (void)device_.loop.run_until([this] { return device_.stopping; }, 10'000);
      journal_ += strf("given up %s\n", script_.name);
      return fail(Errc::cancelled, "told to stop");
    }
    if (script_.fails) return fail(Errc::io, "no luck");
    return {};
  }
  void stop(loop::Task done) override {
    journal_ += strf("stop %s\n", script_.name);
    if (!script_.stops_later) return done();
    timer_ = std::make_unique<loop::Timer>(device_.loop, "later");
    timer_->start(1, [this, done] {
      journal_ += strf("stopped %s\n", script_.name);
      done();
    });
  }
  void reload(const Config& before) override {
    journal_ += strf("reload %s %s->%s\n", script_.name, before.logs.level.c_str(),
                     device_.config.logs.level.c_str());
  }
  std::string not_ready() const override { return *not_ready_; }
  std::shared_ptr<std::string> not_ready_text() const { return not_ready_; }

 private:
  Device& device_;
  Script script_;
  std::shared_ptr<std::string> not_ready_ = std::make_shared<std::string>(script_.not_ready);
  std::string& journal_;
  std::unique_ptr<loop::Timer> timer_;
};

struct Fixture {
  loop::Loop loop;
  SystemClock clock;
  SeededRandom random{1};
  Notifier notifier{"", 0};
  Device device{.loop = loop,
                .clock = clock,
                .random = random,
                .config = check_config("").config,
                .node_name = "edge-1"};
  std::string journal;
  Fixture() {
    log::set_sink([](log::Level, std::string_view) {});
  }
  ~Fixture() {
    log::set_sink(nullptr);
    log::set_level(log::Level::info);
  }

  Parts parts(std::vector<RecordedPart::Script> scripts) {
    Parts out;
    for (auto& s : scripts) out.push_back(std::make_unique<RecordedPart>(device, std::move(s), journal));
    return out;
  }
};

}  // namespace

TEST_CASE("parts start in order and stop in reverse, one after the other") {
  Fixture f;
  Daemon daemon(f.device, f.parts({{"a"}, {.name = "b", .stops_later = true}, {"c"}}), f.notifier, "");
  REQUIRE(daemon.start().has_value());
  f.loop.defer([&] { daemon.stop("test"); });
  f.loop.run();
  CHECK_EQ(f.journal, "start a\nstart b\nstart c\nstop c\nstop b\nstopped b\nstop a\n");
  CHECK_EQ(daemon.exit_status(), 0);
}

TEST_CASE("a part that fails undoes the parts before it, whichever it is") {
  const char* names[] = {"a", "b", "c"};
  for (size_t failing = 0; failing < 3; failing++) {
    CAPTURE(failing);
    Fixture f;
    std::string expected;
    std::vector<RecordedPart::Script> scripts;
    for (size_t i = 0; i < 3; i++)
      scripts.push_back({.name = names[i], .fails = i == failing, .stops_later = i == 0});
    for (size_t i = 0; i <= failing; i++) expected += strf("start %s\n", names[i]);
    for (size_t i = failing; i-- > 0;) expected += strf("stop %s\n%s", names[i], i == 0 ? "stopped a\n" : "");
    Daemon daemon(f.device, f.parts(std::move(scripts)), f.notifier, "");
    auto started = daemon.start();
    REQUIRE(!started.has_value());
    CHECK_EQ(started.error().message, strf("start %s: no luck", names[failing]));
    f.loop.run();
    CHECK_EQ(f.journal, expected);
    CHECK_EQ(daemon.exit_status(), 1);
  }
}

TEST_CASE("what comes before the first part stops is awaited, and left out after a fatal error") {
  for (const bool fatal : {false, true}) {
    CAPTURE(fatal);
    Fixture f;
    loop::Timer later(f.loop, "later");
    Daemon daemon(f.device, f.parts({{"a"}, {"b"}}), f.notifier, "");
    REQUIRE(daemon.start().has_value());
    f.device.before_stop = [&](loop::Task done) {
      f.journal += "before\n";
      later.start(5, [&f, done] {
        f.journal += "done\n";
        done();
      });
    };
    f.loop.defer([&] { fatal ? f.device.fatal("fsync failed") : daemon.stop("test"); });
    f.loop.run();
    CHECK_EQ(f.journal,
             std::string("start a\nstart b\n") + (fatal ? "" : "before\ndone\n") + "stop b\nstop a\n");
  }
}

TEST_CASE("told to stop while a part waits in its start: that is let end, and it was no failure") {
  Fixture f;
  const std::string name = strf("@limpet-daemon-wait-%d", getpid());
  Manager manager(name);
  Notifier notifier(name, 0);
  Daemon daemon(f.device, f.parts({{"a"}, {.name = "b", .turns = true}, {"c"}}), notifier, "");
  loop::Timer term(f.loop, "test");
  term.start(5, [] { kill(getpid(), SIGTERM); });
  CHECK(daemon.start().has_value());
  f.loop.run();
  CHECK_EQ(f.journal, "start a\nstart b\ngiven up b\nstop a\n");
  CHECK_EQ(daemon.exit_status(), 0);
  CHECK_EQ(manager.all(), "STOPPING=1\nSTATUS=stopping\n\n");
}

TEST_CASE(
    "a new beginning is a reload for the service manager, and its watchdog is fed from the first to the "
    "last") {
  Fixture f;
  const std::string name = strf("@limpet-daemon-anew-%d", getpid());
  Manager manager(name);
  Notifier notifier(name, 10'000);  // to be fed every 5 ms
  auto parts = f.parts({{"a"}});
  parts.push_back(std::make_unique<RecordedPart>(
      f.device, RecordedPart::Script{.name = "b", .stops_later = true}, f.journal));
  Daemon daemon(f.device, std::move(parts), notifier, "");
  std::string first;
  REQUIRE(daemon.start().has_value());
  const std::string begun = manager.all();
  CHECK(begun.starts_with("WATCHDOG=1\n"));  // before anything else
  CHECK(begun.find("READY=1") != std::string::npos);
  std::string after;
  loop::Timer slow(f.loop, "slow");
  f.device.before_stop = [&](loop::Task done) {
    slow.start(60, [&, done] {
      after = manager.all();
      done();
    });
  };
  f.device.restart("it joins a cluster");
  f.loop.run();
  after += manager.all();
  CHECK(daemon.restarts());
  CHECK(after.find("STOPPING") == std::string::npos);
  CHECK(after.find("RELOADING=1\nMONOTONIC_USEC=") != std::string::npos);
  CHECK(after.find("STATUS=beginning anew: it joins a cluster\n") != std::string::npos);
  CHECK(after.find("READY") == std::string::npos);
  CHECK(after.rfind("WATCHDOG=1") > after.find("RELOADING=1"));
}

TEST_CASE("a stop overtakes a new beginning") {
  Fixture f;
  const std::string name = strf("@limpet-daemon-over-%d", getpid());
  Manager manager(name);
  Notifier notifier(name, 0);
  Daemon daemon(f.device, f.parts({{"a"}}), notifier, "");
  REQUIRE(daemon.start().has_value());
  loop::Timer slow(f.loop, "slow");
  f.device.before_stop = [&](loop::Task done) {
    kill(getpid(), SIGTERM);
    slow.start(20, done);
  };
  f.device.restart("it joins a cluster");
  f.loop.run();
  CHECK_FALSE(daemon.restarts());
  CHECK_EQ(daemon.exit_status(), 0);
  CHECK(manager.all().ends_with("STOPPING=1\nSTATUS=stopping\n\n"));
}

TEST_CASE("as long as READY was not said a reload does not say it") {
  Fixture f;
  const std::string name = strf("@limpet-daemon-early-%d", getpid());
  const std::string path = strf("/tmp/limpet-daemon-early-%d.yaml", getpid());
  FILE* file = fopen(path.c_str(), "we");
  REQUIRE(file != nullptr);
  fputs("logs: {level: warning}\n", file);
  fclose(file);
  Manager manager(name);
  Notifier notifier(name, 0);
  auto part = std::make_unique<RecordedPart>(
      f.device, RecordedPart::Script{.name = "a", .not_ready = "no lead"}, f.journal);
  const auto not_ready = part->not_ready_text();
  Parts parts;
  parts.push_back(std::move(part));
  Daemon daemon(f.device, std::move(parts), notifier, path);
  REQUIRE(daemon.start().has_value());
  kill(getpid(), SIGHUP);
  REQUIRE(f.loop.run_until([&] { return f.device.config.logs.level == "warning"; }, 10'000));
  CHECK_EQ(manager.all(), "STATUS=configuration reloaded\n\n");
  not_ready->clear();
  std::string said;
  REQUIRE(
      f.loop.run_until([&] { return (said += manager.all()).find("READY=1") != std::string::npos; }, 10'000));
  CHECK_EQ(said, "READY=1\nSTATUS=serving as edge-1\n\n");
  kill(getpid(), SIGHUP);
  said.clear();
  REQUIRE(
      f.loop.run_until([&] { return (said += manager.all()).find("READY=1") != std::string::npos; }, 10'000));
  CHECK(said.starts_with("RELOADING=1\n"));
  daemon.stop("test");
  f.loop.run();
  unlink(path.c_str());
}

TEST_CASE("a fatal error of a part stops everything with exit status 1") {
  Fixture f;
  Daemon daemon(f.device, f.parts({{"a"}, {"b"}}), f.notifier, "");
  REQUIRE(daemon.start().has_value());
  f.loop.defer([&] { f.device.fatal("fsync failed"); });
  f.loop.run();
  CHECK_EQ(f.journal, "start a\nstart b\nstop b\nstop a\n");
  CHECK_EQ(daemon.exit_status(), 1);
}

TEST_CASE("SIGTERM stops, SIGHUP reloads what can be, a bad file changes nothing") {
  Fixture f;
  const std::string path = strf("/tmp/limpet-daemon-test-%d.yaml", getpid());
  auto write = [&](const char* text) {
    FILE* file = fopen(path.c_str(), "we");
    REQUIRE(file != nullptr);
    fputs(text, file);
    fclose(file);
  };
  write("logs: {level: warning}\nnodeName: other\n");
  Daemon daemon(f.device, f.parts({{"a"}}), f.notifier, path);
  REQUIRE(daemon.start().has_value());
  loop::Timer next(f.loop, "test");
  kill(getpid(), SIGHUP);
  next.repeat(1, [&, step = 0]() mutable {
    if (step == 0 && f.journal.ends_with("reload a info->warning\n")) {
      CHECK_EQ(f.device.config.node_name, "");
      write("logs: {level: nonsense}\n");
      kill(getpid(), SIGHUP);
      step = 1;
    } else if (step == 1) {
      kill(getpid(), SIGTERM);
      step = 2;
    }
  });
  f.loop.run();
  next.stop();
  unlink(path.c_str());
  CHECK_EQ(f.journal, "start a\nreload a info->warning\nstop a\n");
  CHECK_EQ(f.device.config.logs.level, "warning");
  CHECK_EQ(daemon.exit_status(), 0);
}

TEST_CASE("directories get their modes, and dataDir is closed to others even when it was open") {
  char root[] = "/tmp/limpet-paths-XXXXXX";
  REQUIRE(mkdtemp(root) != nullptr);
  const std::string r(root);
  auto config = check_config("").config;
  config.data_dir = r + "/data";
  config.run_dir = r + "/run";
  config.logs.dir = r + "/logs";
  config.manifests_dir = r + "/etc/manifests";
  config.admin_kubeconfig = r + "/etc/admin.kubeconfig";
  const Paths paths = derive_paths(config);
  CHECK_EQ(paths.socket, r + "/run/limpet.sock");
  REQUIRE_EQ(mkdir(paths.data_dir.c_str(), 0755), 0);
  for (int again = 0; again < 2; again++) REQUIRE(make_directories_of(paths).has_value());
  const std::pair<std::string, unsigned> rows[] = {{paths.data_dir, 0700},      {paths.pki_dir, 0700},
                                                   {paths.run_dir, 0755},       {paths.netns_dir, 0700},
                                                   {paths.manifests_dir, 0755}, {paths.images_dir, 0700},
                                                   {paths.archives_dir, 0755}};
  for (const auto& [path, mode] : rows) {
    CAPTURE(path);
    struct stat st{};
    REQUIRE_EQ(stat(path.c_str(), &st), 0);
    CHECK_EQ(st.st_mode & 07777, mode);
  }
  for (const std::string& path : {paths.pki_dir, paths.images_dir, paths.pods_dir, paths.archives_dir,
                                  paths.data_dir, paths.containers_dir, paths.netns_dir, paths.run_dir,
                                  paths.logs_dir, paths.manifests_dir, r + "/etc", r}) {
    CHECK_MESSAGE(rmdir(path.c_str()) == 0, path);
  }
}

TEST_CASE("the command line") {
  using Action = CommandLine::Action;
  struct Row {
    std::vector<std::string> arguments;
    bool good;
    Action action;
    const char* config;
  };
  const Row rows[] = {
      {{}, true, Action::run, "/etc/limpet/limpetd.yaml"},
      {{"--config", "/x"}, true, Action::run, "/x"},
      {{"-c", "/x"}, true, Action::run, "/x"},
      {{"--config=/x", "--check-config"}, true, Action::check_config, "/x"},
      {{"--version"}, true, Action::version, "/etc/limpet/limpetd.yaml"},
      {{"--help", "nonsense"}, true, Action::help, "/etc/limpet/limpetd.yaml"},
      {{"--config"}, false, Action::run, ""},
      {{"--config="}, false, Action::run, ""},
      {{"--conf", "/x"}, false, Action::run, ""},
      {{"extra"}, false, Action::run, ""},
  };
  for (const Row& row : rows) {
    CAPTURE(row.config);
    const auto line = parse_command_line(row.arguments);
    REQUIRE_EQ(line.has_value(), row.good);
    if (!line) continue;
    CHECK((line->action == row.action));
    CHECK_EQ(line->config_path, row.config);
  }
}
