// Keys out of passphrases.
#include <doctest/doctest.h>

#include "base/bytes.h"
#include "pki/pbkdf2.h"

using namespace limpet;
using namespace limpet::pki;

namespace {

std::string derived(std::string_view passphrase, std::string_view salt, uint32_t iterations) {
  const SealKey key = pbkdf2_sha512(passphrase, salt, iterations).value();
  return hex({reinterpret_cast<const char*>(key.data()), key.size()});
}

}  // namespace

// The inputs of RFC 6070 with SHA-512; the values are those of OpenSSL (hashlib.pbkdf2_hmac).
TEST_CASE("PBKDF2 with HMAC-SHA-512") {
  CHECK(derived("password", "salt", 1) == "867f70cf1ade02cff3752599a3a53dc4af34c7a669815ae5d513554e1c8cf252");
  CHECK(derived("password", "salt", 4096) ==
        "d197b1b33db0143e018b12f3d1d1479e6cdebdcc97c5c0f87f6902e072f457b5");
  CHECK(derived("passwordPASSWORDpassword", "saltSALTsaltSALTsaltSALTsaltSALTsalt", 4096) ==
        "8c0511f4c6e597c6ac6315d8f0362e225f3c501495ba23b868c005174dc4ee71");
  CHECK_FALSE(pbkdf2_sha512("password", "salt", 0));
}

TEST_CASE("iterations follow the machine, within bounds") {
  int64_t now = 0;
  const auto machine = [&](int64_t ms) {  // that takes so long for the trial
    return pbkdf2_iterations(500, [&, ms, first = true]() mutable {
      if (!std::exchange(first, false)) now += ms;
      return now;
    });
  };
  CHECK(machine(1000) == pbkdf2_least);
  CHECK(machine(20) == 500'000);
  CHECK(machine(0) == 5 * pbkdf2_least);
}
