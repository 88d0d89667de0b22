// What links, acceptor and dials of one device share. Owned by Peers::Impl, outlives them. Internal.
#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/random.h"
#include "peer/directory.h"
#include "peer/patience.h"
#include "peer/peers.h"
#include "peer/rate_log.h"
#include "pki/trust.h"
#include "tls/tls.h"

namespace limpet::peer {

struct Core {
  loop::Loop& loop;
  tls::Engine& engine;
  Clock& clock;
  Random& random;
  PeersOptions options;
  PeersCallbacks callbacks;
  Directory directory = {};
  pki::Trust trust = {};
  std::unique_ptr<tls::ClientContext> client = nullptr;
  uint64_t session = 0;
  uint16_t port = 0;  // listened on
  RateLog log = {};
  Patience patience{options.timing.hello_ms, options.timing.longest_hello_ms()};

  About about() const {
    return {options.self, session, options.name, options.software, port, options.addresses};
  }
  Hello hello(Kind kind, MemberId wanted, uint64_t stream) const {
    return {kMaxVersion, kind, options.cluster, wanted, stream, about()};
  }
};

}  // namespace limpet::peer
