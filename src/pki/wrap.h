// Encrypting a short secret to the owner of a P-256 key (ECIES), and the key derivation that it needs.
//
// A wrapped value is: format byte 1, the 64 bytes x || y of an ephemeral public key, then a sealed value
// (seal.h) under the key HKDF-SHA-256(ECDH(ephemeral, recipient), info = "limpet wrap 1" || ephemeral point
// || recipient's point). As in DHKEM of RFC 9180 (section 4.1) both public keys go into the derivation.
// `context` says where the value stands; one that was moved elsewhere does not open. It tells nobody who
// wrapped it: whoever needs that has to learn it from where the value stands.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/random.h"
#include "base/result.h"
#include "pki/key.h"

namespace limpet::pki {

// RFC 2104 and RFC 5869. size: at most 255 * 32 bytes.
std::string hmac_sha256(std::string_view key, std::string_view message);
std::string hkdf_sha256(std::string_view secret, std::string_view salt, std::string_view info, size_t size);

constexpr size_t max_wrapped = 4096;

Result<std::string> wrap(const PublicKey& recipient, std::string_view plain, std::string_view context,
                         Random& random);
// Hostile input is fine. `corrupt` when key, context or bytes are not those it was wrapped with.
Result<std::string> unwrap(const PrivateKey& own, std::string_view wrapped, std::string_view context,
                           Random& random);

}  // namespace limpet::pki
