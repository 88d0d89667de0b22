// The first part: directories of the device with their modes.
#pragma once

#include "daemon/part.h"

namespace limpet::daemon {

std::unique_ptr<Part> make_directories_part(Device& device);

}  // namespace limpet::daemon
