// What the tests of this room share: an authority, devices, and a fixed time.
#pragma once

#include <string>

#include "base/random.h"
#include "cluster/join.h"
#include "pki/certificate.h"
#include "pki/device.h"

namespace limpet::cluster_test {

constexpr WallTime now{1'780'000'000, 0};  // 2026-05-28T20:26:40Z

inline pki::Authority make_authority(const std::string& name, Random& random) {
  pki::Authority out;
  out.key = pki::PrivateKey::generate(random).value();
  out.certificate_pem =
      pki::make_ca(name, out.key, pki::valid_from(now, pki::ca_life_seconds), random).value();
  return out;
}

inline std::string hash_of(const pki::Authority& ca) {
  return pki::parse_certificate(ca.certificate_pem)->spki_sha256();
}

// "corrupt: what it says"; "" for none.
template <class T>
std::string error_of(const Result<T>& result) {
  if (result) return "";
  return std::string(errc_name(result.error().code)) + ": " + result.error().message;
}

}  // namespace limpet::cluster_test
