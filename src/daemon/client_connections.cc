#include "daemon/client_connections.h"

#include <utility>

#include "base/log.h"
#include "pki/certificate.h"

namespace limpet::daemon {

std::unique_ptr<loop::Stream> ClientConnections::hold(std::unique_ptr<loop::Stream> stream,
                                                      std::string_view certificate_der) {
  if (certificate_der.empty()) return stream;
  const auto certificate = pki::parse_certificate(certificate_der);
  if (!certificate) return stream;  // and no user to anybody
  const auto at =
      held_->insert(held_->end(), Held{certificate->spki_sha256(), certificate->subject.common_name,
                                       std::string(certificate_der), nullptr});
  auto channel =
      std::make_unique<peer::Channel>(loop_, std::move(stream), "", [held = held_, at] { held->erase(at); });
  at->channel = channel->handle();
  return channel;
}

void ClientConnections::cut_denied(const std::function<bool(const std::string& key)>& denied) {
  for (const Held& one : *held_) {
    if (denied(one.key)) cut(one, "it was removed from this cluster");
  }
}

void ClientConnections::cut_distrusted(const pki::Trust& trust) {
  for (const Held& one : *held_) {
    const auto certificate = pki::parse_certificate(one.der);
    if (certificate && !trust.issued(*certificate))
      cut(one, "its certificate is of an authority that is not trusted any more");
  }
}

void ClientConnections::cut(const Held& one, const char* why) {
  if ((*one.channel)->is_cut()) return;  // and not let go yet by who serves it
  log::notice("a connection is cut", {{"user", one.name}, {"peer", (*one.channel)->peer()}, {"why", why}});
  (*one.channel)->cut({Errc::permission_denied, "the connection of " + one.name + " was cut: " + why, 0});
}

}  // namespace limpet::daemon
