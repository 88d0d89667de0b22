// A key out of a passphrase: PBKDF2 with HMAC-SHA-512 (RFC 8018, section 5.2).
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "base/result.h"
#include "pki/seal.h"

namespace limpet::pki {

// What OWASP's Password Storage Cheat Sheet asks for at least, with SHA-512.
constexpr uint32_t pbkdf2_least = 210'000;

Result<SealKey> pbkdf2_sha512(std::string_view passphrase, std::string_view salt, uint32_t iterations);

// As many iterations as take about wanted_ms on this machine, at least pbkdf2_least, at most five times as
// many: a file that was made on a fast machine must open on a slow one. `now_ms`: a monotonic clock.
uint32_t pbkdf2_iterations(int64_t wanted_ms, const std::function<int64_t()>& now_ms);

}  // namespace limpet::pki
