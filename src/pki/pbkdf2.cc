#include "pki/pbkdf2.h"

#include <mbedtls/md.h>
#include <mbedtls/pkcs5.h>

#include <algorithm>

#include "base/mbed.h"

namespace limpet::pki {
namespace {

constexpr uint32_t trial = 20'000;
constexpr uint32_t most = 5 * pbkdf2_least;

int derive(std::string_view passphrase, std::string_view salt, uint32_t iterations, SealKey& key) {
#if LIMPET_MBED3
  return mbedtls_pkcs5_pbkdf2_hmac_ext(MBEDTLS_MD_SHA512, bytes_of(passphrase), passphrase.size(),
                                       bytes_of(salt), salt.size(), iterations, key.size(), key.data());
#else
  mbedtls_md_context_t md;
  mbedtls_md_init(&md);
  int rc = mbedtls_md_setup(&md, mbedtls_md_info_from_type(MBEDTLS_MD_SHA512), 1);
  if (rc == 0)
    rc = mbedtls_pkcs5_pbkdf2_hmac(&md, bytes_of(passphrase), passphrase.size(), bytes_of(salt), salt.size(),
                                   iterations, key.size(), key.data());
  mbedtls_md_free(&md);
  return rc;
#endif
}

}  // namespace

Result<SealKey> pbkdf2_sha512(std::string_view passphrase, std::string_view salt, uint32_t iterations) {
  SealKey key;
  if (iterations == 0) return fail(Errc::invalid_argument, "derive a key: no iterations");
  const int rc = derive(passphrase, salt, iterations, key);
  if (rc != 0) return fail(Errc::internal, "derive a key: " + mbed_error(rc));
  return key;
}

uint32_t pbkdf2_iterations(int64_t wanted_ms, const std::function<int64_t()>& now_ms) {
  SealKey key;
  const int64_t from = now_ms();
  if (derive("passphrase", "salt of a trial.", trial, key) != 0) return pbkdf2_least;
  const int64_t took = std::max<int64_t>(now_ms() - from, 1);
  return static_cast<uint32_t>(std::clamp<int64_t>(trial * wanted_ms / took, pbkdf2_least, most));
}

}  // namespace limpet::pki
