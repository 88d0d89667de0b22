#include "pki/validity.h"

namespace limpet::pki {

namespace {

// 9999-12-31T23:59:59Z, the last that X.509 can say.
constexpr int64_t last_second = 253'402'300'799;

std::string due(const Validity& have, int64_t renewal, const Moment& moment) {
  if (moment.earliest() < have.not_before) return "the clock went back behind its beginning";
  if (moment.latest() >= have.not_after) return "expired";
  if (moment.latest() >= renewal) return "two thirds of its life are over";
  return "";
}

}  // namespace

int64_t authority_renewal(const Validity& have) { return have.not_after - ca_life_seconds / 3; }
int64_t leaf_renewal(const Validity& have) { return have.not_after - leaf_life_seconds / 3; }

std::string authority_due(const Validity& have, const Moment& moment) {
  return due(have, authority_renewal(have), moment);
}

Validity authority_validity(const Moment& moment) {
  return {std::max<int64_t>(moment.earliest() - backdate_seconds, 0),
          std::min(moment.latest() + ca_life_seconds, last_second)};
}

Validity widened(const Validity& have, const Moment& moment) {
  const Validity now = authority_validity(moment);
  return {std::min(have.not_before, now.not_before), std::max(have.not_after, now.not_after)};
}

Validity leaf_validity(const Validity& authority, const Moment& moment) {
  return {authority.not_before, std::min(moment.latest() + leaf_life_seconds, authority.not_after)};
}

std::string leaf_due(const Validity& have, const Validity& authority, const Moment& moment) {
  const Validity anew = leaf_validity(authority, moment);
  if (have.not_before <= anew.not_before && have.not_after >= anew.not_after) return "";
  return due(have, leaf_renewal(have), moment);
}

}  // namespace limpet::pki
