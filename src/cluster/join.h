// How a device becomes one of the cluster: its request, the decision, the answer; and how an agent gets
// another certificate. Pure: what is known comes in, what is to be stored comes out.
//
// POST /limpet/v1/join with "Authorization: Bearer TOKEN":
//   {"name", "role", "csr" (PEM), "version", "member" (hex, servers), "addresses" (of 6444), "apiPort"}
// answered with
//   {"clusterId" (hex), "ca" (PEM, the first signs), "certificate" (PEM),
//    "servers": [{"name", "member", "addresses", "apiPort"}],
//    "keys": {"ca", "serviceAccount" (PEM), "dataKey" (base64), "generation"}}       keys: servers only
//
// Of the request for a certificate only the public key and the proof that its owner made it are used: subject
// and names are what the cluster gives a device of that name and role.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/random.h"
#include "base/result.h"
#include "cluster/device.h"
#include "cluster/keys.h"
#include "cluster/token.h"
#include "pki/certificate.h"
#include "pki/validity.h"

namespace limpet::cluster {

constexpr size_t max_join_request = 16 * 1024;
constexpr size_t max_join_answer = 256 * 1024;
constexpr size_t max_csr = 4 * 1024;

struct JoinRequest {
  std::string name;
  Role role = Role::agent;
  std::string csr_pem;
  std::string version;
  raft::MemberId member = 0;
  std::vector<std::string> addresses;
  int api_port = default_api_port;
};
std::string encode(const JoinRequest& request);
// Hostile bytes are fine. `invalid_argument` or `too_large`, with what is wrong.
Result<JoinRequest> decode_join_request(std::string_view body);

// What every server holds.
struct ServerKeys {
  std::string ca_key_pem;
  std::string service_account_key_pem;
  DataKey data_key;
};

struct ServerEntry {
  std::string name;
  raft::MemberId member = 0;
  std::vector<std::string> addresses;
  int api_port = default_api_port;
};

struct JoinAnswer {
  std::string cluster_id;  // 16 bytes
  std::string ca_pem;
  std::string certificate_pem;
  std::vector<ServerEntry> servers;
  std::optional<ServerKeys> keys;
};
std::string encode(const JoinAnswer& answer);
// `corrupt`, with what is wrong. Certificates and keys are looked at by pki::install_joined.
Result<JoinAnswer> decode_join_answer(std::string_view body);

// What the server that is asked knows.
struct Cluster {
  std::string id;  // 16 bytes
  std::string version;
  const pki::Authority* authority = nullptr;  // the one that signs
  std::string ca_pem;                         // all that are trusted, that one first
  ServerKeys keys;
  std::vector<Device> servers;  // active ones
};

struct Admission {
  JoinAnswer answer;
  Device device;                // to be stored in place of what was known of the name
  bool takes_use = false;       // of the token (take_use)
  raft::MemberId replaces = 0;  // the member that this server was before: to leave the group
};

// Whether the bearer of the token may join, and with what. secret: of the token's id, missing when there is
// none. holder: what is known of the name, if anything. Errors as check_token() has them, and:
// `already_exists` when another device holds the name, with which and since when; `permission_denied` for a
// key that was revoked; `unsupported` when the versions are too far apart; `invalid_argument`.
Result<Admission> admit(const JoinRequest& request, const Token& token, json::Ref secret,
                        const std::optional<Device>& holder, const Cluster& cluster,
                        const pki::Moment& moment, Random& random);

// Another certificate for a device that has shown its own one: for the key that is on record, whatever else
// the request says. Errors: `permission_denied` when the device is not active or the key is another.
Result<std::string> renew(const Device& device, std::string_view csr_pem, const pki::Authority& authority,
                          const pki::Moment& moment, Random& random);

// Releases that may work together: of one major version and at most one minor version apart, so that a
// cluster can be upgraded device by device. The error says who should be upgraded.
Result<> check_versions(std::string_view device, std::string_view cluster);

}  // namespace limpet::cluster
