// Any bytes as what a registry may send: manifest, index, configuration, challenge, name, report. An error
// with a reason or a value that keeps its promises, never a crash.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "image/auth.h"
#include "image/manifest.h"
#include "image/reference.h"
#include "image/unpacker.h"

using namespace limpet;
using namespace limpet::image;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (auto kind = document_kind(bytes, ""); !kind && kind.error().message.empty()) abort();
  if (auto manifest = parse_manifest(bytes)) {
    if (manifest->layers.empty() || manifest->layers.size() > max_layers) abort();
    for (const Descriptor& layer : manifest->layers) {
      if (!valid_digest(layer.digest)) abort();
    }
  }
  if (auto index = parse_index(bytes)) (void)select_platform(*index, {"linux", "arm", "v7"}).has_value();
  (void)parse_config(bytes, 1, {"linux", "amd64", ""}).has_value();
  (void)parse_challenges(bytes);
  if (auto reference = parse_reference(bytes)) {
    // What was accepted is accepted again and means the same.
    auto again = parse_reference(reference->text());
    if (!again || again->text() != reference->text()) abort();
    (void)find_credentials(bytes, *reference).has_value();
  }
  (void)find_credentials(bytes, {"registry.example", "team/app", "v1", ""}).has_value();
  (void)parse_unpack_report(bytes).has_value();
  return 0;
}
