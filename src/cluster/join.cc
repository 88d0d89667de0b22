#include "cluster/join.h"

#include <algorithm>
#include <charconv>

#include "pki/device.h"
#include "pki/key.h"

namespace limpet::cluster {

namespace {

struct Version {
  int major = 0;
  int minor = 0;
};

// MAJOR.MINOR, and whatever follows after another dot.
std::optional<Version> parse_version(std::string_view text) {
  Version out;
  const char* end = text.data() + text.size();
  const auto major = std::from_chars(text.data(), end, out.major);
  if (major.ec != std::errc() || major.ptr == end || *major.ptr != '.') return {};
  const auto minor = std::from_chars(major.ptr + 1, end, out.minor);
  if (minor.ec != std::errc() || minor.ptr == end || *minor.ptr != '.') return {};
  return out.major >= 0 && out.minor >= 0 ? std::optional(out) : std::nullopt;
}

std::string joined_text(const std::vector<std::string>& list) {
  std::string out;
  for (const std::string& one : list) out += (out.empty() ? "" : ", ") + one;
  return out;
}

std::unexpected<Error> held(const Device& holder) {
  return fail(Errc::already_exists,
              "the name " + holder.name + " is held by " +
                  (holder.role == Role::server ? "a server" : "an agent") +
                  (holder.addresses.empty() ? "" : " at " + joined_text(holder.addresses)) +
                  " that joined at " + rfc3339({holder.joined_at, 0}) +
                  ": give this device another nodeName, or remove that one (limpet node "
                  "remove " +
                  holder.name + ")");
}

std::unexpected<Error> revoked(const std::string& name) {
  return fail(Errc::permission_denied, "the key of this device was revoked, as that of " + name +
                                           ": remove its identity (limpet reset) before it joins again");
}

// Whether the name is this device's already; an error when it is another's.
Result<bool> is_again(const Known& known, const JoinRequest& request, const std::string& self) {
  if (known.denied && known.denied->revoked) return revoked(known.denied->name);
  if (!known.holder) return false;
  const Device& holder = *known.holder;
  const bool same_key = holder.spki == known.spki;
  if (holder.state == DeviceState::revoked && same_key) return revoked(holder.name);
  if (holder.state != DeviceState::active) return false;
  // The server that decides is there: whoever has its name and its key as well is a copy of it.
  if (!same_key || holder.role != request.role || request.name == self) return held(holder);
  return true;
}

// The API is reached by these names (serving_names() of the daemon, and what the cluster's DNS answers), and
// nobody who dials one of them may meet a device instead.
Result<> check_not_the_api(std::string_view name, std::string_view domain) {
  const bool own =
      name == "localhost" || name == "kubernetes" || name == "kubernetes.default" ||
      name.starts_with("kubernetes.default.") || name.ends_with(".svc") ||
      name.find(".svc.") != std::string_view::npos ||
      (!domain.empty() &&
       (name == domain || (name.ends_with(domain) && name[name.size() - domain.size() - 1] == '.')));
  if (!own) return {};
  return fail(Errc::invalid_argument, "the name " + std::string(name) +
                                          " is one of the API and the services of the cluster: give this "
                                          "device another nodeName");
}

// A store file that was copied would make two members of one.
Result<> check_member(const JoinRequest& request, const std::vector<Device>& servers) {
  for (const Device& one : servers) {
    if (one.member == request.member && one.name != request.name) {
      return fail(Errc::already_exists, "the store of this device is a copy of that of " + one.name +
                                            ": remove it (dataDir) before the device joins");
    }
  }
  return {};
}

Result<std::string> certify(const pki::Authority& authority, std::string_view spki, const pki::DeviceId& id,
                            const pki::Moment& moment, Random& random) {
  TRY(const pki::Certificate ca, pki::parse_certificate(authority.certificate_pem));
  return pki::issue(authority, spki, pki::device_subject(id), pki::device_names(id), pki::device_use(id),
                    pki::leaf_validity(ca.validity(), moment), random);
}

Result<std::vector<std::string>> trusted_hashes(std::string_view ca_pem) {
  TRY(const std::vector<pki::Certificate> list, pki::parse_bundle(ca_pem));
  std::vector<std::string> out;
  for (const pki::Certificate& one : list) out.push_back(one.spki_sha256());
  return out;
}

Device device_from(const JoinRequest& request, std::string spki, int64_t joined_at) {
  Device out;
  out.name = request.name;
  out.role = request.role;
  out.member = request.member;
  out.addresses = request.addresses;
  out.api_port = request.api_port;
  out.joined_at = joined_at;
  out.spki = std::move(spki);
  out.version = request.version;
  return out;
}

}  // namespace

Result<> check_versions(std::string_view device, std::string_view cluster) {
  const std::optional<Version> theirs = parse_version(device), ours = parse_version(cluster);
  if (!theirs || !ours) return fail(Errc::invalid_argument, "the version of limpet is not MAJOR.MINOR.PATCH");
  if (theirs->major == ours->major && std::abs(theirs->minor - ours->minor) <= 1) return {};
  const bool newer = theirs->major != ours->major ? theirs->major > ours->major : theirs->minor > ours->minor;
  return fail(Errc::unsupported,
              "the device runs limpet " + std::string(device) + " and the cluster " + std::string(cluster) +
                  ", which may be one minor version apart: upgrade the " + (newer ? "cluster" : "device"));
}

Result<DeniedKey> decode_denied(std::string_view text) {
  json::Limits limits;
  limits.max_depth = 2;
  limits.max_values = 64;
  const Result<json::Value> parsed = json::parse(text, limits);
  if (!parsed || !parsed->ref().is_object())
    return fail(Errc::corrupt, "the record of a denied key is damaged: no JSON object");
  const json::Ref in = parsed->ref();
  // A state that only a newer limpet knows must not let a key in.
  const bool removed = !in["state"] || in["state"].str() == "removed";
  if (!removed && in["state"].str() != "revoked")
    return fail(Errc::corrupt, "the record of a denied key is damaged: unknown state");
  return DeniedKey{std::string(in["name"].str()), !removed};
}

Result<std::string> requested_key(std::string_view csr_pem) {
  if (csr_pem.size() > max_csr) return fail(Errc::too_large, "the certificate request is too large");
  TRY(const pki::Request request, pki::parse_request(csr_pem));
  Result<pki::PublicKey> key = pki::PublicKey::from_der(request.spki);
  if (!key) return fail(Errc::invalid_argument, "certificate request: " + key.error().message);
  return request.spki;
}

Result<> check_bearer(const JoinRequest& request, const Token& token, json::Ref secret,
                      std::string_view ca_pem, WallTime now) {
  TRY(const std::vector<std::string> trusted, trusted_hashes(ca_pem));
  return check_token(token, secret, trusted, request.role, true, now);
}

Result<Admission> admit(const JoinRequest& request, const Token& token, const Known& known,
                        const Cluster& cluster, const pki::Moment& moment, Random& random) {
  TRY(const std::vector<std::string> trusted, trusted_hashes(cluster.ca_pem));
  // Who shows no good token hears nothing of names.
  const Result<bool> again = is_again(known, request, cluster.self);
  CHECK_OK(check_token(token, known.secret, trusted, request.role, again.value_or(false), moment.believed));
  if (!again) return std::unexpected(again.error());
  CHECK_OK(check_versions(request.version, cluster.version));
  CHECK_OK(pki::check_node_name(request.name));
  CHECK_OK(check_not_the_api(request.name, cluster.domain));
  if (request.role == Role::server) CHECK_OK(check_member(request, cluster.servers));

  Admission out;
  TRY(out.answer.certificate_pem,
      certify(*cluster.authority, known.spki, {request.name, request.role == Role::server}, moment, random));
  out.answer.cluster_id = cluster.id;
  out.answer.ca_pem = cluster.ca_pem;
  for (const Device& one : cluster.servers)
    out.answer.servers.push_back({one.name, one.member, one.addresses, one.api_port});
  if (request.role == Role::server) out.answer.keys = cluster.keys;
  out.device = device_from(request, known.spki, *again ? known.holder->joined_at : moment.believed.seconds);
  out.takes_use = !*again;
  if (*again && known.holder->member != request.member) out.replaces = known.holder->member;
  return out;
}

Result<std::string> renew(const Device& device, std::string_view csr_pem, const pki::Authority& authority,
                          const pki::Moment& moment, Random& random) {
  if (device.state != DeviceState::active)
    return fail(Errc::permission_denied, "the device " + device.name + " is not of this cluster any more");
  TRY(const std::string spki, requested_key(csr_pem));
  if (spki != device.spki) {
    return fail(Errc::permission_denied,
                "the certificate of " + device.name + " is renewed for the key with which it joined only");
  }
  return certify(authority, spki, {device.name, device.role == Role::server}, moment, random);
}

}  // namespace limpet::cluster
