// What compiles against mbedTLS 2.28 and 3.6 alike, for the rooms that use it (base, tls, pki). Internal to
// them.
#pragma once

#include <mbedtls/error.h>
#include <mbedtls/version.h>

#include <string>
#include <string_view>

#include "base/random.h"

// 3.x renames struct members that are not its public interface.
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
#define LIMPET_MBED3 1
#define LIMPET_MBED(member) MBEDTLS_PRIVATE(member)
#else
#define LIMPET_MBED3 0
#define LIMPET_MBED(member) member
#endif

namespace limpet {

// The shape in which mbedTLS asks for randomness; context is a Random.
inline int mbed_random(void* context, unsigned char* out, size_t size) {
  static_cast<Random*>(context)->fill(out, size);
  return 0;
}
// The same by getrandom(2), from any thread: nothing to seed, nothing to lock. The context is not looked at.
inline int mbed_system_random(void*, unsigned char* out, size_t size) {
  SystemRandom().fill(out, size);
  return 0;
}

inline std::string mbed_error(int rc) {
  char text[160];
  mbedtls_strerror(rc, text, sizeof text);
  return text;
}

inline const unsigned char* bytes_of(std::string_view s) {
  return reinterpret_cast<const unsigned char*>(s.data());
}
inline std::string_view view_of(const unsigned char* p, size_t n) {
  return {reinterpret_cast<const char*>(p), n};
}

}  // namespace limpet
