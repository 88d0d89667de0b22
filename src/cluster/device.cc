#include "cluster/device.h"

#include <algorithm>
#include <charconv>

#include "base/bytes.h"
#include "base/clock.h"
#include "pki/device.h"
#include "pki/key.h"

namespace limpet::cluster {

namespace {

constexpr std::string_view state_names[] = {"active", "removed", "revoked"};
constexpr size_t member_digits = 16;
constexpr size_t max_host = 253;
constexpr size_t max_version = 64;

bool valid_port(std::string_view text) {
  int port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size() && port > 0 && port < 65536;
}

bool host_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
}
bool address_char(char c) {
  return (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || (c >= '0' && c <= '9') || c == ':' || c == '.';
}

std::unexpected<Error> damaged(const std::string& why) {
  return fail(Errc::corrupt, "the record of a device is damaged: " + why);
}

Result<> read_who(json::Ref in, Device& out) {
  out.name = in["name"].str();
  if (!pki::check_node_name(out.name)) return damaged("no name");
  const auto role = parse_role(in["role"].str());
  if (!role) return damaged("no role");
  out.role = *role;
  out.member = parse_member(in["member"].str());
  if ((out.member != 0) != (out.role == Role::server)) return damaged("member and role do not fit");
  const auto* name = std::find(std::begin(state_names), std::end(state_names), in["state"].str());
  if (name == std::end(state_names)) return damaged("unknown state");
  out.state = static_cast<DeviceState>(name - std::begin(state_names));
  Result<std::string> spki = base64_decode(in["publicKey"].str());
  if (!spki || !pki::PublicKey::from_der(*spki)) return damaged("no public key");
  out.spki = std::move(*spki);
  return {};
}

}  // namespace

std::string device_key(std::string_view name) { return std::string(devices_prefix) + std::string(name); }
std::string member_key(raft::MemberId id) { return std::string(members_prefix) + member_text(id); }

std::string denied_key(std::string_view spki_sha256) {
  return std::string(denied_prefix) + std::string(spki_sha256);
}

std::string denied_record(const Device& device, WallTime at) {
  json::Writer w;
  w.begin_object().field("name", device.name);
  w.field("state", device.state == DeviceState::revoked ? "revoked" : "removed");
  w.field("at", rfc3339(at)).end_object();
  return w.take();
}

std::string member_text(raft::MemberId id) { return hex64(id); }

raft::MemberId parse_member(std::string_view text) {
  if (text.size() != member_digits) return 0;
  const Result<std::string> bytes = unhex(text);
  raft::MemberId id = 0;
  if (bytes) {
    for (const unsigned char byte : *bytes) id = id << 8 | byte;
  }
  return id;
}

bool valid_address(std::string_view address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string_view::npos || !valid_port(address.substr(colon + 1))) return false;
  std::string_view host = address.substr(0, colon);
  if (host.empty() || host.size() > max_host) return false;
  if (host.front() != '[') return std::all_of(host.begin(), host.end(), host_char);
  if (host.back() != ']' || host.size() < 4) return false;
  host = host.substr(1, host.size() - 2);
  return std::all_of(host.begin(), host.end(), address_char);
}

Result<std::vector<std::string>> read_addresses(json::Ref array) {
  std::vector<std::string> out;
  if (!array) return out;
  if (!array.is_array()) return fail(Errc::invalid_argument, "addresses is no list");
  if (array.size() > max_addresses)
    return fail(Errc::too_large,
                strf("%zu addresses: at most %zu are possible", array.size(), max_addresses));
  for (const json::Ref one : array) {
    if (!valid_address(one.str())) return fail(Errc::invalid_argument, "an address is not HOST:PORT");
    out.emplace_back(one.str());
  }
  return out;
}

void write_addresses(json::Writer& w, const std::vector<std::string>& addresses) {
  w.key("addresses").begin_array();
  for (const std::string& one : addresses) w.string(one);
  w.end_array();
}

std::string encode(const Device& device) {
  json::Writer w;
  w.begin_object().field("name", device.name).field("role", role_name(device.role));
  if (device.member != 0) w.field("member", member_text(device.member));
  write_addresses(w, device.addresses);
  w.field("apiPort", device.api_port).field("joined", rfc3339({device.joined_at, 0}));
  w.field("publicKey", base64_encode(device.spki)).field("version", device.version);
  w.field("state", state_names[static_cast<size_t>(device.state)]).end_object();
  return w.take();
}

Result<Device> decode_device(std::string_view text) {
  json::Limits limits;
  limits.max_depth = 4;
  limits.max_values = 256;
  Result<json::Value> parsed = json::parse(text, limits);
  if (!parsed || !parsed->ref().is_object()) return damaged("no JSON object");
  const json::Ref in = parsed->ref();
  Device out;
  CHECK_OK(read_who(in, out));
  Result<std::vector<std::string>> addresses = read_addresses(in["addresses"]);
  if (!addresses) return damaged(addresses.error().message);
  out.addresses = std::move(*addresses);
  const int64_t port = in["apiPort"].integer(default_api_port);
  if (port < 1 || port > 65535) return damaged("apiPort is no port");
  out.api_port = static_cast<int>(port);
  Result<WallTime> joined = parse_rfc3339(in["joined"].str());
  if (!joined) return damaged("joined is no time");
  out.joined_at = joined->seconds;
  out.version = in["version"].str().substr(0, max_version);
  return out;
}

}  // namespace limpet::cluster
