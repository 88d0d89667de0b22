// fork and exec with nothing left to chance. Blocks until the child has reached exec. Not for other rooms.
#pragma once

#include <sys/types.h>

#include "loop/process.h"

namespace limpet::loop {

struct SpawnPlan {
  const ProcessOptions* options = nullptr;
  int stdio[3] = {-1, -1, -1};  // descriptors of ours for 0, 1, 2; -1 is /dev/null
};

Result<pid_t> spawn(const SpawnPlan& plan);

}  // namespace limpet::loop
