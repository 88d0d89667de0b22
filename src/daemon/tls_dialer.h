// Connections to the API of other servers: TCP that notices a dead link, and TLS with the device's
// certificate.
//
// Owned by the wiring; the context outlives it and every dial. Loop thread only.
#pragma once

#include "http/client.h"
#include "loop/stream.h"
#include "tls/tls.h"

namespace limpet::daemon {

// A link that is dead is noticed within 35 s, for about 400 bytes a minute and idle connection; on a metered
// one within ten minutes, for 30 bytes a minute.
constexpr loop::KeepAlive keep_alive_lan{.idle_s = 15, .interval_s = 5, .count = 4};
constexpr loop::KeepAlive keep_alive_metered{.idle_s = 300, .interval_s = 60, .count = 5};

class TlsDialer final : public http::PlainDialer {
 public:
  TlsDialer(tls::ClientContext& context, loop::KeepAlive keep) : context_(context), keep_(keep) {}
  std::unique_ptr<Dial> connect(loop::Loop& loop, const http::Origin& where, int64_t timeout_ms,
                                Done done) override;
  std::unique_ptr<Dial> secure(loop::Loop& loop, std::unique_ptr<loop::Stream> stream,
                               const http::Origin& origin, Done done) override;

 private:
  tls::ClientContext& context_;
  loop::KeepAlive keep_;
};

}  // namespace limpet::daemon
