#include "daemon/tls_dialer.h"

namespace limpet::daemon {

std::unique_ptr<http::Dialer::Dial> TlsDialer::connect(loop::Loop& loop, const http::Origin& where,
                                                       int64_t timeout_ms, Done done) {
  return PlainDialer::connect(
      loop, where, timeout_ms,
      [keep = keep_, done = std::move(done)](Result<std::unique_ptr<loop::Stream>> s) {
        if (s) loop::set_keep_alive(**s, keep);
        done(std::move(s));
      });
}

std::unique_ptr<http::Dialer::Dial> TlsDialer::secure(loop::Loop&, std::unique_ptr<loop::Stream> stream,
                                                      const http::Origin& origin, Done done) {
  struct Securing final : Dial {
    std::unique_ptr<tls::Handshake> handshake;
  };
  auto dial = std::make_unique<Securing>();
  dial->handshake = tls::wrap_client(context_, std::move(stream), origin.host,
                                     [done = std::move(done)](Result<std::unique_ptr<tls::Stream>> s) {
                                       if (!s) return done(std::unexpected(std::move(s).error()));
                                       done(std::unique_ptr<loop::Stream>(std::move(*s)));
                                     });
  return dial;
}

}  // namespace limpet::daemon
