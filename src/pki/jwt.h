// Service-account tokens: JSON Web Tokens (RFC 7519) signed with ES256 (RFC 7515, 7518), with the claims of
// Kubernetes (https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/), and the
// documents by which others verify them (OpenID Connect Discovery, RFC 7517).
//
// Verification takes hostile input: a size limit, exactly three parts, strict base64url, ES256 and nothing
// else, the key chosen by `kid`. Its errors name the reason, for the audit log; the client hears 401 only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "pki/key.h"

namespace limpet::pki {

constexpr std::string_view default_issuer = "https://kubernetes.default.svc.cluster.local";
constexpr size_t max_token_size = 16 * 1024;

struct TokenClaims {
  std::string issuer{default_issuer};
  std::vector<std::string> audiences;
  // The account: sub is system:serviceaccount:NAMESPACE:NAME.
  std::string namespace_name;
  std::string name;
  std::string uid;
  // What the token is bound to, where it is: it dies with these.
  std::string pod_name;
  std::string pod_uid;
  std::string node_name;
  std::string node_uid;
  std::string secret_name;
  std::string secret_uid;
  // Seconds since 1970.
  int64_t issued_at = 0;
  int64_t not_before = 0;
  int64_t expires_at = 0;
  std::string id;  // jti

  std::string username() const { return "system:serviceaccount:" + namespace_name + ":" + name; }
};

// Sets the three times: issued now, valid for this long, and valid from a day ago, since the clock of a
// device without a battery may fall back behind the issue of tokens that its pods hold.
void set_lifetime(TokenClaims& claims, WallTime now, int64_t seconds);

// Names a public key in `kid`: base64url of the SHA-256 of its SubjectPublicKeyInfo, as Kubernetes does.
std::string key_id(std::string_view spki);

// The compact form. An empty id is drawn from random.
Result<std::string> sign_token(const TokenClaims& claims, const PrivateKey& key, Random& random);

// The keys that tokens of this cluster may be signed with: the current one first.
class TokenKeys {
 public:
  Result<> add(std::string_view spki);
  const PublicKey* find(std::string_view kid) const;
  size_t size() const { return keys_.size(); }
  std::string jwks() const;  // body of /openid/v1/jwks

 private:
  struct Entry {
    std::string kid;
    PublicKey key;
  };
  std::vector<Entry> keys_;
};

struct TokenPolicy {
  std::string issuer{default_issuer};
  std::vector<std::string> audiences{std::string(default_issuer)};  // one of these must be among the token's
};

// Errc::expired for one that is too old, Errc::unauthenticated for everything else.
Result<TokenClaims> verify_token(std::string_view token, const TokenKeys& keys, const TokenPolicy& policy,
                                 WallTime now);

// Body of /.well-known/openid-configuration.
std::string discovery_document(std::string_view issuer, std::string_view jwks_uri);

}  // namespace limpet::pki
