// What other commands use of limpet doctor.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "cli/commands.h"
#include "cli/doctor/checks.h"

namespace limpet::cli {

// Each finding is told when it is made.
doctor::Findings diagnose(Context& context, const std::function<void(const doctor::Finding&)>& tell = {});
std::string findings_json(const doctor::Findings& findings);

// Processes that hold an exclusive flock on a file with this inode number, on whatever file system, from the
// text of /proc/locks. Its device numbers are no help: on btrfs and overlay they are not those of stat.
std::vector<int64_t> lock_holders(std::string_view locks, uint64_t inode);
struct Holder {
  int64_t pid = 0;         // 0: none
  bool forbidden = false;  // this user is not allowed to know
};
// Of dataDir: its limpetd, a process that has just this lock file open.
Holder find_holder(const std::string& data_dir);
Holder find_holder(const std::string& data_dir, std::string_view locks);  // text of /proc/locks
// Its pid, 0 when none lives.
int64_t data_dir_holder(const std::string& data_dir);

}  // namespace limpet::cli
