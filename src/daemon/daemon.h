// The life of the daemon: starts its parts in order, serves until told to stop, stops them in reverse.
//
//   starting ──all parts started──▶ running ──SIGTERM, fatal──▶ stopping ──▶ stopped (the loop ends)
//       └──────── a part failed: the earlier ones are stopped ────▲
//
// A part that turns the loop while it starts is let finish or give up (Device::stopping) before anything
// stops. Before a new beginning (Device::restart) the service manager is told of a reload, since after
// STOPPING=1 it would wait for the end of the process and kill it.
//
// Owned by main. On the loop's thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "daemon/notify.h"
#include "daemon/part.h"
#include "loop/loop.h"
#include "loop/signal.h"

namespace limpet::daemon {

class Daemon {
 public:
  // config_path is read again on SIGHUP; "" when defaults are in use.
  Daemon(Device& device, Parts parts, Notifier& notifier, std::string config_path);
  ~Daemon();
  Daemon(const Daemon&) = delete;

  // Starts all parts. On an error the started ones are stopped again; so they are, without one, when it was
  // told to stop meanwhile. Run the loop until it ends, then exit.
  Result<> start();
  // Begins an orderly stop; the loop ends when it is done, at the latest after stop_deadline_ms.
  void stop(const std::string& reason);
  int exit_status() const { return exit_status_; }
  bool restarts() const { return restarts_; }

  static constexpr int64_t stop_deadline_ms = 20'000;

 private:
  Result<> start_parts();
  Result<> watch_signals();
  void start_watchdog();
  void on_stop_signal(const char* name);
  void reload();
  void reload_ended(const std::string& status);
  void stop_parts();
  void stop_next();
  void announce();

  Device& device_;
  Parts parts_;
  Notifier& notifier_;
  std::string config_path_;
  std::vector<std::unique_ptr<loop::Signal>> signals_;
  std::unique_ptr<loop::Timer> watchdog_, stop_deadline_, readiness_;
  size_t started_ = 0;
  bool starting_ = false;
  bool announced_ = false;
  bool stopping_ = false;
  bool restarts_ = false;
  int exit_status_ = 0;
};

// "info" and so on to the log's level.
void apply_log_level(const Config& config);

}  // namespace limpet::daemon
