#include "pki/key.h"

#include <mbedtls/ecdh.h>
#include <mbedtls/ecp.h>
#include <mbedtls/md.h>
#include <mbedtls/pk.h>
#include <mbedtls/platform_util.h>

#include "base/mbed.h"
#include "base/sha256.h"
#include "pki/certificate.h"
#include "pki/der.h"

namespace limpet::pki {

namespace {

// SubjectPublicKeyInfo of an uncompressed P-256 point: these bytes, then 04, x and y (RFC 5480).
constexpr std::string_view p256_prefix{
    "\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00"
    "\x04",
    27};
constexpr size_t spki_size = 27 + 64;

bool is_p256(std::string_view spki) { return spki.size() == spki_size && spki.starts_with(p256_prefix); }

std::unexpected<Error> not_p256() { return fail(Errc::unsupported, "not an ECDSA key on curve P-256"); }

Result<std::string> write_spki(mbedtls_pk_context* pk) {
  unsigned char buffer[512];
  int n = mbedtls_pk_write_pubkey_der(pk, buffer, sizeof buffer);
  if (n < 0) return fail(Errc::internal, "encode public key: " + mbed_error(n));
  std::string spki(view_of(buffer + sizeof buffer - n, static_cast<size_t>(n)));
  if (!is_p256(spki)) return not_p256();
  return spki;
}

}  // namespace

struct PublicKey::State {
  mbedtls_pk_context pk;
  State() { mbedtls_pk_init(&pk); }
  ~State() { mbedtls_pk_free(&pk); }
  State(const State&) = delete;
};

PublicKey::PublicKey() = default;
PublicKey::~PublicKey() = default;
PublicKey::PublicKey(PublicKey&&) noexcept = default;
PublicKey& PublicKey::operator=(PublicKey&&) noexcept = default;

Result<PublicKey> PublicKey::from_der(std::string_view spki) {
  if (!is_p256(spki)) return not_p256();
  PublicKey key;
  key.state_ = std::make_unique<State>();
  int rc = mbedtls_pk_parse_public_key(&key.state_->pk, bytes_of(spki), spki.size());
  if (rc != 0) return fail(Errc::invalid_argument, "public key: " + mbed_error(rc));
  key.spki_ = spki;
  return key;
}

Result<PublicKey> PublicKey::from_pem(const std::string& pem) {
  TRY(std::string spki, pki::from_pem(pem, "PUBLIC KEY"));
  return from_der(spki);
}

Result<PublicKey> PublicKey::from_point(std::string_view point) {
  return from_der(std::string(p256_prefix) + std::string(point));
}

std::string PublicKey::point() const { return spki_.substr(p256_prefix.size()); }

bool PublicKey::verify_raw(std::string_view message, std::string_view signature) const {
  if (!state_ || signature.size() != 64) return false;
  std::string der = der::signature_from_raw(signature);
  Sha256Digest hash = sha256(message);
  return mbedtls_pk_verify(&state_->pk, MBEDTLS_MD_SHA256, hash.data(), hash.size(), bytes_of(der),
                           der.size()) == 0;
}

struct PrivateKey::State {
  mbedtls_pk_context pk;
  State() { mbedtls_pk_init(&pk); }
  ~State() { mbedtls_pk_free(&pk); }
  State(const State&) = delete;
};

PrivateKey::PrivateKey() = default;
PrivateKey::~PrivateKey() = default;
PrivateKey::PrivateKey(PrivateKey&&) noexcept = default;
PrivateKey& PrivateKey::operator=(PrivateKey&&) noexcept = default;

Result<PrivateKey> PrivateKey::generate(Random& random) {
  PrivateKey key;
  key.state_ = std::make_unique<State>();
  mbedtls_pk_context* pk = &key.state_->pk;
  int rc = mbedtls_pk_setup(pk, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY));
  if (rc == 0) rc = mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(*pk), mbed_random, &random);
  if (rc != 0) return fail(Errc::internal, "generate key: " + mbed_error(rc));
  TRY(key.spki_, write_spki(pk));
  return key;
}

