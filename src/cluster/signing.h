// The keys of service-account tokens as they stand in the store (sealed at limpet/keys/sa), and how another
// one takes the place of the one that signs. Pure.
//
// A new key verifies first, on every server; then it signs, and the public half of the old one verifies until
// the tokens that it signed have been replaced: kubelets, and limpet's node agent like them, fetch another
// token after 80 % of its life, and after a day at the latest.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"

namespace limpet::cluster {

constexpr int64_t token_renewal_seconds = 25 * 3600;

struct SigningKeys {
  struct Old {
    std::string public_pem;
    int64_t until = 0;  // verifies until then: seconds since 1970
  };
  std::string current_pem;  // signs
  std::string next_pem;     // verifies already, will sign; "" when there is none
  std::vector<Old> old;
  // While there is a next one: since when, and for how long the one that signs now will verify then.
  int64_t since = 0;
  int64_t overlap_s = 0;
};

// Plain JSON, to be sealed. Errors of decoding: `corrupt`.
std::string encode(const SigningKeys& keys);
Result<SigningKeys> decode_signing_keys(std::string_view json);

// As api::AccountKeys::set() takes them: the one that signs, then public halves of all others that verify.
Result<std::vector<std::string>> account_keys(const SigningKeys& keys, Random& random);

// Makes the next one. `conflict` when one is on its way already.
Result<SigningKeys> begin_replacement(const SigningKeys& have, Random& random);
// What is to be written next, if anything: the next key signs once every server knows it, and old ones go
// when their time is over. overlap_s: how long the key that signed until now verifies (token_renewal_seconds;
// little or nothing when it was stolen).
Result<std::optional<SigningKeys>> next_step(const SigningKeys& have, bool every_server_knows, WallTime now,
                                             int64_t overlap_s, Random& random);

}  // namespace limpet::cluster
