// What the tests of this room share: a temporary directory, openssl where the host has it, fixed time.
#pragma once

#include <cstdlib>
#include <string>

#include "base/atomic_file.h"
#include "base/clock.h"
#include "base/random.h"
#include "pki/certificate.h"

namespace limpet::pki_test {

class TempDir {
 public:
  TempDir() {
    char name[] = "/tmp/limpet-pki-XXXXXX";
    path = mkdtemp(name);
  }
  ~TempDir() {
    std::string command = "rm -rf '" + path + "'";
    if (std::system(command.c_str()) != 0) std::abort();
  }
  std::string file(const std::string& name) const { return path + "/" + name; }
  std::string put(const std::string& name, const std::string& bytes) const {
    if (!write_file_atomic(file(name), bytes, 0600)) std::abort();
    return file(name);
  }
  std::string path;
};

inline bool have_openssl() { return std::system("openssl version >/dev/null 2>&1") == 0; }
inline bool shell(const std::string& command) {
  return std::system((command + " >/dev/null 2>&1").c_str()) == 0;
}

constexpr WallTime now{1'780'000'000, 0};  // 2026-05-28

struct TestCa {
  explicit TestCa(Random& random, WallTime at = now) {
    authority.key = pki::PrivateKey::generate(random).value();
    authority.certificate_pem =
        pki::make_ca("test-ca", authority.key, pki::valid_from(at, pki::ca_life_seconds), random).value();
  }
  pki::Authority authority;
};

}  // namespace limpet::pki_test
