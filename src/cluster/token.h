// Join tokens: what a person carries to a device so that it may become one of the cluster. Pure.
//
// A token reads limpet1.CA.ID.SECRET: the SHA-256 of the authority's SubjectPublicKeyInfo in 64 hex digits,
// by which the device knows the cluster, and an id of 6 and a secret of 16 characters [a-z0-9], by which the
// cluster knows the token. Of the secret only a hash is stored, in the Secret bootstrap-token-ID of
// kube-system, with the keys of upstream's bootstrap tokens
// (https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/) but
//   token-secret-sha256  hex, in place of token-secret
//   limpet-role          server or agent
//   limpet-uses-left     decimal; absent: any number
// so that a copy of the store lets nobody join, and upstream's token cleaner removes what has expired.
//
// Errors are one line, for both sides: `invalid_argument` no token at all; `unsupported` one of a newer
// limpet; `unauthenticated` not known here, or of another cluster; `expired`; `exhausted` used up;
// `permission_denied` not for this; `corrupt` the Secret cannot be read.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/random.h"
#include "base/result.h"
#include "cluster/role.h"

namespace limpet::cluster {

struct Token {
  std::string ca_sha256;  // lower-case hex
  std::string id;
  std::string secret;
  std::string text() const;
  bool operator==(const Token&) const = default;
};

Token make_token(std::string_view ca_sha256, Random& random);
Result<Token> parse_token(std::string_view text);

constexpr std::string_view token_namespace = "kube-system";
std::string token_secret_name(std::string_view id);

// What a token is good for.
struct Grant {
  Role role = Role::agent;
  int64_t expires_at = 0;  // seconds since 1970; 0: never
  std::optional<int64_t> uses_left;
  std::string description;
};

// The Secret to be created for it.
json::Value token_secret(const Token& token, const Grant& grant);
// Of a Secret of this kind, for `limpet token list`.
Result<Grant> read_grant(json::Ref secret);

// Whether the bearer may join. `secret`: the Secret of the token's id, missing when there is none.
// `authorities`: hashes of all that the cluster trusts. `again`: the device was let in before with this very
// key, and asks since the answer was lost; that costs no second use.
Result<> check_token(const Token& token, json::Ref secret, const std::vector<std::string>& authorities,
                     Role wanted, bool again, WallTime now);

// Takes one use away from a Secret that is to be updated. False: uses are not counted, nothing is to be
// written.
bool take_use(json::Ref secret);

}  // namespace limpet::cluster
