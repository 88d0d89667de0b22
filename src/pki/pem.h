// Walking over the blocks of a PEM text. Internal; the public half is in pki/certificate.h.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace limpet::pki {

// The DER of the next block with this label, or nullopt when there is none; `rest` moves behind it.
Result<std::optional<std::string>> next_pem(std::string_view& rest, std::string_view label);

}  // namespace limpet::pki
