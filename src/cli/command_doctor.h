// What other commands use of limpet doctor.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "cli/commands.h"
#include "cli/doctor/checks.h"

namespace limpet::cli {

doctor::Findings diagnose(Context& context);
std::string findings_json(const doctor::Findings& findings);

// The process that holds an exclusive flock on the file with this inode, from the text of /proc/locks; 0:
// none.
int64_t lock_holder(std::string_view locks, uint64_t inode);
// Of dataDir: the pid of its limpetd, 0 when none lives.
int64_t data_dir_holder(const std::string& data_dir);

}  // namespace limpet::cli
