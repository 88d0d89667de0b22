#include "api/identity.h"

#include <list>

#include "pki/certificate.h"
#include "pki/jwt.h"
#include "pki/key.h"

namespace limpet::api {
namespace {

constexpr size_t kRemembered = 64;
constexpr int64_t kRememberedS = 60;

// Checking a signature costs milliseconds on a small device: the last good tokens are remembered for a
// minute.
struct TokenMemory {
  struct Entry {
    std::string token;
    User user;
    int64_t until = 0;
  };
  std::list<Entry> entries;  // most recent first

  const User* find(std::string_view token, int64_t now) {
    for (auto it = entries.begin(); it != entries.end(); ++it) {
      if (it->token != token) continue;
      if (it->until <= now) {
        entries.erase(it);
        return nullptr;
      }
      entries.splice(entries.begin(), entries, it);
      return &it->user;
    }
    return nullptr;
  }
  void add(std::string_view token, const User& user, int64_t until) {
    entries.push_front({std::string(token), user, until});
    if (entries.size() > kRemembered) entries.pop_back();
  }
};

struct Keys {
  pki::PrivateKey sign;
  pki::TokenKeys verify;
  pki::TokenPolicy policy;
  TokenMemory memory;
};

User token_user(const pki::TokenClaims& c) {
  User u;
  u.name = c.username();
  u.uid = c.uid;
  u.groups = {"system:serviceaccounts", "system:serviceaccounts:" + c.namespace_name};
  if (!c.id.empty()) u.extra.push_back({"authentication.kubernetes.io/credential-id", {"JTI=" + c.id}});
  if (!c.pod_name.empty()) {
    u.extra.push_back({"authentication.kubernetes.io/pod-name", {c.pod_name}});
    u.extra.push_back({"authentication.kubernetes.io/pod-uid", {c.pod_uid}});
  }
  return u;
}

}  // namespace

Result<Identity> make_identity(const std::string& pem, const std::string& issuer, Clock& clock,
                               Random& random) {
  auto keys = std::make_shared<Keys>();
  TRY(keys->sign, pki::PrivateKey::from_pem(pem, random));
  CHECK_OK(keys->verify.add(keys->sign.spki()));
  keys->policy.issuer = issuer;
  keys->policy.audiences = {issuer};
  Identity id;
  id.verify_token = [keys, &clock](std::string_view token) -> Result<User> {
    int64_t now = clock.wall().seconds;
    if (const User* u = keys->memory.find(token, now)) return *u;
    TRY(pki::TokenClaims claims, pki::verify_token(token, keys->verify, keys->policy, clock.wall()));
    User u = token_user(claims);
    keys->memory.add(token, u, std::min(now + kRememberedS, claims.expires_at));
    return u;
  };
  id.issue_token = [keys, &clock, &random](const TokenSpec& spec) -> Result<IssuedToken> {
    pki::TokenClaims c;
    c.issuer = keys->policy.issuer;
    c.audiences = spec.audiences.empty() ? keys->policy.audiences : spec.audiences;
    c.namespace_name = spec.ns;
    c.name = spec.name;
    c.uid = spec.uid;
    c.pod_name = spec.pod_name;
    c.pod_uid = spec.pod_uid;
    c.issued_at = c.not_before = clock.wall().seconds;
    c.expires_at = c.issued_at + spec.expiration_s;
    TRY(std::string token, pki::sign_token(c, keys->sign, random));
    return IssuedToken{std::move(token), c.expires_at};
  };
  // The transport has verified the chain against the client CA; the subject is the user.
  id.read_certificate = [&clock](std::string_view der) -> Result<User> {
    TRY(pki::Certificate cert, pki::parse_certificate(der));
    if (!cert.valid_at(clock.wall()))
      return fail(Errc::unauthenticated, "the client certificate is not valid now");
    User u;
    u.name = cert.subject.common_name;
    u.groups = cert.subject.organizations;
    return u;
  };
  return id;
}

}  // namespace limpet::api
