#include "pki/stream_seal.h"

#include <mbedtls/gcm.h>
#include <mbedtls/platform_util.h>

#include <algorithm>
#include <array>

#include "base/mbed.h"

namespace limpet::pki {
namespace {

constexpr size_t nonce_size = 12;
constexpr size_t sealed_chunk = stream_chunk + stream_tag;
using Nonce = std::array<unsigned char, nonce_size>;

// What both directions have: the cipher, the number of the next chunk, and bytes that make no whole chunk
// yet.
struct Half {
  mbedtls_gcm_context gcm;
  uint64_t number = 0;
  std::string kept;

  Half() { mbedtls_gcm_init(&gcm); }
  ~Half() {
    mbedtls_gcm_free(&gcm);
    mbedtls_platform_zeroize(kept.data(), kept.size());
  }
  Half(const Half&) = delete;

  Result<> set_key(const SealKey& key) {
    kept.reserve(sealed_chunk);
    const int rc = mbedtls_gcm_setkey(&gcm, MBEDTLS_CIPHER_ID_AES, key.data(), 256);
    if (rc != 0) return fail(Errc::internal, "seal: " + mbed_error(rc));
    return {};
  }
  Nonce nonce(bool last) {
    Nonce out{};
    for (size_t i = 0; i < sizeof number; i++)
      out[nonce_size - 2 - i] = static_cast<unsigned char>(number >> (8 * i));
    out[nonce_size - 1] = last ? 1 : 0;
    return out;
  }
  // Fills `kept` to `size` bytes. True: it is full, and more is there, so that it is not the last.
  bool fill(std::string_view& in, size_t size) {
    const size_t n = std::min(size - kept.size(), in.size());
    kept.append(in.substr(0, n));
    in.remove_prefix(n);
    return kept.size() == size && !in.empty();
  }
};

unsigned char* end_of(std::string& out, size_t more) {
  out.resize(out.size() + more);
  return reinterpret_cast<unsigned char*>(out.data() + out.size() - more);
}

Result<> seal_chunk(Half& half, bool last, std::string& out) {
  const Nonce nonce = half.nonce(last);
  const size_t size = half.kept.size();
  unsigned char* to = end_of(out, size + stream_tag);
  const int rc = mbedtls_gcm_crypt_and_tag(&half.gcm, MBEDTLS_GCM_ENCRYPT, size, nonce.data(), nonce.size(),
                                           nullptr, 0, bytes_of(half.kept), to, stream_tag, to + size);
  if (rc != 0) return fail(Errc::internal, "seal: " + mbed_error(rc));
  half.kept.clear();
  half.number++;
  return {};
}

Result<> open_chunk(Half& half, bool last, std::string& out) {
  if (half.kept.size() < stream_tag || (half.kept.size() == stream_tag && half.number > 0))
    return fail(Errc::corrupt, "its end is missing");
  const Nonce nonce = half.nonce(last);
  const size_t size = half.kept.size() - stream_tag;
  unsigned char* to = end_of(out, size);
  const int rc = mbedtls_gcm_auth_decrypt(&half.gcm, size, nonce.data(), nonce.size(), nullptr, 0,
                                          bytes_of(half.kept) + size, stream_tag, bytes_of(half.kept), to);
  if (rc != 0) {
    out.resize(out.size() - size);
    return fail(Errc::corrupt, strf("it was altered or cut: piece %llu does not open",
                                    static_cast<unsigned long long>(half.number)));
  }
  half.kept.clear();
  half.number++;
  return {};
}

}  // namespace

struct StreamSealer::State : Half {};
struct StreamOpener::State : Half {};

StreamSealer::StreamSealer(std::unique_ptr<State> state) : state_(std::move(state)) {}
StreamSealer::~StreamSealer() = default;
StreamSealer::StreamSealer(StreamSealer&&) noexcept = default;
StreamSealer& StreamSealer::operator=(StreamSealer&&) noexcept = default;

Result<StreamSealer> StreamSealer::make(const SealKey& key) {
  auto state = std::make_unique<State>();
  CHECK_OK(state->set_key(key));
  return StreamSealer(std::move(state));
}

Result<> StreamSealer::update(std::string_view plain, std::string& out) {
  while (!plain.empty()) {
    if (state_->kept.size() == stream_chunk) CHECK_OK(seal_chunk(*state_, false, out));
    if (state_->fill(plain, stream_chunk)) CHECK_OK(seal_chunk(*state_, false, out));
  }
  return {};
}

Result<> StreamSealer::finish(std::string& out) { return seal_chunk(*state_, true, out); }

StreamOpener::StreamOpener(std::unique_ptr<State> state) : state_(std::move(state)) {}
StreamOpener::~StreamOpener() = default;
StreamOpener::StreamOpener(StreamOpener&&) noexcept = default;
StreamOpener& StreamOpener::operator=(StreamOpener&&) noexcept = default;

Result<StreamOpener> StreamOpener::make(const SealKey& key) {
  auto state = std::make_unique<State>();
  CHECK_OK(state->set_key(key));
  return StreamOpener(std::move(state));
}

Result<> StreamOpener::update(std::string_view sealed, std::string& out) {
  while (!sealed.empty()) {
    if (state_->kept.size() == sealed_chunk) CHECK_OK(open_chunk(*state_, false, out));
    if (state_->fill(sealed, sealed_chunk)) CHECK_OK(open_chunk(*state_, false, out));
  }
  return {};
}

Result<> StreamOpener::finish(std::string& out) { return open_chunk(*state_, true, out); }

}  // namespace limpet::pki
