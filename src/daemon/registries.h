// What the configuration says of registries, as the image room wants it: for limpetd's own pulls and for
// `limpet doctor`, which asks registries the same way. Without what stands in files of their own
// (credentials, authorities).
#pragma once

#include "daemon/config.h"
#include "image/transport.h"

namespace limpet::daemon {

inline constexpr size_t max_ca_file_bytes = 4 << 20;

image::TransportOptions registry_options(const Config& config);

}  // namespace limpet::daemon
