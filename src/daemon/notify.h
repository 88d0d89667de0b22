// Tells the service manager how the daemon is doing: the sd_notify protocol, spoken directly (one datagram
// per message to the socket named in NOTIFY_SOCKET). Without a service manager every call does nothing.
//
// Source: https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"

namespace limpet::daemon {

class Notifier {
 public:
  // socket: a path, or "@NAME" of the abstract namespace; "" for none. watchdog_usec: 0 for none.
  Notifier(std::string socket, int64_t watchdog_usec);
  // From NOTIFY_SOCKET and WATCHDOG_USEC/WATCHDOG_PID, which are removed from the environment: no child may
  // answer.
  static Notifier from_environment();
  // The same variables, NAME=VALUE, for the program that takes this one's place in the same process.
  std::vector<std::string> environment() const;

  void ready(std::string_view status) { send("READY=1\n", status); }
  void status(std::string_view text) { send("", text); }
  void stopping(std::string_view status) { send("STOPPING=1\n", status); }
  // A reload is bracketed by reloading() and ready(), and so is a new beginning in the same process.
  void reloading(int64_t monotonic_usec, std::string_view status = "reloading");
  void watchdog() { send("WATCHDOG=1\n", ""); }
  // How often watchdog() is due: half of what the manager waits. 0: never.
  int64_t watchdog_period_ms() const { return watchdog_usec_ / 2000; }
  // Asks for more time to start or stop.
  void extend_timeout(int64_t usec);

 private:
  void send(std::string_view lines, std::string_view status);

  std::string socket_;
  int64_t watchdog_usec_ = 0;
  UniqueFd fd_;
};

}  // namespace limpet::daemon
