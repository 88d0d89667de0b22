// Writing certificates and requests. By our own DER, since mbedTLS 2.28 writes no alternative names and takes
// subjects as text that would need quoting.
#include <algorithm>

#include "base/sha256.h"
#include "pki/certificate.h"
#include "pki/der.h"
#include "pki/names.h"
#include "pki/oids.h"

namespace limpet::pki {

namespace {

std::string extension(std::string_view oid, bool critical, std::string_view value) {
  std::string flag = critical ? der::tlv(der::boolean, "\xff") : "";
  return der::of(der::sequence, der::tlv(der::oid, oid), flag, der::tlv(der::octet_string, value));
}

std::string signature_algorithm() {
  return der::of(der::sequence, der::tlv(der::oid, oids::ecdsa_with_sha256));
}

// RFC 7093 method 1: the first 160 bits of the SHA-256 of the public key's bits.
std::string key_identifier(std::string_view spki) {
  der::Reader outer(spki);
  auto info = outer.next(der::sequence);
  if (!info) return {};
  der::Reader fields(info->content);
  fields.next(der::sequence);
  auto bits = fields.next(der::bit_string);
  if (!bits || bits->content.empty()) return {};
  return sha256_raw(bits->content.substr(1)).substr(0, 20);
}

std::string key_usage(bool ca) {
  // digitalSignature; a CA also keyCertSign and cRLSign. The first byte counts the unused bits.
  return der::tlv(der::bit_string, ca ? std::string_view("\x01\x86") : std::string_view("\x07\x80"));
}

std::string extended_key_usage(Use use) {
  std::string parts;
  if (use != Use::client) parts += der::tlv(der::oid, oids::server_auth);
  if (use != Use::server) parts += der::tlv(der::oid, oids::client_auth);
  return der::tlv(der::sequence, parts);
}

std::string random_serial(Random& random) {
  std::string bytes(16, '\0');
  random.fill(bytes.data(), bytes.size());
  bytes[0] = static_cast<char>((bytes[0] & 0x3f) | 0x40);  // positive and never short
  return der::unsigned_integer(bytes);
}

struct Body {
  std::string issuer;   // Name
  std::string subject;  // Name
  std::string_view spki;
  std::string extensions;  // one after the other
  Validity validity;
};

Result<std::string> signed_certificate(const Body& body, const PrivateKey& signer, Random& random) {
  std::string version = der::of(der::context_constructed(0), der::tlv(der::integer, "\x02"));  // v3
  std::string validity =
      der::of(der::sequence, der::time(body.validity.not_before), der::time(body.validity.not_after));
  std::string tbs = der::of(der::sequence, version, random_serial(random), signature_algorithm(), body.issuer,
                            validity, body.subject, body.spki,
                            der::of(der::context_constructed(3), der::tlv(der::sequence, body.extensions)));
  TRY(std::string signature, signer.sign_der(tbs, random));
  return to_pem(der::of(der::sequence, tbs, signature_algorithm(), der::whole_bytes(signature)),
                "CERTIFICATE");
}

// The subject's Name as it stands in the certificate, and its key identifier.
struct Issuer {
  std::string name;
  std::string key_id;
  Validity validity;
};

Result<Issuer> issuer_of(const Authority& ca) {
  TRY(Certificate certificate, parse_certificate(ca.certificate_pem));
  if (!certificate.is_ca) return fail(Errc::invalid_argument, "the signing certificate is not an authority");
  if (certificate.spki != ca.key.spki())
    return fail(Errc::invalid_argument, "the authority's key is not its certificate's");
  Issuer out{certificate.subject_der, certificate.subject_key_id, certificate.validity()};
  if (out.key_id.empty()) out.key_id = key_identifier(certificate.spki);
  return out;
}

// Signed by the key that it is for; id: what certificates of this authority name as their issuer's key.
Result<std::string> self_signed(const std::string& name, std::string_view id, const PrivateKey& key,
                                const Validity& validity, Random& random) {
  Body body;
  body.subject = name;
  body.issuer = name;
  body.spki = key.spki();
  body.extensions =
      extension(oids::basic_constraints, true, der::of(der::sequence, der::tlv(der::boolean, "\xff"))) +
      extension(oids::key_usage, true, key_usage(true)) +
      extension(oids::subject_key_identifier, false, der::tlv(der::octet_string, id)) +
      extension(oids::authority_key_identifier, false, der::of(der::sequence, der::tlv(der::context(0), id)));
  body.validity = validity;
  return signed_certificate(body, key, random);
}

}  // namespace

Result<std::string> make_ca(std::string_view common_name, const PrivateKey& key, const Validity& validity,
                            Random& random) {
  TRY(std::string name, encode_subject({std::string(common_name), {}}));
  return self_signed(name, key_identifier(key.spki()), key, validity, random);
}

Result<std::string> renew_ca(const Authority& ca, const Validity& validity, Random& random) {
  TRY(Issuer issuer, issuer_of(ca));
  return self_signed(issuer.name, issuer.key_id, ca.key, validity, random);
}

Result<std::string> issue(const Authority& ca, std::string_view spki, const Subject& subject,
                          const Names& names, Use use, const Validity& validity, Random& random) {
  TRY(Issuer issuer, issuer_of(ca));
  Body body;
  body.issuer = issuer.name;
  TRY(body.subject, encode_subject(subject));
  std::string id = key_identifier(spki);
  if (id.empty()) return fail(Errc::invalid_argument, "issue: malformed public key");
  body.spki = spki;
  body.extensions = extension(oids::basic_constraints, true, der::tlv(der::sequence, "")) +
                    extension(oids::key_usage, true, key_usage(false)) +
                    extension(oids::extended_key_usage, false, extended_key_usage(use)) +
                    extension(oids::subject_key_identifier, false, der::tlv(der::octet_string, id)) +
                    extension(oids::authority_key_identifier, false,
                              der::of(der::sequence, der::tlv(der::context(0), issuer.key_id)));
  if (!names.dns.empty() || !names.ips.empty()) {
    TRY(std::string alt_names, encode_alt_names(names));
    bool only_name = subject == Subject{};  // RFC 5280, 4.2.1.6: then the extension is critical
    body.extensions += extension(oids::subject_alt_name, only_name, alt_names);
  }
  body.validity = {std::max(validity.not_before, issuer.validity.not_before),
                   std::min(validity.not_after, issuer.validity.not_after)};
  if (body.validity.not_before > body.validity.not_after) {
    return fail(Errc::invalid_argument, "issue: the authority is not valid at any time of the certificate");
  }
  return signed_certificate(body, ca.key, random);
}

Result<std::string> make_request(const PrivateKey& key, const Subject& subject, const Names& names,
                                 Random& random) {
  TRY(std::string name, encode_subject(subject));
  std::string attributes;
  if (!names.dns.empty() || !names.ips.empty()) {
    TRY(std::string alt_names, encode_alt_names(names));
    std::string extensions = der::of(der::sequence, extension(oids::subject_alt_name, false, alt_names));
    attributes =
        der::of(der::sequence, der::tlv(der::oid, oids::extension_request), der::of(der::set, extensions));
  }
  std::string version = der::tlv(der::integer, std::string_view("\0", 1));
  std::string info =
      der::of(der::sequence, version, name, key.spki(), der::tlv(der::context_constructed(0), attributes));
  TRY(std::string signature, key.sign_der(info, random));
  std::string whole = der::of(der::sequence, info, signature_algorithm(), der::whole_bytes(signature));
  return to_pem(whole, "CERTIFICATE REQUEST");
}

}  // namespace limpet::pki
