// Whether a certificate is for a name and valid at a time, in words for people. Internal; pure.
#pragma once

#include <mbedtls/x509_crt.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace limpet::tls {

// Host name or IP address against subjectAltName (RFC 6125): no fallback to the common name, a wildcard
// stands for the whole leftmost label only. mbedTLS 2.28 does not look at addresses, so both are done here.
bool matches_name(const mbedtls_x509_crt& certificate, const std::string& name);
// "device-1, 10.0.0.5": what the certificate is for.
std::string names_of(const mbedtls_x509_crt& certificate);
std::string common_name_of(const mbedtls_x509_crt& certificate);
bool is_ip(const std::string& name);

// "" when valid at t, else "expired at ..." or "is not valid before ...".
std::string time_problem(const mbedtls_x509_crt& certificate, WallTime t);

// What mbedTLS's flags mean, for "certificate of NAME ...": "is not signed by AUTHORITY".
std::string flags_problem(uint32_t flags, const std::string& authority);

}  // namespace limpet::tls