Result<PrivateKey> PrivateKey::from_pem(const std::string& pem, [[maybe_unused]] Random& random) {
  PrivateKey key;
  key.state_ = std::make_unique<State>();
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
  int rc =
      mbedtls_pk_parse_key(&key.state_->pk, bytes_of(pem), pem.size() + 1, nullptr, 0, mbed_random, &random);
#else
  int rc = mbedtls_pk_parse_key(&key.state_->pk, bytes_of(pem), pem.size() + 1, nullptr, 0);
#endif
  if (rc != 0) return fail(Errc::invalid_argument, "private key: " + mbed_error(rc));
  mbedtls_pk_type_t type = mbedtls_pk_get_type(&key.state_->pk);
  if (type != MBEDTLS_PK_ECKEY && type != MBEDTLS_PK_ECDSA) return not_p256();
  TRY(key.spki_, write_spki(&key.state_->pk));
  return key;
}

Result<std::string> PrivateKey::to_pem() const {
  unsigned char buffer[1024];
  int rc = mbedtls_pk_write_key_pem(&state_->pk, buffer, sizeof buffer);
  if (rc != 0) return fail(Errc::internal, "encode private key: " + mbed_error(rc));
  std::string pem(reinterpret_cast<const char*>(buffer));
  mbedtls_platform_zeroize(buffer, sizeof buffer);
  return pem;
}

Result<std::string> PrivateKey::sign_der(std::string_view message, Random& random) const {
  if (!state_) return fail(Errc::invalid_argument, "sign: no key");
  Sha256Digest hash = sha256(message);
  unsigned char signature[MBEDTLS_PK_SIGNATURE_MAX_SIZE];
  size_t size = 0;
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
  int rc = mbedtls_pk_sign(&state_->pk, MBEDTLS_MD_SHA256, hash.data(), hash.size(), signature,
                           sizeof signature, &size, mbed_random, &random);
#else
  int rc = mbedtls_pk_sign(&state_->pk, MBEDTLS_MD_SHA256, hash.data(), hash.size(), signature, &size,
                           mbed_random, &random);
#endif
  if (rc != 0) return fail(Errc::internal, "sign: " + mbed_error(rc));
  return std::string(view_of(signature, size));
}

Result<std::string> PrivateKey::sign_raw(std::string_view message, Random& random) const {
  TRY(std::string der, sign_der(message, random));
  auto raw = der::signature_to_raw(der);
  if (!raw) return fail(Errc::internal, "sign: signature of an unknown shape");
  return *raw;
}

Result<std::string> PrivateKey::agree(const PublicKey& other, Random& random) const {
  if (!state_ || !other.state_) return fail(Errc::invalid_argument, "key agreement: no key");
  struct Ecdh {
    mbedtls_ecdh_context ctx;
    Ecdh() { mbedtls_ecdh_init(&ctx); }
    ~Ecdh() { mbedtls_ecdh_free(&ctx); }
    Ecdh(const Ecdh&) = delete;
  } ecdh;
  std::string secret(32, '\0');
  size_t size = 0;
  int rc = mbedtls_ecdh_get_params(&ecdh.ctx, mbedtls_pk_ec(state_->pk), MBEDTLS_ECDH_OURS);
  if (rc == 0) rc = mbedtls_ecdh_get_params(&ecdh.ctx, mbedtls_pk_ec(other.state_->pk), MBEDTLS_ECDH_THEIRS);
  if (rc == 0) {
    rc = mbedtls_ecdh_calc_secret(&ecdh.ctx, &size, reinterpret_cast<unsigned char*>(secret.data()),
                                  secret.size(), mbed_random, &random);
  }
  if (rc != 0 || size != secret.size()) return fail(Errc::internal, "key agreement: " + mbed_error(rc));
  return secret;
}

}  // namespace limpet::pki
