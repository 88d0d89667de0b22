// Any bytes as the messages of a bundle of streams, on both ends, and as the lines of a watch.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "client/bundle_wire.h"
#include "client/lines.h"

using namespace limpet;
using namespace limpet::client;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (const auto ask = decode_ask(bytes)) {
    if (ask->id == 0 || ask->target.size() > max_bundle_target) abort();
    const std::string again = ask->target.empty() ? encode_close(ask->id) : encode_open(ask->id, ask->target);
    const auto second = decode_ask(again);
    if (!second || second->id != ask->id || second->target != ask->target) abort();
  }
  if (const auto piece = decode_piece(bytes)) {
    if (piece->kind == BundleKind::head && (piece->status < 100 || piece->status > 999)) abort();
    if (piece->bytes.size() > size) abort();
  }
  // Lines are the same however the bytes are cut.
  std::string whole, cut;
  Lines one(64), two(64);
  const bool fits = one.add(bytes,
                            [&](std::string_view line) {
                              whole.append(line).append("\n");
                              return true;
                            })
                        .has_value();
  bool also = true;
  for (size_t at = 0; at < size && also; at += 3) {
    also = two.add(bytes.substr(at, 3),
                   [&](std::string_view line) {
                     cut.append(line).append("\n");
                     return true;
                   })
               .has_value();
  }
  if (fits != also || whole != cut) abort();
  return 0;
}
