// P-256 keys (FIPS 186-5), for signatures (ECDSA) and key agreement (ECDH): the only kind limpet makes.
// Certificates of others may hold RSA; those are parsed and verified by mbedTLS, not here.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/random.h"
#include "base/result.h"

namespace limpet::pki {

class PublicKey {
 public:
  PublicKey();
  ~PublicKey();
  PublicKey(PublicKey&&) noexcept;
  PublicKey& operator=(PublicKey&&) noexcept;
  // SubjectPublicKeyInfo in DER, or PEM "PUBLIC KEY". P-256 only.
  static Result<PublicKey> from_der(std::string_view spki);
  static Result<PublicKey> from_pem(const std::string& pem);
  // From the 64 bytes x || y of a point; `invalid_argument` when it is not on the curve.
  static Result<PublicKey> from_point(std::string_view point);

  const std::string& spki() const { return spki_; }
  std::string point() const;  // the 64 bytes x || y
  // True when `signature` (64 bytes r || s, as in RFC 7518) is this key's over the SHA-256 of message.
  bool verify_raw(std::string_view message, std::string_view signature) const;

 private:
  friend class PrivateKey;
  struct State;
  std::unique_ptr<State> state_;
  std::string spki_;
};

class PrivateKey {
 public:
  PrivateKey();
  ~PrivateKey();
  PrivateKey(PrivateKey&&) noexcept;
  PrivateKey& operator=(PrivateKey&&) noexcept;

  static Result<PrivateKey> generate(Random& random);
  // PKCS#8 or SEC1, unencrypted, P-256; anything else is an error that says so.
  static Result<PrivateKey> from_pem(const std::string& pem, Random& random);
  Result<std::string> to_pem() const;  // SEC1, "EC PRIVATE KEY"

  const std::string& spki() const { return spki_; }  // of its public half
  Result<PublicKey> public_key() const { return PublicKey::from_der(spki_); }
  // Over the SHA-256 of message: as DER (X.509) and as r || s (JWS). random blinds against timing.
  Result<std::string> sign_der(std::string_view message, Random& random) const;
  Result<std::string> sign_raw(std::string_view message, Random& random) const;
  // What both sides of an exchange of public keys can compute, and nobody else (ECDH, NIST SP 800-56A section
  // 5.7.1.2): 32 bytes, the x of the shared point. Not uniform: a key is made of it by hkdf_sha256 (wrap.h).
  Result<std::string> agree(const PublicKey& other, Random& random) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
  std::string spki_;
};

}  // namespace limpet::pki
