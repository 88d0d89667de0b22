// How an agent goes on being one: it asks a server for the authorities that are trusted, tells which it goes
// by, and gets another certificate before the one that it has ends. Pure: what is known comes in.
//
// POST /limpet/v1/renew over a connection that shows the device's present certificate:
//   {"trusted": [hashes of authorities, as authority.h has them], "csr" (PEM; only for another certificate)}
// answered with
//   {"ca" (PEM, the first signs), "certificate" (PEM; only when there was a csr)}
//
// Who asks is whom the certificate names; nothing else about it is taken from the request. The key stays, so
// that a renewed certificate gives nothing to whoever has the present one and its key but time, and is denied
// with it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "cluster/authority.h"
#include "cluster/device.h"
#include "cluster/join.h"
#include "pki/certificate.h"

namespace limpet::cluster {

constexpr size_t max_renew_request = 16 * 1024;
constexpr size_t max_renew_answer = 256 * 1024;

struct RenewRequest {
  std::vector<std::string> trusted;
  std::string csr_pem;
};
std::string encode(const RenewRequest& request);
// Hostile bytes are fine. `invalid_argument` or `too_large`, with what is wrong.
Result<RenewRequest> decode_renew_request(std::string_view body);

struct RenewAnswer {
  std::string ca_pem;
  std::string certificate_pem;
};
std::string encode(const RenewAnswer& answer);
// `corrupt`, with what is wrong. Certificates are looked at by pki::install_renewed.
Result<RenewAnswer> decode_renew_answer(std::string_view body);

// Whose certificate it is that was shown, and by whom it was issued.
struct Shown {
  std::string name;    // of the agent
  std::string issuer;  // hash of the authority
};
// `unauthenticated`: no device's, or of an authority that is none of trusted_pem any more; `expired`: it is
// not valid at this time; `invalid_argument`: a server's, which makes its own.
Result<Shown> check_shown(const pki::Certificate& certificate, std::string_view trusted_pem, WallTime now);

// Whether this is still the device that joined. holder: what is on record of the name; denied: of its key.
// `permission_denied`, with what to do.
Result<> check_holder(const pki::Certificate& certificate, const std::optional<Device>& holder,
                      const std::optional<DeniedKey>& denied);

}  // namespace limpet::cluster
