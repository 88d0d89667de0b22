#include "cluster/renewal.h"

#include "base/json.h"
#include "cluster/trust.h"
#include "pki/device.h"

namespace limpet::cluster {

namespace {

constexpr size_t hash_digits = 64;
constexpr size_t max_bundle = 128 * 1024, max_certificate = 16 * 1024;
constexpr std::string_view join_again = ": let it join again with a new token (limpet join)";

Result<json::Value> parse_object(std::string_view body, size_t max_size) {
  if (body.size() > max_size) return fail(Errc::too_large, strf("more than %zu bytes", max_size));
  json::Limits limits;
  limits.max_depth = 4;
  limits.max_values = 2 * max_trusted;
  TRY(json::Value value, json::parse(body, limits));
  if (!value.ref().is_object()) return fail(Errc::invalid_argument, "not a JSON object");
  return value;
}

// "" when it is not there.
Result<std::string> text(json::Ref in, const char* key, size_t max_size) {
  const json::Ref value = in[key];
  if (!value) return std::string();
  if (!value.is_string()) return fail(Errc::invalid_argument, std::string(key) + " is no text");
  if (value.str().size() > max_size)
    return fail(Errc::too_large, strf("%s is longer than %zu bytes", key, max_size));
  return std::string(value.str());
}

bool is_hash(std::string_view s) {
  return s.size() == hash_digits && s.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

Result<RenewRequest> read_request(json::Ref in) {
  RenewRequest out;
  TRY(out.csr_pem, text(in, "csr", max_csr));
  const json::Ref trusted = in["trusted"];
  if (!trusted.is_array()) return fail(Errc::invalid_argument, "trusted is no list");
  if (trusted.size() > max_trusted)
    return fail(Errc::too_large,
                strf("%zu authorities: at most %zu are possible", trusted.size(), max_trusted));
  for (const json::Ref one : trusted) {
    if (!is_hash(one.str())) return fail(Errc::invalid_argument, "trusted holds what is no hash of a key");
    out.trusted.emplace_back(one.str());
  }
  return out;
}

Result<RenewAnswer> read_answer(json::Ref in) {
  RenewAnswer out;
  TRY(out.ca_pem, text(in, "ca", max_bundle));
  if (out.ca_pem.empty()) return fail(Errc::invalid_argument, "ca is missing");
  TRY(out.certificate_pem, text(in, "certificate", max_certificate));
  return out;
}

}  // namespace

std::string encode(const RenewRequest& request) {
  json::Writer w;
  w.begin_object().key("trusted").begin_array();
  for (const std::string& hash : request.trusted) w.string(hash);
  w.end_array();
  if (!request.csr_pem.empty()) w.field("csr", request.csr_pem);
  w.end_object();
  return w.take();
}

Result<RenewRequest> decode_renew_request(std::string_view body) {
  const auto decode = [&]() -> Result<RenewRequest> {
    TRY(const json::Value value, parse_object(body, max_renew_request));
    return read_request(value.ref());
  };
  Result<RenewRequest> out = decode();
  if (!out) return std::unexpected(std::move(out).error().with("request of an agent"));
  return out;
}

std::string encode(const RenewAnswer& answer) {
  json::Writer w;
  w.begin_object().field("ca", answer.ca_pem);
  if (!answer.certificate_pem.empty()) w.field("certificate", answer.certificate_pem);
  w.end_object();
  return w.take();
}

Result<RenewAnswer> decode_renew_answer(std::string_view body) {
  const auto decode = [&]() -> Result<RenewAnswer> {
    TRY(const json::Value value, parse_object(body, max_renew_answer));
    return read_answer(value.ref());
  };
  Result<RenewAnswer> out = decode();
  if (!out) return fail(Errc::corrupt, "the cluster's answer cannot be used: " + out.error().message);
  return out;
}

Result<Shown> check_shown(const pki::Certificate& certificate, std::string_view trusted_pem, WallTime now) {
  TRY(const pki::DeviceId id, pki::device_of(certificate));
  if (id.server) {
    return fail(
        Errc::invalid_argument,
        id.name + " shows the certificate of a server, which makes its own: limpet cert rotate there");
  }
  TRY(const std::vector<pki::Certificate> trusted, pki::parse_bundle(trusted_pem));
  for (const pki::Certificate& one : trusted) {
    if (!pki::verify_signed_by(certificate, one, {certificate.not_before, 0})) continue;
    if (certificate.valid_at(now)) return Shown{id.name, one.spki_sha256()};
    return fail(Errc::expired, "the certificate of " + id.name + " is valid from " +
                                   rfc3339({certificate.not_before, 0}) + " to " +
                                   rfc3339({certificate.not_after, 0}) + ", and it is " + rfc3339(now) +
                                   std::string(join_again));
  }
  return fail(Errc::unauthenticated, "the certificate of " + id.name +
                                         " is of an authority that this cluster does not trust" +
                                         std::string(join_again));
}

Result<> check_holder(const pki::Certificate& certificate, const std::optional<Device>& holder,
                      const std::optional<DeniedKey>& denied) {
  TRY(const pki::DeviceId id, pki::device_of(certificate));
  const auto no = [&](const std::string& why) {
    return fail(Errc::permission_denied, id.name + why + std::string(join_again));
  };
  if (denied) return no(denied->revoked ? " was revoked" : " was removed from this cluster");
  if (!holder) return no(" is not known to this cluster");
  if (holder->state != DeviceState::active) return no(" was removed from this cluster");
  if (holder->role != Role::agent) return no(" is a server by now, and this is the certificate of an agent");
  if (holder->spki != certificate.spki) return no(" is another device by now");
  return {};
}

}  // namespace limpet::cluster
