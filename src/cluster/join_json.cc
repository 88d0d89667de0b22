// The two bodies of a join as JSON.
#include <algorithm>

#include "base/bytes.h"
#include "cluster/join.h"
#include "pki/device.h"

namespace limpet::cluster {

namespace {

constexpr size_t max_version = 64;
constexpr size_t max_pem = 64 * 1024;

Result<json::Value> parse_object(std::string_view body, size_t max_size, size_t max_values) {
  if (body.size() > max_size) return fail(Errc::too_large, strf("more than %zu bytes", max_size));
  json::Limits limits;
  limits.max_depth = 6;
  limits.max_values = max_values;
  TRY(json::Value value, json::parse(body, limits));
  if (!value.ref().is_object()) return fail(Errc::invalid_argument, "not a JSON object");
  return value;
}

Result<std::string> text(json::Ref in, const char* key, size_t max_size) {
  const json::Ref value = in[key];
  if (!value.is_string() || value.str().empty())
    return fail(Errc::invalid_argument, std::string(key) + " is missing");
  if (value.str().size() > max_size)
    return fail(Errc::too_large, strf("%s is longer than %zu bytes", key, max_size));
  return std::string(value.str());
}

Result<int> api_port(json::Ref in) {
  if (!in["apiPort"]) return default_api_port;
  const int64_t port = in["apiPort"].integer(0);
  if (port < 1 || port > 65535) return fail(Errc::invalid_argument, "apiPort is no port");
  return static_cast<int>(port);
}

Result<JoinRequest> read_request(json::Ref in) {
  JoinRequest out;
  out.name = in["name"].str();
  CHECK_OK(pki::check_node_name(out.name));
  const auto role = parse_role(in["role"].str());
  if (!role) return fail(Errc::invalid_argument, "role is neither server nor agent");
  out.role = *role;
  TRY(out.csr_pem, text(in, "csr", max_csr));
  TRY(out.version, text(in, "version", max_version));
  out.member = parse_member(in["member"].str());
  TRY(out.addresses, read_addresses(in["addresses"]));
  TRY(out.api_port, api_port(in));
  const bool server = out.role == Role::server;
  if (server && out.member == 0)
    return fail(Errc::invalid_argument, "member is missing or not 16 hex digits");
  if (server && out.addresses.empty()) return fail(Errc::invalid_argument, "addresses are missing");
  if (!server && in["member"]) return fail(Errc::invalid_argument, "an agent is no member of the group");
  return out;
}

Result<ServerKeys> read_keys(json::Ref in) {
  ServerKeys out;
  TRY(out.ca_key_pem, text(in, "ca", max_pem));
  TRY(out.service_account_key_pem, text(in, "serviceAccount", max_pem));
  TRY(const std::string data_key, text(in, "dataKey", 64));
  Result<std::string> bytes = base64_decode(data_key);
  if (!bytes || bytes->size() != out.data_key.key.size())
    return fail(Errc::invalid_argument, "dataKey is no key");
  std::copy(bytes->begin(), bytes->end(), out.data_key.key.begin());
  const int64_t generation = in["generation"].integer(0);
  if (generation < 1) return fail(Errc::invalid_argument, "generation is missing");
  out.data_key.generation = static_cast<uint64_t>(generation);
  return out;
}

Result<ServerEntry> read_server(json::Ref in) {
  ServerEntry out;
  out.name = in["name"].str();
  CHECK_OK(pki::check_node_name(out.name));
  out.member = parse_member(in["member"].str());
  if (out.member == 0) return fail(Errc::invalid_argument, "a server without a member id");
  TRY(out.addresses, read_addresses(in["addresses"]));
  TRY(out.api_port, api_port(in));
  return out;
}

Result<std::string> read_cluster_id(json::Ref in) {
  const std::string_view digits = in["clusterId"].str();
  if (digits.size() == 32) {
    if (Result<std::string> id = unhex(digits)) return id;
  }
  return fail(Errc::invalid_argument, "clusterId is not 32 hex digits");
}

Result<JoinAnswer> read_answer(json::Ref in) {
  JoinAnswer out;
  TRY(out.cluster_id, read_cluster_id(in));
  TRY(out.ca_pem, text(in, "ca", max_pem));
  TRY(out.certificate_pem, text(in, "certificate", max_pem));
  const json::Ref servers = in["servers"];
  if (!servers.is_array() || servers.size() == 0 || servers.size() > raft::kMaxMembers)
    return fail(Errc::invalid_argument, "no servers, or too many");
  for (const json::Ref one : servers) {
    TRY(ServerEntry entry, read_server(one));
    out.servers.push_back(std::move(entry));
  }
  if (!in["keys"]) return out;
  TRY(out.keys, read_keys(in["keys"]));
  return out;
}

}  // namespace

std::string encode(const JoinRequest& request) {
  json::Writer w;
  w.begin_object().field("name", request.name).field("role", role_name(request.role));
  w.field("csr", request.csr_pem).field("version", request.version);
  if (request.member != 0) w.field("member", member_text(request.member));
  write_addresses(w, request.addresses);
  w.field("apiPort", request.api_port).end_object();
  return w.take();
}

Result<JoinRequest> decode_join_request(std::string_view body) {
  const auto decode = [&]() -> Result<JoinRequest> {
    TRY(const json::Value value, parse_object(body, max_join_request, 64));
    return read_request(value.ref());
  };
  Result<JoinRequest> out = decode();
  if (!out) return std::unexpected(std::move(out).error().with("join request"));
  return out;
}

std::string encode(const JoinAnswer& answer) {
  json::Writer w;
  w.begin_object().field("clusterId", hex(answer.cluster_id)).field("ca", answer.ca_pem);
  w.field("certificate", answer.certificate_pem).key("servers").begin_array();
  for (const ServerEntry& one : answer.servers) {
    w.begin_object().field("name", one.name).field("member", member_text(one.member));
    write_addresses(w, one.addresses);
    w.field("apiPort", one.api_port).end_object();
  }
  w.end_array();
  if (answer.keys) {
    const DataKey& data = answer.keys->data_key;
    w.key("keys").begin_object().field("ca", answer.keys->ca_key_pem);
    w.field("serviceAccount", answer.keys->service_account_key_pem);
    w.field("dataKey", base64_encode({reinterpret_cast<const char*>(data.key.data()), data.key.size()}));
    w.field("generation", static_cast<int64_t>(data.generation)).end_object();
  }
  w.end_object();
  return w.take();
}

Result<JoinAnswer> decode_join_answer(std::string_view body) {
  const auto decode = [&]() -> Result<JoinAnswer> {
    TRY(const json::Value value, parse_object(body, max_join_answer, 16'384));
    return read_answer(value.ref());
  };
  Result<JoinAnswer> out = decode();
  if (!out) return fail(Errc::corrupt, "the cluster's answer cannot be used: " + out.error().message);
  return out;
}

}  // namespace limpet::cluster
