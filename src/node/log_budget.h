// The total budget of container logs: when all files together are over it, the oldest go, rotated ones first.
//
// limpet-shim keeps each container's log within its own bounds while it writes; many containers together may
// still fill a small disk. What is being written is never touched, so the newest lines of every container
// stay.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "loop/loop.h"

namespace limpet::node {

struct LogFileInfo {
  std::string path;
  int64_t bytes = 0;
  int64_t modified_s = 0;
  bool rotated = false;     // PATH.log.N
  bool newest_run = false;  // of its container: the file that is being written, or the last there is
  bool outdated = false;    // of a run before the previous one: nobody can ask for it any more
};

// What has to go, in order: outdated runs always (a crash loop makes hundreds a day), then by age while over
// the budget. Pure.
std::vector<std::string> over_budget(std::vector<LogFileInfo> files, int64_t budget_bytes);

// All logs below dir (POD/CONTAINER/RUN.log and RUN.log.N). Blocking.
std::vector<LogFileInfo> find_logs(const std::string& dir);

// Looks every minute, on the pool. Owned by the daemon.
class LogBudget {
 public:
  LogBudget(loop::Loop& loop, std::string dir, int64_t budget_bytes);
  void start();

 private:
  void look();

  loop::Loop& loop_;
  std::string dir_;
  int64_t budget_bytes_;
  loop::Timer timer_;
  loop::Work work_;
};

}  // namespace limpet::node
