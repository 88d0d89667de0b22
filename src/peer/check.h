// Whether a hello fits the certificate and this device. Pure; internal.
#pragma once

#include <optional>
#include <string>

#include "peer/directory.h"
#include "peer/wire.h"
#include "pki/certificate.h"
#include "pki/device.h"

namespace limpet::peer {

// Whether a dialer has reached that server: TLS has checked the DNS name alone, and that is one which a
// device with another subject might have been given. `unauthenticated`.
Result<> check_server(const std::string& device, const pki::Certificate& certificate);

struct Local {
  MemberId self = 0;
  std::string name;
  std::string cluster;
};

// Of a device whose certificate is of an authority that was replaced while its connection lasts.
Refusal distrusted(const std::string& device);

// Nothing: what can be checked here is right. The texts are read on both devices.
std::optional<Refusal> check(const Local& local, const Directory& directory, const Hello& hello,
                             const pki::Certificate& certificate);

}  // namespace limpet::peer
