// What the wiring tells the API server.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "api/user.h"
#include "base/result.h"

namespace limpet::api {

// A service-account token to be made (TokenRequest).
struct TokenSpec {
  std::string ns, name, uid;           // of the service account
  std::vector<std::string> audiences;  // empty: the API's own
  int64_t expiration_s = 3600;
  // boundObjectRef: at most one of them
  std::string pod_name, pod_uid, secret_name, secret_uid, node_name, node_uid;
};

struct IssuedToken {
  std::string token;
  int64_t expires_at = 0;  // seconds since the epoch
};

// What a token proves.
struct TokenProof {
  User user;
  std::vector<std::string> audiences;  // of those asked for
};

// Proofs of identity, over src/pki (see identity.h for the one the daemon uses). Functions so that tests need
// no keys.
struct Identity {
  // The token must be meant for one of the audiences; none given: the API's own. Whether what it is bound to
  // is still there is for the caller to ask (token_bound.h).
  std::function<Result<TokenProof>(std::string_view token, const std::vector<std::string>& audiences)>
      verify_token;
  std::function<Result<User>(std::string_view certificate_der)> read_certificate;
  std::function<Result<IssuedToken>(const TokenSpec&)> issue_token;
};

struct Options {
  Identity identity;
  // unix socket: members of this group (by gid of the peer, or asked through `is_reader`) read
  uint32_t reader_gid = ~0u;
  std::function<bool(uint32_t uid, uint32_t gid)> is_reader;
  std::string cluster_ca_pem;  // for kube-root-ca.crt
  std::string issuer = "https://kubernetes.default.svc.cluster.local";
  size_t max_in_flight = 400;
  size_t max_long_running = 1000;
  int64_t request_timeout_ms = 60000;
  int64_t leader_wait_ms = 2000;  // for a leader of the cluster, where one is needed and none is known
  int64_t fresh_wait_ms = 3000;   // for a resourceVersion that is still to come
  int64_t event_ttl_s = 3600;
  int64_t event_sweep_ms = 300'000;  // how often old events are looked for
  std::string git_version = "v1.35.0+limpet";
  // Readiness beyond the API's own: what is checked, and what keeps it from being ready (empty: nothing).
  std::function<std::vector<std::pair<std::string, std::string>>()> ready_checks;
  // Called once for each request that was answered: user, verb, path, code. Empty: off.
  std::function<void(const User&, std::string_view verb, std::string_view path, int code)> audit;
};

}  // namespace limpet::api
