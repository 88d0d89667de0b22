#include "cluster/authority.h"

#include <algorithm>

#include "base/json.h"
#include "pki/certificate.h"
#include "pki/key.h"

namespace limpet::cluster {

namespace {

constexpr std::string_view step_names[] = {"settled", "trusting", "reissuing"};

std::unexpected<Error> damaged(const std::string& why) {
  return fail(Errc::corrupt, "the cluster's authority in the store is damaged: " + why);
}

void write_pair(json::Writer& w, const char* key, const AuthorityPair& pair) {
  w.key(key)
      .begin_object()
      .field("certificate", pair.certificate_pem)
      .field("key", pair.key_pem)
      .end_object();
}

Result<AuthorityPair> read_pair(json::Ref in, const char* what) {
  AuthorityPair out{std::string(in["certificate"].str()), std::string(in["key"].str())};
  if (out.key_pem.empty() || !pki::parse_certificate(out.certificate_pem))
    return damaged(std::string(what) + " lacks its certificate or key");
  return out;
}

Result<std::string> hash_of(const std::string& pem) {
  TRY(const pki::Certificate certificate, pki::parse_certificate(pem));
  return certificate.spki_sha256();
}

}  // namespace

std::string encode(const Authorities& a) {
  json::Writer w;
  w.begin_object().field("step", step_names[static_cast<size_t>(a.step)]).field("since", a.since);
  if (a.step != AuthorityStep::settled) w.field("patience", a.patience_s);
  write_pair(w, "current", a.current);
  if (a.step == AuthorityStep::trusting) write_pair(w, "next", a.next);
  if (!a.old_pem.empty()) w.field("old", a.old_pem);
  w.end_object();
  return w.take();
}

Result<Authorities> decode_authorities(std::string_view text) {
  Result<json::Value> parsed = json::parse(text);
  if (!parsed || !parsed->ref().is_object()) return damaged("no JSON object");
  const json::Ref in = parsed->ref();
  Authorities out;
  const auto* step = std::find(std::begin(step_names), std::end(step_names), in["step"].str());
  if (step == std::end(step_names)) return damaged("unknown step");
  out.step = static_cast<AuthorityStep>(step - std::begin(step_names));
  out.since = in["since"].integer();
  out.patience_s = in["patience"].integer();
  TRY(out.current, read_pair(in["current"], "the current one"));
  if (out.step == AuthorityStep::trusting) {
    TRY(out.next, read_pair(in["next"], "the next one"));
  }
  out.old_pem = in["old"].str();
  const bool wants_old = out.step == AuthorityStep::reissuing || !out.old_pem.empty();
  if (wants_old && !pki::parse_bundle(out.old_pem)) return damaged("the old one lacks its certificate");
  return out;
}

std::string trusted_pem(const Authorities& a) {
  return a.current.certificate_pem + a.next.certificate_pem + a.old_pem;
}

Result<Authorities> begin_replacement(const Authorities& have, const pki::Moment& moment, Random& random) {
  if (have.step != AuthorityStep::settled) {
    return fail(Errc::conflict, "the authority is being replaced already, since " + rfc3339({have.since, 0}));
  }
  return begin_again(have, moment, random);
}

Result<Authorities> begin_again(const Authorities& have, const pki::Moment& moment, Random& random) {
  Authorities out = have;
  out.step = AuthorityStep::trusting;
  out.since = moment.believed.seconds;
  TRY(const pki::PrivateKey key, pki::PrivateKey::generate(random));
  TRY(out.next.key_pem, key.to_pem());
  TRY(out.next.certificate_pem,
      pki::make_ca("limpet-ca-" + random.suffix(8), key, pki::authority_validity(moment), random));
  return out;
}

Result<Replacement> next_step(const Authorities& have, const std::vector<TrustOf>& devices, WallTime now,
                              int64_t patience_s) {
  Replacement out;
  if (have.step == AuthorityStep::settled) return out;
  const bool trusting = have.step == AuthorityStep::trusting;
  TRY(const std::string wanted, hash_of(trusting ? have.next.certificate_pem : have.current.certificate_pem));
  for (const TrustOf& one : devices) {
    const bool there = trusting
                           ? std::find(one.trusted.begin(), one.trusted.end(), wanted) != one.trusted.end()
                           : one.issuer == wanted;
    if (!there) out.lacking.push_back(one.device);
  }
  if (!out.lacking.empty() && now.seconds < have.since + patience_s) return out;
  Authorities then;
  then.since = now.seconds;
  then.step = trusting ? AuthorityStep::reissuing : AuthorityStep::settled;
  then.current = trusting ? have.next : have.current;
  if (trusting) {
    then.old_pem = have.current.certificate_pem + have.old_pem;
    then.patience_s = have.patience_s;
  }
  out.then = std::move(then);
  return out;
}

}  // namespace limpet::cluster
