// Any bytes as a service-account token: an error with a reason, never a crash. To get past the signature, the
// bytes are also taken as the payload of a token that is signed correctly.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/bytes.h"
#include "pki/jwt.h"

using namespace limpet;

namespace {

struct World {
  SystemRandom random;
  pki::PrivateKey key;
  pki::TokenKeys keys;
  std::string header;
  World() {
    key = std::move(*pki::PrivateKey::generate(random));
    if (!keys.add(key.spki())) abort();
    header = base64url_encode(R"({"alg":"ES256","kid":")" + pki::key_id(key.spki()) + R"("})");
  }
};

void check(const World& world, std::string_view token) {
  auto result = pki::verify_token(token, world.keys, {}, {1'780'000'000, 0});
  if (!result && result.error().message.empty()) abort();
  if (result && (result->name.empty() || result->expires_at <= 1'780'000'000)) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static World world;
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  check(world, bytes);
  if (size > 4096) return 0;
  std::string text = world.header + "." + base64url_encode(bytes);
  auto signature = world.key.sign_raw(text, world.random);
  if (!signature) abort();
  check(world, text + "." + base64url_encode(*signature));
  return 0;
}
