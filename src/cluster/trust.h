// What a server tells the leader of the keys that it goes by, as long as keys are being replaced (an agent:
// renewal.h). Pure.
//
// Shape: {"name", "issuer", "trusted": [], "signing": []}, hashes as authority.h has them.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cluster/authority.h"

namespace limpet::cluster {

constexpr size_t max_trusted = 64;

struct TrustReport {
  TrustOf trust;
  std::set<std::string> signing;  // of the keys of tokens that it verifies by
};

std::string encode(const TrustReport& report);
// Errors: `corrupt` and `invalid_argument` (no report), `too_large`.
Result<TrustReport> decode_trust_report(std::string_view json);

}  // namespace limpet::cluster
