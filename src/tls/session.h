// One connection's mbedTLS state with memory instead of a socket on its far side. Internal.
//
// Touched by one thread at a time: by a pool thread during a handshake step, by the loop's thread otherwise.
#pragma once

#include <mbedtls/ssl.h>

#include <atomic>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "tls/config.h"

namespace limpet::tls {

class Session {
 public:
  // What a connection holds in memory: the two record buffers and everything around them, roughly.
  static constexpr int64_t estimated_bytes =
      MBEDTLS_SSL_IN_CONTENT_LEN + MBEDTLS_SSL_OUT_CONTENT_LEN + 4 * 1024;

  Session(std::shared_ptr<Config> config, std::shared_ptr<std::atomic<int64_t>> connections);
  ~Session();
  Session(const Session&) = delete;
  // `peer` is what errors call the other side; for clients also the name its certificate must be for.
  Result<> set_up(const std::string& peer);

  enum class Step { done, wants_more, failed };
  // Goes on with the handshake as far as the bytes in `in` reach, as of this time. After `failed`, error says
  // why.
  Step handshake(WallTime now);
  // What a fatal alert after that says. It may be about the handshake still: a client of TLS 1.3 is through
  // before the server has seen its certificate. `permission_denied` when it is refused, else `io`.
  Error alert() const;

  // Bytes from and for the network.
  std::string in;
  size_t in_at = 0;              // of `in`, consumed
  std::string_view in_borrowed;  // read after `in`; valid during one call only
  bool in_ended = false;
  std::string out;

  mbedtls_ssl_context ssl;
  std::shared_ptr<Config> config;
  Error error;
  std::string peer_certificate;  // DER
  bool resumed = false;
  std::string_view alpn;
  std::string_view protocol;

 private:
  static int send(void* context, const unsigned char* data, size_t size);
  static int receive(void* context, unsigned char* data, size_t size);
  static int verify(void* context, mbedtls_x509_crt* certificate, int depth, uint32_t* flags);
  std::string problem_of(const mbedtls_x509_crt& certificate, int depth, uint32_t flags) const;
  Result<> after_handshake();
  std::string off_pin() const;
  const mbedtls_x509_crt* pinned_in(const mbedtls_x509_crt& chain) const;
  Result<> verify_pinned(const mbedtls_x509_crt& chain);
  Error why(int rc);
  std::string who(const mbedtls_x509_crt& leaf) const;

  std::shared_ptr<std::atomic<int64_t>> connections_;
  std::string peer_;
  WallTime now_;
  std::string problem_;  // the first one found with the peer's certificates
  bool problem_is_time_ = false;
  bool verified_ = false;  // mbedTLS asked us about a certificate
  bool offered_session_ = false;
  int first_byte_ = -1;         // received: 22 begins a handshake, 21 an alert, all else is no TLS
  unsigned char tail_[7] = {};  // the last bytes received, where a plain alert would stand
};

}  // namespace limpet::tls
