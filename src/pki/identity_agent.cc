// The identity of a device that can sign nothing: what the join brought (install.h), checked, and whether a
// server is to be asked for another certificate.
#include <algorithm>

#include "pki/device.h"
#include "pki/files.h"
#include "pki/identity.h"

namespace limpet::pki {

namespace {

constexpr std::string_view join_again = "; let the device join with a new token (limpet join)";

std::unexpected<Error> damaged(const IdentityOptions& options, const std::string& why) {
  return fail(Errc::corrupt, options.directory + ": " + why + std::string(join_again));
}

bool signed_by(const Certificate& certificate, const Certificate& ca) {
  return verify_signed_by(certificate, ca, {certificate.not_before, 0}).has_value();
}

Result<> check_configured(const DeviceId& joined, const IdentityOptions& options) {
  if (joined == DeviceId{options.node_name, false}) return {};
  return fail(Errc::invalid_argument,
              std::string("this device joined as the ") + (joined.server ? "server " : "agent ") +
                  joined.name + " and is now configured as the agent " + options.node_name +
                  ": set role and nodeName back, or remove " + options.directory + " and join anew");
}

}  // namespace

Result<Identity> agent_identity(const IdentityOptions& options, const Moment& moment, Random& random) {
  Identity out;
  remove_temporaries(options.directory);
  TRY(out.ca_pem, read_if_there(options.directory + "/ca.crt"));
  TRY(out.peer_pem, read_if_there(options.directory + "/node.crt"));
  TRY(out.peer_key_pem, read_if_there(options.directory + "/node.key"));
  if (out.ca_pem.empty() || out.peer_pem.empty() || out.peer_key_pem.empty()) {
    return fail(Errc::not_found, "this device has not joined a cluster: " + options.directory +
                                     " lacks ca.crt, node.crt or node.key" + std::string(join_again));
  }
  Result<std::vector<Certificate>> trusted = parse_bundle(out.ca_pem);
  if (!trusted) return damaged(options, "ca.crt: " + trusted.error().message);
  Result<Certificate> have = parse_certificate(out.peer_pem);
  if (!have) return damaged(options, "node.crt: " + have.error().message);
  Result<PrivateKey> key = PrivateKey::from_pem(out.peer_key_pem, random);
  if (!key || key->spki() != have->spki)
    return damaged(options, "node.key and node.crt do not belong together");
  if (std::none_of(trusted->begin(), trusted->end(), [&](const auto& ca) { return signed_by(*have, ca); }))
    return damaged(options, "node.crt was issued by none of the authorities in ca.crt");
  TRY(const DeviceId joined, device_of(*have));
  CHECK_OK(check_configured(joined, options));
  const Certificate& signer = trusted->front();
  out.due = signed_by(*have, signer) ? leaf_due(have->validity(), signer.validity(), moment)
                                     : "issued by another authority";
  out.renew_at = leaf_renewal(have->validity());
  return out;
}

}  // namespace limpet::pki
