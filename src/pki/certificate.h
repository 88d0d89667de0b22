// X.509 certificates (RFC 5280) as limpet issues and reads them.
//
// Issued ones are what Go's crypto/x509 wants: version 3, 16 random bytes of serial, key usage and extended
// key usage, subject and authority key identifiers, names in subjectAltName, valid from 24 hours ago or
// earlier (clocks of small devices differ; see validity.h). Pure functions: time and randomness come in.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "pki/key.h"

namespace limpet::pki {

constexpr int64_t day_seconds = 86'400;
constexpr int64_t backdate_seconds = day_seconds;
constexpr int64_t ca_life_seconds = 3650 * day_seconds;
constexpr int64_t leaf_life_seconds = 365 * day_seconds;

struct Subject {
  std::string common_name;                 // the user name in client certificates
  std::vector<std::string> organizations;  // the groups
  bool in(std::string_view group) const {
    return std::find(organizations.begin(), organizations.end(), group) != organizations.end();
  }
  bool operator==(const Subject&) const = default;
};

struct Names {
  std::vector<std::string> dns;  // host names; a leading "*." is allowed
  std::vector<std::string> ips;  // as text, IPv4 or IPv6
};

enum class Use { server, client, peer };  // peer: both

// Seconds since 1970, both included.
struct Validity {
  int64_t not_before = 0;
  int64_t not_after = 0;
  bool operator==(const Validity&) const = default;
};
// From 24 hours ago for so many seconds from now.
constexpr Validity valid_from(WallTime now, int64_t life_seconds) {
  return {now.seconds - backdate_seconds, now.seconds + life_seconds};
}

// A certificate authority: PEM certificate with the key that signs.
struct Authority {
  std::string certificate_pem;
  PrivateKey key;
};

// A self-signed authority.
Result<std::string> make_ca(std::string_view common_name, const PrivateKey& key, const Validity& validity,
                            Random& random);
// The same authority, key and name, with another validity: certificates it issued before stay good.
Result<std::string> renew_ca(const Authority& ca, const Validity& validity, Random& random);
// A certificate for the owner of this SubjectPublicKeyInfo, valid no longer than the authority is.
Result<std::string> issue(const Authority& ca, std::string_view spki, const Subject& subject,
                          const Names& names, Use use, const Validity& validity, Random& random);

// A PKCS#10 request (RFC 2986); its signature was checked.
struct Request {
  Subject subject;
  Names names;
  std::string spki;
};
Result<std::string> make_request(const PrivateKey& key, const Subject& subject, const Names& names,
                                 Random& random);
Result<Request> parse_request(std::string_view pem_or_der);

// What limpet reads of a certificate. Times in seconds since 1970; IPs as text.
struct Certificate {
  std::string der;
  Subject subject;
  Subject issuer;
  Names names;
  std::string serial;  // hex
  int64_t not_before = 0;
  int64_t not_after = 0;
  Validity validity() const { return {not_before, not_after}; }
  bool is_ca = false;
  std::string spki;                 // SubjectPublicKeyInfo, DER
  std::string subject_der;          // X.501 Name, as it stands there
  std::string subject_key_id;       // of the extension; empty without
  std::string spki_sha256() const;  // hex; what a pin names
  bool valid_at(WallTime t) const { return t.seconds >= not_before && t.seconds <= not_after; }
};
// One certificate, PEM or DER (of a PEM bundle the first). Hostile input is fine.
Result<Certificate> parse_certificate(std::string_view pem_or_der);
// Every certificate of a PEM bundle.
Result<std::vector<Certificate>> parse_bundle(std::string_view pem);

// Was it signed by the key of `ca`, and is it within its validity at t? The error says which of these failed.
Result<> verify_signed_by(const Certificate& certificate, const Certificate& ca, WallTime t);

std::string to_pem(std::string_view der, std::string_view label);  // label: "CERTIFICATE"
Result<std::string> from_pem(std::string_view pem, std::string_view label);

}  // namespace limpet::pki
