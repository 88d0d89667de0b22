#include "daemon/notify.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "base/result.h"
#include "manager.h"

using namespace limpet;
using namespace limpet::daemon;
using limpet::daemon::test::Manager;

TEST_CASE("notify speaks the protocol over a path and over an abstract name") {
  for (const char* form : {"/tmp/limpet-notify-%d.sock", "@limpet-notify-%d"}) {
    const std::string name = strf(form, getpid());
    CAPTURE(name);
    Manager manager(name);
    Notifier n(name, 4'000'000);
    CHECK_EQ(n.watchdog_period_ms(), 2000);
    n.ready("serving\nas edge-1");
    CHECK_EQ(manager.receive(), "READY=1\nSTATUS=serving as edge-1\n");
    n.watchdog();
    CHECK_EQ(manager.receive(), "WATCHDOG=1\n");
    n.reloading(123456789);
    CHECK_EQ(manager.receive(), "RELOADING=1\nMONOTONIC_USEC=123456789\nSTATUS=reloading\n");
    n.reloading(5, "beginning anew");
    CHECK_EQ(manager.receive(), "RELOADING=1\nMONOTONIC_USEC=5\nSTATUS=beginning anew\n");
    n.status("half way");
    CHECK_EQ(manager.receive(), "STATUS=half way\n");
    n.extend_timeout(5'000'000);
    CHECK_EQ(manager.receive(), "EXTEND_TIMEOUT_USEC=5000000\n");
    n.stopping("bye");
    CHECK_EQ(manager.receive(), "STOPPING=1\nSTATUS=bye\n");
    CHECK_EQ(manager.receive(), "(nothing)");
  }
}

TEST_CASE("without a manager, or with a name that makes no sense, nothing happens") {
  const std::string too_long = "/" + std::string(200, 'x');
  for (const std::string& name : {std::string(), std::string("/"), std::string("relative"), std::string("@"),
                                  too_long, std::string("/nonexistent/socket")}) {
    CAPTURE(name);
    Notifier n(name, 0);
    CHECK_EQ(n.watchdog_period_ms(), 0);
    n.ready("x");
    n.watchdog();
  }
}

TEST_CASE("the environment is read once and not passed on") {
  struct Row {
    const char *usec, *pid;
    int64_t period_ms;
  };
  const std::string own = std::to_string(getpid());
  const Row rows[] = {{"3000000", nullptr, 1500}, {"3000000", own.c_str(), 1500},
                      {"3000000", "1", 0},        {nullptr, nullptr, 0},
                      {"-5", nullptr, 0},         {"3x", nullptr, 0}};
  for (const Row& row : rows) {
    setenv("NOTIFY_SOCKET", "@nobody-listens", 1);
    row.usec ? setenv("WATCHDOG_USEC", row.usec, 1) : unsetenv("WATCHDOG_USEC");
    row.pid ? setenv("WATCHDOG_PID", row.pid, 1) : unsetenv("WATCHDOG_PID");
    CHECK_EQ(Notifier::from_environment().watchdog_period_ms(), row.period_ms);
    for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"})
      CHECK(std::getenv(name) == nullptr);
  }
}

TEST_CASE("the program that takes this one's place is told by the same manager") {
  const std::string own = std::to_string(getpid());
  struct Row {
    const char *socket, *usec, *pid;
    std::vector<std::string> after;
  };
  const std::string pid = "WATCHDOG_PID=" + own;
  const Row rows[] = {
      {"@nobody", "3000000", own.c_str(), {"NOTIFY_SOCKET=@nobody", "WATCHDOG_USEC=3000000", pid}},
      {"@nobody", "3000000", nullptr, {"NOTIFY_SOCKET=@nobody", "WATCHDOG_USEC=3000000", pid}},
      {"@nobody", "3000000", "1", {"NOTIFY_SOCKET=@nobody"}},  // meant for another process
      {"@nobody", nullptr, nullptr, {"NOTIFY_SOCKET=@nobody"}},
      {nullptr, "3000000", nullptr, {}},
  };
  for (const Row& row : rows) {
    const std::pair<const char*, const char*> before[] = {
        {"NOTIFY_SOCKET", row.socket}, {"WATCHDOG_USEC", row.usec}, {"WATCHDOG_PID", row.pid}};
    for (const auto& [name, text] : before) text ? setenv(name, text, 1) : unsetenv(name);
    CHECK_EQ(Notifier::from_environment().environment(), row.after);
  }
}
