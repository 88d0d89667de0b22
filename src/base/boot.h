// Which start of the kernel this is: what was noted under another one may speak of processes that are gone
// and of bytes that never reached the disk. Empty where the kernel does not say. Linux: random(4), boot_id.
#pragma once

#include <string>

namespace limpet {

std::string boot_id();

}  // namespace limpet
