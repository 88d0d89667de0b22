#include "api/identity.h"

#include <algorithm>
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
  if (!c.node_name.empty()) {
    u.extra.push_back({"authentication.kubernetes.io/node-name", {c.node_name}});
    u.extra.push_back({"authentication.kubernetes.io/node-uid", {c.node_uid}});
  }
  const std::string ns = c.namespace_name + "/";
  u.bound.push_back({"serviceaccounts/" + ns + c.name, c.uid});
  if (!c.pod_name.empty()) u.bound.push_back({"pods/" + ns + c.pod_name, c.pod_uid});
  if (!c.secret_name.empty()) u.bound.push_back({"secrets/" + ns + c.secret_name, c.secret_uid});
  // Beside a pod the node only says where the pod runs.
  if (!c.node_name.empty() && c.pod_name.empty()) u.bound.push_back({"nodes/" + c.node_name, c.node_uid});
  return u;
}

// A connection shows its certificate with every request, and few connections ask for much: the last ones are
// kept as they were read.
class ReadCertificates {
 public:
  // Valid until the next call.
  Result<const pki::Certificate*> of(std::string_view der) {
    const auto at = std::find_if(read_.begin(), read_.end(), [&](const auto& one) { return one.der == der; });
    if (at != read_.end()) {
      std::rotate(read_.begin(), at, at + 1);
      return &read_.front();
    }
    TRY(pki::Certificate certificate, pki::parse_certificate(der));
    if (read_.size() == kKept) read_.pop_back();
    return &*read_.insert(read_.begin(), std::move(certificate));
  }

 private:
  static constexpr size_t kKept = 8;
  std::vector<pki::Certificate> read_;  // the last one first
};

std::vector<std::string> intersection(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  std::vector<std::string> out;
  for (const std::string& x : a) {
    if (std::find(b.begin(), b.end(), x) != b.end()) out.push_back(x);
  }
  return out;
}

}  // namespace

struct AccountKeys::State {
  pki::PrivateKey sign;
  pki::TokenKeys verify;
  TokenMemory memory;
};

AccountKeys::AccountKeys() : state_(std::make_unique<State>()) {}
AccountKeys::~AccountKeys() = default;

Result<> AccountKeys::set(const std::vector<std::string>& keys_pem, Random& random) {
  if (keys_pem.empty()) return fail(Errc::invalid_argument, "no key signs the tokens of service accounts");
  auto state = std::make_unique<State>();
  TRY(state->sign, pki::PrivateKey::from_pem(keys_pem.front(), random));
  for (const std::string& pem : keys_pem) {
    if (pem.find("PUBLIC KEY") != std::string::npos) {
      TRY(const pki::PublicKey key, pki::PublicKey::from_pem(pem));
      CHECK_OK(state->verify.add(key.spki()));
    } else {
      TRY(const pki::PrivateKey key, pki::PrivateKey::from_pem(pem, random));
      CHECK_OK(state->verify.add(key.spki()));
    }
  }
  state_ = std::move(state);
  return {};
}

Result<Identity> make_identity(const std::vector<std::string>& keys_pem, const std::string& issuer,
                               Clock& clock, Random& random) {
  auto keys = std::make_shared<AccountKeys>();
  CHECK_OK(keys->set(keys_pem, random));
  return make_identity(std::move(keys), issuer, clock, random);
}

Identity make_identity(std::shared_ptr<AccountKeys> account_keys, const std::string& issuer, Clock& clock,
                       Random& random) {
  struct Shared {
    std::shared_ptr<AccountKeys> keys;
    pki::TokenPolicy policy;
  };
  auto shared = std::make_shared<Shared>(Shared{std::move(account_keys), {issuer, {issuer}}});
  Identity id;
  id.verify_token = [shared, &clock](std::string_view token,
                                     const std::vector<std::string>& audiences) -> Result<TokenProof> {
    AccountKeys::State& keys = shared->keys->state();
    int64_t now = clock.wall().seconds;
    if (!audiences.empty()) {  // asked by TokenReview, seldom
      pki::TokenPolicy policy = shared->policy;
      policy.audiences = audiences;
      TRY(pki::TokenClaims claims, pki::verify_token(token, keys.verify, policy, clock.wall()));
      return TokenProof{token_user(claims), intersection(audiences, claims.audiences)};
    }
    if (const User* u = keys.memory.find(token, now)) return TokenProof{*u, shared->policy.audiences};
    TRY(pki::TokenClaims claims, pki::verify_token(token, keys.verify, shared->policy, clock.wall()));
    User u = token_user(claims);
    keys.memory.add(token, u, std::min(now + kRememberedS, claims.expires_at));
    return TokenProof{std::move(u), shared->policy.audiences};
  };
  id.issue_token = [shared, &clock, &random](const TokenSpec& spec) -> Result<IssuedToken> {
    pki::TokenClaims c;
    c.issuer = shared->policy.issuer;
    c.audiences = spec.audiences.empty() ? shared->policy.audiences : spec.audiences;
    c.namespace_name = spec.ns;
    c.name = spec.name;
    c.uid = spec.uid;
    c.pod_name = spec.pod_name;
    c.pod_uid = spec.pod_uid;
    c.secret_name = spec.secret_name;
    c.secret_uid = spec.secret_uid;
    c.node_name = spec.node_name;
    c.node_uid = spec.node_uid;
    c.issued_at = c.not_before = clock.wall().seconds;
    c.expires_at = c.issued_at + spec.expiration_s;
    TRY(std::string token, pki::sign_token(c, shared->keys->state().sign, random));
    return IssuedToken{std::move(token), c.expires_at};
  };
  // The transport has verified the chain against the client CA; the subject is the user.
  id.read_certificate = [&clock,
                         read = std::make_shared<ReadCertificates>()](std::string_view der) -> Result<User> {
    TRY(const pki::Certificate* cert, read->of(der));
    if (!cert->valid_at(clock.wall()))
      return fail(Errc::unauthenticated, "the client certificate is not valid now");
    User u;
    u.name = cert->subject.common_name;
    u.groups = cert->subject.organizations;
    return u;
  };
  return id;
}

}  // namespace limpet::api
