// The versions that matter when something went wrong: ours and those of the linked libraries.
#pragma once

#include <string>

namespace limpet::daemon {

struct Versions {
  std::string limpet, sqlite, mbedtls, libuv, http_parser;
};
Versions linked_versions();

}  // namespace limpet::daemon
