// Puts the process behind bars before it looks at an untrusted byte.
//
// Afterwards: its root directory is the target, it holds no descriptor of a directory outside, it is in
// network, mount, IPC and UTS namespaces of its own (where the kernel lets it), has the six capabilities that
// unpacking needs and cannot gain others, and may make only the system calls of an allow-list; any other ends
// it with SIGSYS. It dies with its parent, and before it: when memory runs out, the kernel ends the child
// first.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"

namespace limpet::unpack {

struct SandboxLimits {
  uint64_t memory_bytes = 256ull << 20;
  uint64_t file_bytes = 16ull << 30;
  uint64_t cpu_seconds = 3600;
};

// Takes the target directory; returns it as the new root. Descriptors 0 to 3 stay usable.
Result<UniqueFd> enter_sandbox(UniqueFd target, const SandboxLimits& limits);

// The last step, by itself for the test.
Result<> allow_system_calls();

}  // namespace limpet::unpack
