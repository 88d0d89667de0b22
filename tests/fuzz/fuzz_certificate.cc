// Any bytes as a certificate, a bundle, a request: read or refused with a reason.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "pki/certificate.h"

using namespace limpet;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  auto certificate = pki::parse_certificate(bytes);
  if (!certificate && certificate.error().message.empty()) abort();
  if (certificate) {
    if (certificate->spki.empty()) abort();
    (void)pki::verify_signed_by(*certificate, *certificate, {1'780'000'000, 0});
  }
  (void)pki::parse_bundle(bytes).has_value();
  auto request = pki::parse_request(bytes);
  if (request && request->spki.empty()) abort();
  return 0;
}
