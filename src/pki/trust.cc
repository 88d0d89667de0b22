#include "pki/trust.h"

#include <algorithm>
#include <utility>

namespace limpet::pki {

bool Trust::replace(std::string_view ca_pem) {
  auto now = parse_bundle(ca_pem);
  if (!now) return false;
  const std::vector<Certificate> before = std::exchange(authorities_, std::move(*now));
  const bool lost =
      !std::all_of(before.begin(), before.end(), [this](const Certificate& a) { return has_key_of(a); });
  if (lost) ++losses_;
  return lost;
}

bool Trust::has_key_of(const Certificate& authority) const {
  return std::any_of(authorities_.begin(), authorities_.end(),
                     [&](const Certificate& one) { return one.spki == authority.spki; });
}

bool Trust::issued(const Certificate& certificate) const {
  return std::any_of(authorities_.begin(), authorities_.end(), [&](const Certificate& one) {
    return verify_signed_by(certificate, one, {certificate.not_before, 0}).has_value();
  });
}

}  // namespace limpet::pki
