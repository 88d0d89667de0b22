#include "pki/seal.h"

#include <mbedtls/gcm.h>

#include <algorithm>

#include "base/atomic_file.h"
#include "base/mbed.h"

namespace limpet::pki {

namespace {

constexpr char format_version = 1;
constexpr size_t nonce_size = 12;
constexpr size_t tag_size = 16;

class Gcm {
 public:
  Gcm() { mbedtls_gcm_init(&ctx_); }
  ~Gcm() { mbedtls_gcm_free(&ctx_); }
  Gcm(const Gcm&) = delete;
  int set_key(const SealKey& key) {
    return mbedtls_gcm_setkey(&ctx_, MBEDTLS_CIPHER_ID_AES, key.data(), 256);
  }
  mbedtls_gcm_context* get() { return &ctx_; }

 private:
  mbedtls_gcm_context ctx_;
};

unsigned char* writable(std::string& s, size_t at) { return reinterpret_cast<unsigned char*>(s.data() + at); }

}  // namespace

Result<std::string> seal(const SealKey& key, std::string_view plain, std::string_view context,
                         Random& random) {
  Gcm gcm;
  int rc = gcm.set_key(key);
  if (rc != 0) return fail(Errc::internal, "seal: " + mbed_error(rc));
  std::string out(seal_overhead + plain.size(), '\0');
  out[0] = format_version;
  random.fill(writable(out, 1), nonce_size);
  size_t body = 1 + nonce_size;
  rc = mbedtls_gcm_crypt_and_tag(gcm.get(), MBEDTLS_GCM_ENCRYPT, plain.size(), writable(out, 1), nonce_size,
                                 bytes_of(context), context.size(), bytes_of(plain), writable(out, body),
                                 tag_size, writable(out, body + plain.size()));
  if (rc != 0) return fail(Errc::internal, "seal: " + mbed_error(rc));
  return out;
}

Result<std::string> open_sealed(const SealKey& key, std::string_view sealed, std::string_view context) {
  if (sealed.size() < seal_overhead) return fail(Errc::corrupt, "sealed value is cut short");
  if (sealed[0] != format_version) {
    return fail(Errc::corrupt, strf("sealed value has unknown format %d", static_cast<uint8_t>(sealed[0])));
  }
  Gcm gcm;
  int rc = gcm.set_key(key);
  if (rc != 0) return fail(Errc::internal, "open sealed value: " + mbed_error(rc));
  std::string_view nonce = sealed.substr(1, nonce_size);
  std::string_view body = sealed.substr(1 + nonce_size, sealed.size() - seal_overhead);
  std::string_view tag = sealed.substr(sealed.size() - tag_size);
  std::string plain(body.size(), '\0');
  rc =
      mbedtls_gcm_auth_decrypt(gcm.get(), body.size(), bytes_of(nonce), nonce.size(), bytes_of(context),
                               context.size(), bytes_of(tag), tag.size(), bytes_of(body), writable(plain, 0));
  if (rc != 0) return fail(Errc::corrupt, "sealed value does not open with this device's key");
  return plain;
}

Result<SealKey> load_or_create_seal_key(const std::string& path, Random& random) {
  SealKey key;
  Result<std::string> bytes = read_file(path, 4096);
  if (bytes) {
    if (bytes->size() != key.size()) {
      return fail(Errc::corrupt,
                  strf("%s has %zu bytes, not %zu: restore it from a backup, or remove it together with "
                       "node.db",
                       path.c_str(), bytes->size(), key.size()));
    }
    std::copy(bytes->begin(), bytes->end(), key.begin());
    return key;
  }
  if (bytes.error().code != Errc::not_found) return std::unexpected(std::move(bytes).error());
  random.fill(key.data(), key.size());
  CHECK_OK(write_file_atomic(path, {reinterpret_cast<const char*>(key.data()), key.size()}, 0600,
                             "pki.seal_key.write"));
  return key;
}

}  // namespace limpet::pki
