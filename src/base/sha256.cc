#include "base/sha256.h"

#include <mbedtls/sha256.h>
#include <mbedtls/version.h>

#include "base/assert.h"
#include "base/bytes.h"

namespace limpet {

namespace {
// mbedTLS 2.28 has the int-returning functions under another name; the plain names are deprecated there.
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
constexpr auto starts = mbedtls_sha256_starts;
constexpr auto feed = mbedtls_sha256_update;
constexpr auto end = mbedtls_sha256_finish;
#else
constexpr auto starts = mbedtls_sha256_starts_ret;
constexpr auto feed = mbedtls_sha256_update_ret;
constexpr auto end = mbedtls_sha256_finish_ret;
#endif
}  // namespace

struct Sha256::State {
  mbedtls_sha256_context ctx;
  State() {
    mbedtls_sha256_init(&ctx);
    LIMPET_ASSERT(starts(&ctx, 0) == 0);
  }
  ~State() { mbedtls_sha256_free(&ctx); }
  State(const State&) = delete;
};

Sha256::Sha256() : state_(std::make_unique<State>()) {}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::update(std::string_view bytes) {
  int rc = feed(&state_->ctx, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  LIMPET_ASSERT(rc == 0);  // software SHA-256 fails only on misuse
}

Sha256Digest Sha256::finish() {
  Sha256Digest out;
  LIMPET_ASSERT(end(&state_->ctx, out.data()) == 0);
  LIMPET_ASSERT(starts(&state_->ctx, 0) == 0);
  return out;
}

Sha256 Sha256::copy() const {
  Sha256 out;
  mbedtls_sha256_clone(&out.state_->ctx, &state_->ctx);
  return out;
}

std::string Sha256::finish_hex() {
  Sha256Digest d = finish();
  return hex({reinterpret_cast<const char*>(d.data()), d.size()});
}

Sha256Digest sha256(std::string_view bytes) {
  Sha256 h;
  h.update(bytes);
  return h.finish();
}

std::string sha256_hex(std::string_view bytes) {
  Sha256 h;
  h.update(bytes);
  return h.finish_hex();
}

std::string sha256_raw(std::string_view bytes) {
  Sha256Digest d = sha256(bytes);
  return std::string(reinterpret_cast<const char*>(d.data()), d.size());
}

}  // namespace limpet
