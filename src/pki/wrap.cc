#include "pki/wrap.h"

#include <mbedtls/platform_util.h>

#include <algorithm>

#include "base/assert.h"
#include "base/sha256.h"
#include "pki/seal.h"

namespace limpet::pki {

namespace {

constexpr char format_version = 1;
constexpr size_t point_size = 64;
constexpr size_t hash_size = 32;
constexpr size_t block_size = 64;

void forget(std::string& secret) { mbedtls_platform_zeroize(secret.data(), secret.size()); }

// The key that both sides come to.
Result<SealKey> shared_key(const PrivateKey& own, const PublicKey& other, std::string_view ephemeral,
                           std::string_view recipient, Random& random) {
  TRY(std::string secret, own.agree(other, random));
  const std::string info = "limpet wrap 1" + std::string(ephemeral) + std::string(recipient);
  SealKey key;
  std::string bytes = hkdf_sha256(secret, "", info, key.size());
  std::copy(bytes.begin(), bytes.end(), key.begin());
  forget(secret);
  forget(bytes);
  return key;
}

}  // namespace

std::string hmac_sha256(std::string_view key, std::string_view message) {
  std::string block = key.size() > block_size ? sha256_raw(key) : std::string(key);
  block.resize(block_size, '\0');
  std::string inner = block, outer = block;
  for (char& c : inner) c = static_cast<char>(c ^ 0x36);
  for (char& c : outer) c = static_cast<char>(c ^ 0x5c);
  inner += message;
  outer += sha256_raw(inner);
  std::string out = sha256_raw(outer);
  for (std::string* secret : {&block, &inner, &outer}) forget(*secret);
  return out;
}

std::string hkdf_sha256(std::string_view secret, std::string_view salt, std::string_view info, size_t size) {
  LIMPET_ASSERT(size <= 255 * hash_size);
  std::string prk = hmac_sha256(salt, secret);  // an absent salt is one of zeros: the same HMAC key
  std::string out, part;
  for (int i = 1; out.size() < size; ++i) {
    part = hmac_sha256(prk, part + std::string(info) + static_cast<char>(i));
    out += part;
  }
  out.resize(size);
  forget(prk);
  forget(part);
  return out;
}

Result<std::string> wrap(const PublicKey& recipient, std::string_view plain, std::string_view context,
                         Random& random) {
  if (1 + point_size + seal_overhead + plain.size() > max_wrapped)
    return fail(Errc::too_large, "wrap: the secret is too large");
  TRY(PrivateKey ephemeral, PrivateKey::generate(random));
  TRY(PublicKey public_half, ephemeral.public_key());
  const std::string point = public_half.point();
  TRY(const SealKey key, shared_key(ephemeral, recipient, point, recipient.point(), random));
  TRY(const std::string sealed, seal(key, plain, context, random));
  return format_version + point + sealed;
}

Result<std::string> unwrap(const PrivateKey& own, std::string_view wrapped, std::string_view context,
                           Random& random) {
  if (wrapped.size() < 1 + point_size + seal_overhead || wrapped.size() > max_wrapped)
    return fail(Errc::corrupt, strf("wrapped key has %zu bytes, which none has", wrapped.size()));
  if (wrapped[0] != format_version)
    return fail(Errc::corrupt, strf("wrapped key has unknown format %d", static_cast<uint8_t>(wrapped[0])));
  const std::string_view point = wrapped.substr(1, point_size);
  Result<PublicKey> ephemeral = PublicKey::from_point(point);
  if (!ephemeral) return fail(Errc::corrupt, "wrapped key: its public key is no point of the curve");
  TRY(PublicKey recipient, own.public_key());
  TRY(const SealKey key, shared_key(own, *ephemeral, point, recipient.point(), random));
  Result<std::string> plain = open_sealed(key, wrapped.substr(1 + point_size), context);
  if (!plain) return fail(Errc::corrupt, "wrapped key does not open with this device's key at this place");
  return plain;
}

}  // namespace limpet::pki
