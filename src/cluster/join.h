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
// The questions are asked in this order, so that who has no token costs the server next to nothing and hears
// nothing: check_bearer(), then requested_key(), which verifies a signature, then admit() with what is known
// of the name and of the key.
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
  std::string id;      // 16 bytes
  std::string self;    // the name of that server, which nobody else has
  std::string domain;  // of the cluster's DNS
  std::string version;
  const pki::Authority* authority = nullptr;  // the one that signs
  std::string ca_pem;                         // all that are trusted, that one first
  ServerKeys keys;
  std::vector<Device> servers;  // active ones
};

// Of a key that is refused everywhere: limpet/denied/SHA-256 in the store, {"name", "at", "state"}; the state
// is "removed" (also when it is missing: what was written before there was one) or "revoked".
struct DeniedKey {
  std::string name;  // of the device whose key it was
  bool revoked = false;
};
// `corrupt`, with what is wrong.
Result<DeniedKey> decode_denied(std::string_view json);

// What is known of one request.
struct Known {
  std::string spki;                 // by requested_key()
  json::Ref secret;                 // of the token's id, missing when there is none
  std::optional<Device> holder;     // of the name
  std::optional<DeniedKey> denied;  // when the key is
};

struct Admission {
  JoinAnswer answer;
  Device device;                // to be stored in place of what was known of the name
  bool takes_use = false;       // of the token (take_use)
  raft::MemberId replaces = 0;  // the member that this server was before: to leave the group
};

// Whether the token is good for anybody who asks so; that it may be used up is left to admit(), which knows
// whether this device took the last use. ca_pem: all that are trusted. Errors as check_token() has them.
Result<> check_bearer(const JoinRequest& request, const Token& token, json::Ref secret,
                      std::string_view ca_pem, WallTime now);

// The public key for which a certificate is requested (SubjectPublicKeyInfo, DER), when it is one that limpet
// makes and its owner signed the request. `invalid_argument`, `too_large`.
Result<std::string> requested_key(std::string_view csr_pem);

// Whether the bearer of the token may join, and with what. Errors as check_token() has them, and:
// `already_exists` when another device holds the name, with which and since when; `permission_denied` for a
// key that was revoked, whatever the name; `unsupported` when the versions are too far apart;
// `invalid_argument`, also for a name that is one of the API's own.
Result<Admission> admit(const JoinRequest& request, const Token& token, const Known& known,
                        const Cluster& cluster, const pki::Moment& moment, Random& random);

// Another certificate for a device that has shown its own one: for the key that is on record, whatever else
// the request says. Errors: `permission_denied` when the device is not active or the key is another.
Result<std::string> renew(const Device& device, std::string_view csr_pem, const pki::Authority& authority,
                          const pki::Moment& moment, Random& random);

// Releases that may work together: of one major version and at most one minor version apart, so that a
// cluster can be upgraded device by device. The error says who should be upgraded.
Result<> check_versions(std::string_view device, std::string_view cluster);

}  // namespace limpet::cluster
