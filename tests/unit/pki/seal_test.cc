#include "pki/seal.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include "support.h"

using namespace limpet;
using namespace limpet::pki;
using limpet::pki_test::TempDir;

TEST_CASE("what is sealed opens with the same key and context only") {
  SystemRandom random;
  SealKey key;
  random.fill(key.data(), key.size());
  for (const std::string& plain : {std::string(), std::string("s"), std::string(100'000, 'x')}) {
    std::string sealed = seal(key, plain, "secrets/a", random).value();
    CHECK(sealed.size() == plain.size() + seal_overhead);
    CHECK(seal(key, plain, "secrets/a", random).value() != sealed);
    CHECK(open_sealed(key, sealed, "secrets/a").value() == plain);
    CHECK_FALSE(open_sealed(key, sealed, "secrets/b"));
    SealKey other = key;
    other[31] ^= 1;
    CHECK_FALSE(open_sealed(other, sealed, "secrets/a"));
    for (size_t i = 0; i < sealed.size(); i += sealed.size() / 29 + 1) {
      std::string bent = sealed;
      bent[i] = static_cast<char>(bent[i] ^ 0x80);
      CHECK_FALSE(open_sealed(key, bent, "secrets/a"));
      CHECK_FALSE(open_sealed(key, sealed.substr(0, i), "secrets/a"));
    }
  }
}

TEST_CASE("the device's key is made once and never replaced") {
  SystemRandom random;
  TempDir dir;
  std::string path = dir.file("device.key");
  SealKey key = load_or_create_seal_key(path, random).value();
  struct stat st;
  REQUIRE(stat(path.c_str(), &st) == 0);
  CHECK((st.st_mode & 07777) == 0600);
  CHECK(load_or_create_seal_key(path, random).value() == key);
  dir.put("device.key", "short");
  auto damaged = load_or_create_seal_key(path, random);
  REQUIRE_FALSE(damaged);
  CHECK(damaged.error().code == Errc::corrupt);
  CHECK(read_file(path, 100).value() == "short");
}
