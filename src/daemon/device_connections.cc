#include "daemon/device_connections.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "pki/certificate.h"
#include "pki/device.h"

namespace limpet::daemon {
namespace {

bool is_of_a_device(const pki::Certificate& certificate) {
  const auto& groups = certificate.subject.organizations;
  return std::find(groups.begin(), groups.end(), pki::nodes_group) != groups.end();
}

}  // namespace

std::unique_ptr<loop::Stream> DeviceConnections::hold(std::unique_ptr<loop::Stream> stream,
                                                      std::string_view certificate_der) {
  if (certificate_der.empty()) return stream;
  const auto certificate = pki::parse_certificate(certificate_der);
  if (!certificate || !is_of_a_device(*certificate)) return stream;
  const auto at = held_->insert(held_->end(),
                                Held{certificate->spki_sha256(), certificate->subject.common_name, nullptr});
  auto channel =
      std::make_unique<peer::Channel>(loop_, std::move(stream), "", [held = held_, at] { held->erase(at); });
  at->channel = channel->handle();
  return channel;
}

void DeviceConnections::recheck(const std::function<bool(const std::string& key)>& denied) {
  for (const Held& one : *held_) {
    // Cut once already, and not let go yet by who serves it.
    if (!denied(one.key) || (*one.channel)->is_cut()) continue;
    log::notice("a connection of a device that is not of this cluster any more is cut",
                {{"user", one.name}, {"peer", (*one.channel)->peer()}});
    (*one.channel)->cut({Errc::permission_denied, "the connection was cut: " + one.name + " was removed", 0});
  }
}

}  // namespace limpet::daemon
