// Image pulls that the daemon has under way, as the socket tells them; in words for status, ps and image ls.
#pragma once

#include <string>

#include "base/json.h"

namespace limpet::cli {

// "docker.io/library/app:1, 12 MiB of 50 MiB (24%), 1 of 3 layers"; or that it waits.
std::string pull_text(json::Ref pull);

}  // namespace limpet::cli
