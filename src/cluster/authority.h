// The cluster's authority as it stands in the store (sealed at limpet/keys/ca), and how another one takes its
// place without a moment in which two devices do not trust each other. Pure.
//
//   settled    one authority
//   trusting   the next one is trusted beside it; the old one signs. Goes on when every device trusts both
//   reissuing  the next one signs; the old one is trusted. Goes on when every device has a certificate of it
//   settled    the old one is forgotten
//
// A device that is away for longer than it is waited for has to join again. Every step is one write of the
// leader's; each server then does it on its disk (pki::install_authority), and agents ask for it (renewal.h).
// Join tokens name an authority: those of the old one end with it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "base/result.h"
#include "pki/validity.h"

namespace limpet::cluster {

struct AuthorityPair {
  std::string certificate_pem;
  std::string key_pem;
};

enum class AuthorityStep : uint8_t { settled, trusting, reissuing };

struct Authorities {
  AuthorityStep step = AuthorityStep::settled;
  int64_t since = 0;       // when this step began: seconds since 1970
  int64_t patience_s = 0;  // for which a device is waited for in each step; while it is not settled
  AuthorityPair current;   // the one that signs
  AuthorityPair next;      // trusting: the one to come
  std::string old_pem;     // those that go: of before `current`, once that signs
};

// Plain JSON, to be sealed. Errors of decoding: `corrupt`.
std::string encode(const Authorities& authorities);
Result<Authorities> decode_authorities(std::string_view json);

// Certificates of all that are trusted, the one that signs first.
std::string trusted_pem(const Authorities& authorities);

// Makes the next one. `conflict` when one is on its way already.
Result<Authorities> begin_replacement(const Authorities& have, const pki::Moment& moment, Random& random);
// Makes the next one whatever is on its way: the keys of all that are there are in wrong hands. One that was
// to come is dropped, one that was to go stays until this is done, since devices may have nothing else yet.
Result<Authorities> begin_again(const Authorities& have, const pki::Moment& moment, Random& random);

// What a device that is not removed was last seen with: hashes (spki_sha256) of the authorities that it
// trusts, and of the one that issued its certificate.
struct TrustOf {
  std::string device;
  std::vector<std::string> trusted;
  std::string issuer;
};
struct Replacement {
  std::optional<Authorities> then;   // to be written; none: nothing to do, or somebody is waited for
  std::vector<std::string> lacking;  // devices that are not that far: waited for, or left behind with `then`
};
// Whether the next step can be made: all are that far, or `patience_s` seconds are over (a stolen device
// holds the old key: then a cluster will not wait for long).
Result<Replacement> next_step(const Authorities& have, const std::vector<TrustOf>& devices, WallTime now,
                              int64_t patience_s);

}  // namespace limpet::cluster
