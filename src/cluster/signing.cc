#include "cluster/signing.h"

#include "base/json.h"
#include "pki/certificate.h"
#include "pki/key.h"

namespace limpet::cluster {

namespace {

constexpr size_t max_old = 16;

std::unexpected<Error> damaged(const std::string& why) {
  return fail(Errc::corrupt, "the keys of service-account tokens in the store are damaged: " + why);
}

Result<std::string> public_half(const std::string& key_pem, Random& random) {
  TRY(const pki::PrivateKey key, pki::PrivateKey::from_pem(key_pem, random));
  return pki::to_pem(key.spki(), "PUBLIC KEY");
}

}  // namespace

std::string encode(const SigningKeys& keys) {
  json::Writer w;
  w.begin_object().field("current", keys.current_pem);
  if (!keys.next_pem.empty())
    w.field("next", keys.next_pem).field("since", keys.since).field("overlap", keys.overlap_s);
  w.key("old").begin_array();
  for (const SigningKeys::Old& one : keys.old)
    w.begin_object().field("public", one.public_pem).field("until", one.until).end_object();
  w.end_array().end_object();
  return w.take();
}

Result<SigningKeys> decode_signing_keys(std::string_view text) {
  Result<json::Value> parsed = json::parse(text);
  if (!parsed || !parsed->ref().is_object()) return damaged("no JSON object");
  const json::Ref in = parsed->ref();
  SigningKeys out;
  out.current_pem = in["current"].str();
  out.next_pem = in["next"].str();
  out.since = in["since"].integer();
  out.overlap_s = in["overlap"].integer();
  if (out.current_pem.empty()) return damaged("no key signs");
  if (in["old"].size() > max_old) return damaged("too many old keys");
  for (const json::Ref one : in["old"]) {
    out.old.push_back({std::string(one["public"].str()), one["until"].integer()});
    if (!pki::PublicKey::from_pem(out.old.back().public_pem)) return damaged("an old key cannot be read");
  }
  return out;
}

Result<std::vector<std::string>> account_keys(const SigningKeys& keys, Random& random) {
  std::vector<std::string> out = {keys.current_pem};
  if (!keys.next_pem.empty()) {
    TRY(std::string half, public_half(keys.next_pem, random));
    out.push_back(std::move(half));
  }
  for (const SigningKeys::Old& one : keys.old) out.push_back(one.public_pem);
  return out;
}

Result<SigningKeys> begin_replacement(const SigningKeys& have, Random& random) {
  if (!have.next_pem.empty()) {
    return fail(Errc::conflict, "the key of service-account tokens is being replaced already");
  }
  if (have.old.size() >= max_old) {
    return fail(Errc::exhausted, "too many keys of service-account tokens are still good: replace it later");
  }
  SigningKeys out = have;
  TRY(const pki::PrivateKey key, pki::PrivateKey::generate(random));
  TRY(out.next_pem, key.to_pem());
  return out;
}

Result<std::optional<SigningKeys>> next_step(const SigningKeys& have, bool every_server_knows, WallTime now,
                                             int64_t overlap_s, Random& random) {
  SigningKeys out = have;
  const size_t gone =
      std::erase_if(out.old, [&](const SigningKeys::Old& one) { return one.until <= now.seconds; });
  const bool sign = !have.next_pem.empty() && every_server_knows;
  if (sign) {
    TRY(std::string half, public_half(have.current_pem, random));
    if (overlap_s > 0) out.old.push_back({std::move(half), now.seconds + overlap_s});
    out.current_pem = std::exchange(out.next_pem, "");
    out.since = out.overlap_s = 0;
  }
  if (gone == 0 && !sign) return std::nullopt;
  return out;
}

}  // namespace limpet::cluster
