// Which capabilities a container gets: the fourteen that Docker and containerd give, plus `add`, less `drop`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace limpet::node {

// Full names ("CAP_CHOWN") in the kernel's order. "ALL" is understood in both lists; drop wins, but a name in
// `add` survives drop: ALL (as upstream). Unknown names are invalid_argument. known_last: highest number the
// kernel knows.
Result<std::vector<std::string>> effective_capabilities(const std::vector<std::string>& add,
                                                        const std::vector<std::string>& drop,
                                                        int known_last = 40);
std::vector<std::string> all_capabilities(int known_last = 40);

// Those of the list that are in a mask as in /proc/PID/status.
std::vector<std::string> restrict_capabilities(const std::vector<std::string>& list, uint64_t mask);

// /proc/sys/kernel/cap_last_cap.
int kernel_last_capability();

}  // namespace limpet::node
