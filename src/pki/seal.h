// Sealing of secrets at rest (node.db, stored Secrets): AES-256-GCM (NIST SP 800-38D).
//
// A sealed value is: format byte 1, 12 bytes of nonce, ciphertext, 16 bytes of tag. `context` (where the
// value stands, for example its row key) is authenticated, so that a value moved elsewhere does not open.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/random.h"
#include "base/result.h"

namespace limpet::pki {

using SealKey = std::array<uint8_t, 32>;
constexpr size_t seal_overhead = 1 + 12 + 16;

Result<std::string> seal(const SealKey& key, std::string_view plain, std::string_view context,
                         Random& random);
// Errc::corrupt when key, context or bytes are not those it was sealed with.
Result<std::string> open_sealed(const SealKey& key, std::string_view sealed, std::string_view context);

// The device's key in a file of mode 0600, made when missing. A file of another size is an error, never
// replaced: what was sealed with it would be lost.
Result<SealKey> load_or_create_seal_key(const std::string& path, Random& random);

}  // namespace limpet::pki
