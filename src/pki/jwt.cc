#include "pki/jwt.h"

#include <algorithm>
#include <optional>

#include "base/bytes.h"
#include "base/json.h"
#include "base/sha256.h"

namespace limpet::pki {

namespace {

constexpr size_t max_audiences = 64;

std::unexpected<Error> refused(std::string why) {
  return fail(Errc::unauthenticated, "token: " + std::move(why));
}

void write_bound(json::Writer& w, std::string_view kind, const std::string& name, const std::string& uid) {
  if (name.empty()) return;
  w.key(kind).begin_object().field("name", name);
  if (!uid.empty()) w.field("uid", uid);
  w.end_object();
}

std::string payload_of(const TokenClaims& c) {
  json::Writer w;
  w.begin_object().key("aud").begin_array();
  for (const std::string& audience : c.audiences) w.string(audience);
  w.end_array();
  w.field("exp", c.expires_at).field("iat", c.issued_at).field("iss", c.issuer).field("jti", c.id);
  w.key("kubernetes.io").begin_object().field("namespace", c.namespace_name);
  write_bound(w, "node", c.node_name, c.node_uid);
  write_bound(w, "pod", c.pod_name, c.pod_uid);
  write_bound(w, "secret", c.secret_name, c.secret_uid);
  write_bound(w, "serviceaccount", c.name, c.uid);
  w.end_object();
  w.field("nbf", c.not_before).field("sub", c.username()).end_object();
  return w.take();
}

struct Parts {
  std::string_view header;
  std::string_view payload;
  std::string_view signature;
  std::string_view signed_text;  // header.payload
};

Result<Parts> split(std::string_view token) {
  if (token.size() > max_token_size) return refused("too large");
  size_t first = token.find('.');
  if (first == std::string_view::npos) return refused("not three parts");
  size_t second = token.find('.', first + 1);
  if (second == std::string_view::npos || token.find('.', second + 1) != std::string_view::npos) {
    return refused("not three parts");
  }
  return Parts{token.substr(0, first), token.substr(first + 1, second - first - 1), token.substr(second + 1),
               token.substr(0, second)};
}

Result<json::Value> decode_object(std::string_view part, const char* what) {
  Result<std::string> text = base64url_decode(part);
  if (!text) return refused(strf("%s is not base64url", what));
  json::Limits limits;
  limits.max_depth = 8;
  Result<json::Value> value = json::parse(*text, limits);
  if (!value || !value->ref().is_object()) return refused(strf("%s is not a JSON object", what));
  return value;
}

// Finds the key and checks the signature; nothing of the payload is looked at before.
Result<> check_signature(const Parts& parts, const TokenKeys& keys) {
  TRY(json::Value header, decode_object(parts.header, "header"));
  if (header.ref()["alg"].str() != "ES256") return refused("algorithm is not ES256");
  if (header.ref()["crit"]) return refused("critical header parameters are not known");
  const PublicKey* key = keys.find(header.ref()["kid"].str());
  if (key == nullptr) return refused("signed by a key of another cluster");
  Result<std::string> signature = base64url_decode(parts.signature);
  if (!signature) return refused("signature is not base64url");
  if (!key->verify_raw(parts.signed_text, *signature)) return refused("signature is wrong");
  return {};
}

Result<> read_audiences(json::Ref aud, std::vector<std::string>& out) {
  if (aud.is_string()) {
    out.emplace_back(aud.str());
  } else if (aud.is_array() && aud.size() <= max_audiences) {
    for (json::Ref one : aud) {
      if (!one.is_string()) return refused("malformed audience");
      out.emplace_back(one.str());
    }
  }
  if (out.empty()) return refused("no audience");
  return {};
}

Result<> read_time(json::Ref claims, const char* name, int64_t& out) {
  std::optional<int64_t> n = claims[name].exact_integer();
  if (!n || *n < 0) return refused(strf("%s is missing or no number of seconds", name));
  out = *n;
  return {};
}

void read_bound(json::Ref object, std::string& name, std::string& uid) {
  name = object["name"].str();
  uid = object["uid"].str();
}

Result<TokenClaims> read_claims(json::Ref payload) {
  TokenClaims c;
  c.issuer = payload["iss"].str();
  CHECK_OK(read_audiences(payload["aud"], c.audiences));
  CHECK_OK(read_time(payload, "exp", c.expires_at));
  CHECK_OK(read_time(payload, "nbf", c.not_before));
  CHECK_OK(read_time(payload, "iat", c.issued_at));
  c.id = payload["jti"].str();
  json::Ref kubernetes = payload["kubernetes.io"];
  c.namespace_name = kubernetes["namespace"].str();
  read_bound(kubernetes["serviceaccount"], c.name, c.uid);
  read_bound(kubernetes["pod"], c.pod_name, c.pod_uid);
  read_bound(kubernetes["node"], c.node_name, c.node_uid);
  read_bound(kubernetes["secret"], c.secret_name, c.secret_uid);
  if (c.namespace_name.empty() || c.name.empty()) return refused("names no service account");
  if (payload["sub"].str() != c.username()) return refused("subject and service account differ");
  return c;
}

}  // namespace

void set_lifetime(TokenClaims& claims, WallTime now, int64_t seconds) {
  claims.issued_at = now.seconds;
  claims.not_before = std::max<int64_t>(0, now.seconds - 86'400);
  claims.expires_at = now.seconds + seconds;
}

std::string key_id(std::string_view spki) { return base64url_encode(sha256_raw(spki)); }

Result<std::string> sign_token(const TokenClaims& claims, const PrivateKey& key, Random& random) {
  TokenClaims c = claims;
  if (c.id.empty()) c.id = random.uuid();
  json::Writer header;
  header.begin_object().field("alg", "ES256").field("kid", key_id(key.spki())).end_object();
  std::string text = base64url_encode(header.text()) + "." + base64url_encode(payload_of(c));
  TRY(std::string signature, key.sign_raw(text, random));
  std::string token = text + "." + base64url_encode(signature);
  if (token.size() > max_token_size) return fail(Errc::too_large, "token would be too large");
  return token;
}

Result<> TokenKeys::add(std::string_view spki) {
  TRY(PublicKey key, PublicKey::from_der(spki));
  std::string kid = key_id(spki);
  if (find(kid) == nullptr) keys_.push_back({std::move(kid), std::move(key)});
  return {};
}

const PublicKey* TokenKeys::find(std::string_view kid) const {
  for (const Entry& entry : keys_) {
    if (entry.kid == kid) return &entry.key;
  }
  return nullptr;
}

std::string TokenKeys::jwks() const {
  json::Writer w;
  w.begin_object().key("keys").begin_array();
  for (const Entry& entry : keys_) {
    std::string point = entry.key.point();
    w.begin_object().field("use", "sig").field("kty", "EC").field("kid", entry.kid).field("crv", "P-256");
    w.field("alg", "ES256").field("x", base64url_encode(std::string_view(point).substr(0, 32)));
    w.field("y", base64url_encode(std::string_view(point).substr(32))).end_object();
  }
  w.end_array().end_object();
  return w.take();
}

Result<TokenClaims> verify_token(std::string_view token, const TokenKeys& keys, const TokenPolicy& policy,
                                 WallTime now) {
  TRY(Parts parts, split(token));
  CHECK_OK(check_signature(parts, keys));
  TRY(json::Value payload, decode_object(parts.payload, "payload"));
  TRY(TokenClaims claims, read_claims(payload));
  if (claims.issuer != policy.issuer) return refused("issued by " + claims.issuer);
  if (now.seconds < claims.not_before) return refused("not valid before " + rfc3339({claims.not_before, 0}));
  if (now.seconds >= claims.expires_at) {
    return fail(Errc::expired, "token: expired at " + rfc3339({claims.expires_at, 0}));
  }
  bool for_us = std::any_of(claims.audiences.begin(), claims.audiences.end(), [&](const std::string& a) {
    return std::find(policy.audiences.begin(), policy.audiences.end(), a) != policy.audiences.end();
  });
  if (!for_us) return refused("meant for another audience: " + claims.audiences.front());
  return claims;
}

std::string discovery_document(std::string_view issuer, std::string_view jwks_uri) {
  json::Writer w;
  w.begin_object().field("issuer", issuer).field("jwks_uri", jwks_uri);
  w.key("response_types_supported").begin_array().string("id_token").end_array();
  w.key("subject_types_supported").begin_array().string("public").end_array();
  w.key("id_token_signing_alg_values_supported").begin_array().string("ES256").end_array();
  w.end_object();
  return w.take();
}

}  // namespace limpet::pki
