#include "cluster/token.h"

#include <algorithm>
#include <charconv>

#include "base/bytes.h"
#include "base/sha256.h"

namespace limpet::cluster {

namespace {

constexpr std::string_view prefix = "limpet1.";
constexpr size_t hash_digits = 64;
constexpr size_t id_size = 6;
constexpr size_t secret_size = 16;
constexpr std::string_view secret_type = "bootstrap.kubernetes.io/token";

bool plain(std::string_view s, size_t size) {
  return s.size() == size && std::all_of(s.begin(), s.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
         });
}

bool hex_digits(std::string_view s) {
  return std::all_of(s.begin(), s.end(),
                     [](char c) { return (c >= 'a' && c <= 'f') || (c >= '0' && c <= '9'); });
}

// In a time that does not depend on where they differ.
bool same(std::string_view a, std::string_view b) {
  unsigned char difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    difference |= static_cast<unsigned char>(a[i] ^ b[i]);
  return difference == 0;
}

// "" when it is absent.
Result<std::string> field(json::Ref secret, const char* key) {
  const json::Ref value = secret["data"][key];
  if (!value) return std::string();
  Result<std::string> text = base64_decode(value.str());
  if (!value.is_string() || !text) return fail(Errc::corrupt, std::string(key) + " is not base64");
  return text;
}

std::optional<int64_t> decimal(std::string_view text) {
  int64_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end != text.data() + text.size() || n < 0) return {};
  return n;
}

std::unexpected<Error> damaged(json::Ref secret, const std::string& why) {
  return fail(Errc::corrupt, "the Secret " + std::string(secret["metadata"]["name"].str()) +
                                 " is no join token of limpet: " + why);
}

const char* make_another = ": make another one with limpet token create";

}  // namespace

std::string Token::text() const { return std::string(prefix) + ca_sha256 + "." + id + "." + secret; }

Token make_token(std::string_view ca_sha256, Random& random) {
  return {std::string(ca_sha256), random.suffix(id_size), random.suffix(secret_size)};
}

Result<Token> parse_token(std::string_view text) {
  const auto malformed = [](const char* why) {
    return fail(Errc::invalid_argument, std::string("this is no join token (limpet1.CA.ID.SECRET): ") + why);
  };
  if (text.starts_with("limpet") && !text.starts_with(prefix) && text.size() > 7 && text[7] == '.') {
    return fail(Errc::unsupported, "this join token is of another version of limpet");
  }
  if (!text.starts_with(prefix)) return malformed("it does not begin with limpet1.");
  text.remove_prefix(prefix.size());
  if (text.size() != hash_digits + 1 + id_size + 1 + secret_size)
    return malformed("a part of it is missing or too long");
  const std::string_view ca = text.substr(0, hash_digits);
  const std::string_view id = text.substr(hash_digits + 1, id_size);
  const std::string_view secret = text.substr(hash_digits + 1 + id_size + 1);
  if (!hex_digits(ca)) return malformed("its second part is not 64 hex digits");
  if (text[hash_digits] != '.' || text[hash_digits + 1 + id_size] != '.' || !plain(id, id_size) ||
      !plain(secret, secret_size)) {
    return malformed("its id must have 6 and its secret 16 characters [a-z0-9]");
  }
  return Token{std::string(ca), std::string(id), std::string(secret)};
}

std::string token_secret_name(std::string_view id) { return "bootstrap-token-" + std::string(id); }

json::Value token_secret(const Token& token, const Grant& grant) {
  json::Value out = json::Value::object();
  json::Ref secret = out.ref();
  secret.set("apiVersion", "v1");
  secret.set("kind", "Secret");
  json::Ref metadata = secret.ensure_object("metadata");
  metadata.set("name", token_secret_name(token.id));
  metadata.set("namespace", token_namespace);
  secret.set("type", secret_type);
  json::Ref data = secret.ensure_object("data");
  const auto put = [&](const char* key, std::string_view value) {
    data.add(key, json::Value::string(base64_encode(value)));
  };
  put("token-id", token.id);
  put("token-secret-sha256", sha256_hex(token.secret));
  put("usage-bootstrap-authentication", "true");
  put("auth-extra-groups", "system:bootstrappers:limpet:" + std::string(role_name(grant.role)));
  put("limpet-role", role_name(grant.role));
  if (grant.expires_at != 0) put("expiration", rfc3339({grant.expires_at, 0}));
  if (grant.uses_left) put("limpet-uses-left", std::to_string(*grant.uses_left));
  if (!grant.description.empty()) put("description", grant.description);
  return out;
}

Result<Grant> read_grant(json::Ref secret) {
  Grant out;
  if (secret["type"].str() != secret_type)
    return damaged(secret, "its type is not " + std::string(secret_type));
  Result<std::string> role = field(secret, "limpet-role"), expiration = field(secret, "expiration"),
                      uses = field(secret, "limpet-uses-left"), description = field(secret, "description");
  for (const auto* one : {&role, &expiration, &uses, &description}) {
    if (!*one) return damaged(secret, one->error().message);
  }
  const std::optional<Role> known = parse_role(*role);
  if (!known) return damaged(secret, "limpet-role is neither server nor agent");
  out.role = *known;
  if (!expiration->empty()) {
    Result<WallTime> at = parse_rfc3339(*expiration);
    if (!at) return damaged(secret, "expiration is no time (RFC 3339)");
    out.expires_at = at->seconds;
  }
  if (secret["data"]["limpet-uses-left"]) {
    out.uses_left = decimal(*uses);
    if (!out.uses_left) return damaged(secret, "limpet-uses-left is no number");
  }
  out.description = std::move(*description);
  return out;
}

Result<> check_token(const Token& token, json::Ref secret, const std::vector<std::string>& authorities,
                     Role wanted, bool again, WallTime now) {
  const std::string name = "the join token " + token.id;
  if (std::find(authorities.begin(), authorities.end(), token.ca_sha256) == authorities.end()) {
    return fail(Errc::unauthenticated, name + " is of another cluster: it names the authority " +
                                           token.ca_sha256.substr(0, 12) + "..., which is not trusted here");
  }
  // Who does not know the secret learns nothing of the token, not even whether there is one.
  Result<std::string> id = field(secret, "token-id"), hash = field(secret, "token-secret-sha256"),
                      usage = field(secret, "usage-bootstrap-authentication");
  if (!id || *id != token.id || !hash || !same(*hash, sha256_hex(token.secret))) {
    return fail(Errc::unauthenticated,
                name + " is not known here: it has expired, was removed, or was not copied whole");
  }
  TRY(const Grant grant, read_grant(secret));
  if (!usage || *usage != "true") return fail(Errc::permission_denied, name + " is not for joining");
  if (grant.expires_at != 0 && now.seconds >= grant.expires_at)
    return fail(Errc::expired, name + " expired at " + rfc3339({grant.expires_at, 0}) + make_another);
  if (grant.uses_left == 0 && !again) return fail(Errc::exhausted, name + " is used up" + make_another);
  if (grant.role != wanted) {
    return fail(Errc::permission_denied, name + " is for role " + std::string(role_name(grant.role)) +
                                             ", and this device wants role " +
                                             std::string(role_name(wanted)));
  }
  return {};
}

bool take_use(json::Ref secret) {
  Result<Grant> grant = read_grant(secret);
  if (!grant || !grant->uses_left || *grant->uses_left == 0) return false;
  secret["data"].set("limpet-uses-left", base64_encode(std::to_string(*grant->uses_left - 1)));
  return true;
}

}  // namespace limpet::cluster
